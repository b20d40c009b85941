import { ObjectLocks, ScoriaError, type Clock } from '@scoria/core';
import { holdersOf } from './device-holders.ts';
import { GroupModel } from './group-model.ts';
import { logicalVolumeOf, madeVolume, renamed, resized, retagged, type LogicalVolume } from './logical-volume.ts';
import type { LvmCommands } from './lvm-commands.ts';
import { isFailure } from './lvm-error.ts';
import {
  parseRanges,
  parseVolume,
  parseWhole,
  rangesReportOf,
  volumeReportOf,
  wholeReportOf,
  type DetailRow,
} from './lvm-report.ts';
import { nameOf, type Role } from './ownership.ts';
import { parseThinPoolStatus, type ThinPoolStatus } from './thin-pool-status.ts';

const tagging = (option: '--addtag' | '--deltag', tags: readonly string[]): string[] => tags.flatMap((tag) => [option, tag]);
/** Most names on one command line. */
const atOnce = 200;
/** What is removed alone: with any other, LVM unasked removes its snapshots or the thin volumes that show its content. */
const withoutDependents = ['--select', 'lv_role!={thickorigin} && lv_role!={extthinorigin}'];

/**
 * A volume group: a model of what is in it, and the changes that can be made to it. The model is filled by one report
 * and follows our own changes; after a change that failed it is filled again. Changes and reports of a group come one
 * after the other, so that no two wait for LVM's lock and no report is older than a change.
 */
export class VolumeGroup extends GroupModel {
  readonly #commands: LvmCommands;
  readonly #clock: Clock;
  readonly #turns = new ObjectLocks();
  /** Whether the model stands for what is there. */
  #known = false;
  /** Reports begun, and which of them filled the model last. */
  #begun = 0;
  #reported = 0;
  /** When the model was filled last, ms. */
  #reportedAt = Number.NEGATIVE_INFINITY;
  /** LVM 2.03.17 and later refuse to cut a file system unless told to leave it alone; earlier ones do not look, nor know the option. */
  #cutting: readonly string[] = ['--fs', 'ignore'];

  constructor(name: string, commands: LvmCommands, clock: Clock, installationId: string) {
    super(name, installationId);
    this.#commands = commands;
    this.#clock = clock;
  }

  /** Fills the model. `backend-unavailable` when the group is not there. */
  async refresh(signal: AbortSignal): Promise<void> {
    const asked = this.#begun;
    await this.#inTurn(signal, async () => {
      // A report that began after this one was asked for does as well.
      if (this.#known && this.#reported > asked) return;
      const number = ++this.#begun;
      const stdout = await this.#commands.report(`look at volume group ${this.name}`, wholeReportOf(this.name), signal);
      const { group, volumes, segments } = parseWhole(this.name, stdout);
      const pools = new Map(segments.map((segment) => [segment.lv_name, segment]));
      const found = volumes.map((row) => logicalVolumeOf(row, pools.get(row.lv_name)));
      this.learn(group, found, true);
      this.#known = true;
      this.#reported = number;
      this.#reportedAt = this.#clock.monotonic();
    });
  }

  /**
   * Fills the model when it does not stand for what is there.
   *
   * @param oldest - age from which it is filled also when only others can have changed something, ms. Default: any will do.
   */
  async know(signal: AbortSignal, oldest = Number.POSITIVE_INFINITY): Promise<void> {
    if (!this.#known || this.#clock.monotonic() - this.#reportedAt >= oldest) await this.refresh(signal);
  }

  /** Lets the model be filled again when it is asked for next: something has gone otherwise than it says. */
  doubt(): void {
    this.#known = false;
  }

  /** Like {@link ours}; what the model does not have is looked for once more. */
  async find(role: Role, placementId: string, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    await this.know(signal);
    if (!this.get(nameOf(role, placementId))) await this.refresh(signal);
    return this.ours(role, placementId);
  }

  /** Looks again at one of ours before something of it is destroyed; `undefined` when it is gone, or ours no more. */
  async lookAgain({ name, ownership }: LogicalVolume, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    await this.refresh(signal);
    const found = this.get(name);
    return found && ownership && this.isOurs(found, ownership.placementId) ? found : undefined;
  }

  /**
   * Gives what an earlier call has made under a name, or makes it. `conflict` when the name is taken by what is not ours.
   */
  async makeOnce(
    name: string,
    placementId: string,
    signal: AbortSignal,
    make: () => Promise<LogicalVolume>,
  ): Promise<LogicalVolume> {
    for (let again = false; ; again = true) {
      await this.know(signal);
      const present = this.get(name);
      if (present && this.isOurs(present, placementId)) return present;
      if (present) throw new ScoriaError('conflict', `Volume group ${this.name} has a logical volume ${name} that is not ours`);
      try {
        return await make();
      } catch (error) {
        if (again || !isFailure(error, 'exists')) throw error;
      }
    }
  }

  /** Fails with `backend-busy`, naming the holder, when a logical volume is open. */
  async refuseOpen({ name }: LogicalVolume, signal: AbortSignal): Promise<void> {
    const count = await this.#commands.openCount(this.mapping(name), signal);
    if (count === 0) return;
    const holders = await holdersOf(this.path(name));
    throw new ScoriaError(
      'backend-busy',
      `Logical volume ${this.name}/${name} is in use: ${holders.join(', ') || 'nobody here tells by whom'}`,
      {
        details: { openCount: count, holders },
      },
    );
  }

  /** Reports one logical volume with the group. */
  async report(name: string, signal: AbortSignal): Promise<DetailRow> {
    return this.#inTurn(signal, async () => {
      const what = `look at logical volume ${this.name}/${name}`;
      const stdout = await this.#commands.report(what, volumeReportOf(this.name, name), signal).catch((error: unknown) => {
        // What the model has under this name is gone.
        if (isFailure(error, 'missing')) this.doubt();
        throw error;
      });
      const row = parseVolume(this.name, name, stdout);
      this.learn(row, [logicalVolumeOf(row, row)], false);
      return row;
    });
  }

  /** What the kernel says of a thin pool, at the same cost whatever is in the group; `undefined` when it is not active. */
  async poolStatus({ name, size, settings }: LogicalVolume, signal: AbortSignal): Promise<ThinPoolStatus | undefined> {
    // While LVM changes a pool, its devices come and go.
    return this.#inTurn(signal, async () => {
      // Once it has volumes, LVM puts a device of its own above it.
      for (const device of [`${this.mapping(name)}-tpool`, this.mapping(name)]) {
        const told = await this.#commands.status(device, signal);
        const status = told && parseThinPoolStatus(device, told, { size, chunkSize: settings?.chunkSize ?? 0 });
        if (status) return status;
      }
      return undefined;
    });
  }

  /** Where a logical volume lies, as {@link extend} takes it. */
  async ranges(name: string, signal: AbortSignal): Promise<readonly string[]> {
    return this.#inTurn(signal, async () => {
      const what = `look at the extents of ${this.name}/${name}`;
      return parseRanges(this.name, name, await this.#commands.report(what, rangesReportOf(this.name, name), signal));
    });
  }

  /** Makes a logical volume of its own extents. What lies in them is not touched. */
  async createLinear(name: string, size: number, tags: readonly string[], signal: AbortSignal): Promise<LogicalVolume> {
    const made = madeVolume({ name, layer: 'linear', size: this.wholeExtents(size), tags });
    const args = [
      '--name',
      name,
      '--size',
      `${made.size}b`,
      '--wipesignatures',
      'n',
      '--zero',
      'n',
      ...tagging('--addtag', tags),
    ];
    return this.#make(made, [...args, this.name], signal);
  }

  /** Makes a logical volume in a thin pool. */
  async createThin(
    name: string,
    size: number,
    pool: string,
    tags: readonly string[],
    signal: AbortSignal,
  ): Promise<LogicalVolume> {
    const made = madeVolume({ name, layer: 'thin', size: this.wholeExtents(size), tags, pool });
    const args = ['--type', 'thin', '--name', name, '--virtualsize', `${made.size}b`, '--thinpool', pool];
    return this.#make(made, [...args, ...tagging('--addtag', tags), this.name], signal);
  }

  /** Makes a thin pool that zeroes what it hands out. */
  async createThinPool(name: string, options: readonly string[], tags: readonly string[], signal: AbortSignal): Promise<void> {
    const args = ['--type', 'thin-pool', '--name', name, '--zero', 'y', '--discards', 'passdown', ...options];
    await this.#change(
      signal,
      `make thin pool ${this.name}/${name}`,
      ['lvcreate', ...args, ...tagging('--addtag', tags), this.name],
      () => this.doubt(),
    );
  }

  /** Makes a snapshot of a thin volume, or of a thin snapshot; it shares all blocks. */
  async snapshotThin(name: string, of: LogicalVolume, tags: readonly string[], signal: AbortSignal): Promise<LogicalVolume> {
    const made = madeVolume({
      ...{ name, layer: 'thin', size: of.size, tags, origin: of.name, usedBytes: of.usedBytes },
      ...(of.pool === undefined ? {} : { pool: of.pool }),
    });
    const args = ['--snapshot', '--name', name, '--setactivationskip', 'n', ...tagging('--addtag', tags)];
    return this.#make(made, [...args, `${this.name}/${of.name}`], signal);
  }

  /** Makes a snapshot of a thick volume with its own space for blocks that are about to be overwritten. */
  async snapshotThick(
    name: string,
    of: LogicalVolume,
    space: number,
    tags: readonly string[],
    signal: AbortSignal,
  ): Promise<LogicalVolume> {
    const usedBytes = this.wholeExtents(space);
    const made = madeVolume({ name, layer: 'thick-snapshot', size: of.size, tags, origin: of.name, usedBytes });
    const args = ['--snapshot', '--name', name, '--size', `${usedBytes}b`, ...tagging('--addtag', tags)];
    return this.#make(made, [...args, `${this.name}/${of.name}`], signal);
  }

  /**
   * Makes a logical volume larger; of a thick snapshot, its space.
   *
   * @param ranges - extents to take, from {@link ranges}. Default: any that are free.
   */
  async extend(volume: LogicalVolume, size: number, signal: AbortSignal, ranges: readonly string[] = []): Promise<number> {
    const wanted = this.wholeExtents(size);
    const args = ['lvextend', '--size', `${wanted}b`, `${this.name}/${volume.name}`, ...ranges];
    await this.#change(signal, `extend ${this.name}/${volume.name} to ${wanted} bytes`, args, () => {
      const grown = volume.layer === 'thick-snapshot' ? { ...volume, usedBytes: wanted } : resized(volume, wanted);
      // LVM may give a thin pool more metadata, too.
      if (volume.layer === 'thin-pool') this.doubt();
      this.put(grown);
    });
    return wanted;
  }

  /** Makes a thin pool's metadata larger by some bytes. */
  async extendPoolMetadata(pool: string, by: number, signal: AbortSignal): Promise<void> {
    const args = ['lvextend', '--poolmetadatasize', `+${this.wholeExtents(by)}b`, `${this.name}/${pool}`];
    await this.#change(signal, `extend the metadata of thin pool ${this.name}/${pool}`, args, () => this.doubt());
  }

  /** Makes a logical volume smaller; the caller has seen to what lay beyond. */
  async reduce(volume: LogicalVolume, size: number, signal: AbortSignal): Promise<number> {
    const wanted = this.wholeExtents(size);
    const args = ['lvreduce', ...this.#cutting, '--force', '--size', `${wanted}b`, `${this.name}/${volume.name}`];
    try {
      await this.#change(signal, `reduce ${this.name}/${volume.name} to ${wanted} bytes`, args, () =>
        this.put(resized(volume, wanted)),
      );
    } catch (error) {
      if (this.#cutting.length === 0 || !isFailure(error, 'unknown-option')) throw error;
      this.#cutting = [];
      return this.reduce(volume, size, signal);
    }
    return wanted;
  }

  async rename(volume: LogicalVolume, name: string, signal: AbortSignal): Promise<LogicalVolume> {
    const args = ['lvrename', this.name, volume.name, name];
    const after = renamed(volume, name);
    await this.#change(signal, `rename ${this.name}/${volume.name} to ${name}`, args, () => this.move(volume, after));
    return after;
  }

  /** Adds and removes tags in one go. */
  async retag(
    volume: LogicalVolume,
    add: readonly string[],
    remove: readonly string[],
    signal: AbortSignal,
  ): Promise<LogicalVolume> {
    const args = ['lvchange', ...tagging('--deltag', remove), ...tagging('--addtag', add), `${this.name}/${volume.name}`];
    const after = retagged(volume, add, remove);
    await this.#change(signal, `tag ${this.name}/${volume.name}`, args, () => this.put(after));
    return after;
  }

  /** Changes settings of a logical volume that the model does not have. */
  async set(name: string, options: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#change(signal, `change ${this.name}/${name}`, ['lvchange', ...options, `${this.name}/${name}`], () => {});
  }

  /**
   * Removes a logical volume. `backend-busy` when it is open, or others would go with it of which the model knows nothing.
   * What is gone already is no failure.
   */
  async remove(volume: LogicalVolume, signal: AbortSignal): Promise<void> {
    const what = `${this.name}/${volume.name}`;
    let isGone = false;
    const apply = (stdout: string) => {
      isGone = stdout.includes('successfully removed');
      if (isGone) this.drop(volume.name);
      else this.doubt();
    };
    try {
      await this.#change(signal, `remove ${what}`, ['lvremove', ...withoutDependents, what], apply);
    } catch (error) {
      if (!isFailure(error, 'missing')) throw error;
      return this.drop(volume.name);
    }
    if (isGone) return;
    // LVM says nothing, too, of what was not selected, and where its configuration wants silence.
    await this.refresh(signal);
    if (this.get(volume.name)) throw this.dependedOn(volume);
  }

  /** Makes logical volumes that lie idle, as after a boot, usable. */
  async activate(volumes: readonly LogicalVolume[], signal: AbortSignal): Promise<void> {
    for (let from = 0; from < volumes.length; from += atOnce) {
      const some = volumes.slice(from, from + atOnce);
      const args = ['lvchange', '--activate', 'y', '--ignoreactivationskip', ...some.map(({ name }) => `${this.name}/${name}`)];
      await this.#change(signal, `activate ${some.length} logical volumes of ${this.name}`, args, () => this.mark(some, true));
    }
  }

  /** Takes a logical volume out of use, with its thick snapshots. `backend-busy` when one of them is open. */
  async deactivate(volume: LogicalVolume, signal: AbortSignal): Promise<void> {
    const args = ['lvchange', '--activate', 'n', `${this.name}/${volume.name}`];
    await this.#change(signal, `deactivate ${this.name}/${volume.name}`, args, () =>
      this.mark([volume, ...this.thickSnapshotsOf(volume.name)], false),
    );
  }

  /** Makes of a thick snapshot a logical volume that holds its space with whatever lies there. */
  async split(snapshot: LogicalVolume, signal: AbortSignal): Promise<LogicalVolume> {
    const after: LogicalVolume = { ...snapshot, layer: 'linear', origin: undefined, size: snapshot.usedBytes };
    const args = ['lvconvert', '--splitsnapshot', `${this.name}/${snapshot.name}`];
    await this.#change(signal, `take the space of ${this.name}/${snapshot.name} from its volume`, args, () => this.put(after));
    return after;
  }

  /** Adds and removes tags of the group itself. */
  async tagGroup(add: readonly string[], remove: readonly string[], signal: AbortSignal): Promise<void> {
    const args = ['vgchange', ...tagging('--deltag', remove), ...tagging('--addtag', add), this.name];
    await this.#change(signal, `tag volume group ${this.name}`, args, () => this.doubt());
  }

  async #make(made: LogicalVolume, args: readonly string[], signal: AbortSignal): Promise<LogicalVolume> {
    await this.#change(signal, `make ${this.name}/${made.name}`, ['lvcreate', ...args], () => this.put(made));
    return made;
  }

  #inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return this.#turns.run([this.name], work, signal);
  }

  /** @param apply - brings the model up to date; gets what LVM printed. */
  async #change(signal: AbortSignal, what: string, args: readonly string[], apply: (stdout: string) => void): Promise<void> {
    await this.#inTurn(signal, async () => {
      try {
        apply(await this.#commands.change(what, args));
      } catch (error) {
        // LVM may have done it, or a part of it.
        this.doubt();
        throw error;
      }
    });
  }
}
