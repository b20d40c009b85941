import { ScoriaError, type PoolReport } from '@scoria/core';
import { FillAlarm } from './fill-alarm.ts';
import type { LayoutOptions } from './layout.ts';
import { isFailure } from './lvm-error.ts';
import type { LogicalVolume, PoolSettings } from './logical-volume.ts';
import { poolTags } from './ownership.ts';
import type { ThinPoolStatus } from './thin-pool-status.ts';
import type { VolumeGroup } from './volume-group.ts';

/** Metadata that LVM keeps free for what is there: a quarter, at most so many bytes. */
const keptMetadata = 4 * 1024 ** 2;

/** Whether LVM's word for a pool's health says that its metadata cannot change: it fails writes, and ignores discards. */
export const isFaulty = (health: string): boolean => health !== '' && health !== 'out_of_data';

/** The thin pools of the groups: makes them, watches them, lets them grow. */
export class ThinPool {
  readonly #options: LayoutOptions;
  readonly #alarm: FillAlarm;
  /** Groups whose pool takes no more volumes for lack of metadata. */
  readonly #stopped = new Set<string>();
  /** What could not grow when it was tried last. */
  readonly #ungrown = new Set<string>();

  constructor(options: LayoutOptions) {
    this.#options = options;
    this.#alarm = new FillAlarm(options);
  }

  get #name(): string {
    return this.#options.config.thinPool.name;
  }

  /** Makes the pool of a group where that is wished for, and sees to it that it zeroes and that a full one fails writes. */
  async prepare(group: VolumeGroup, signal: AbortSignal): Promise<void> {
    await group.know(signal);
    const where = `${group.name}/${this.#name}`;
    const pool = group.get(this.#name) ?? (await this.#make(group, signal));
    if (!pool?.settings) {
      throw new ScoriaError('invalid-configuration', `Logical volume ${where} is no thin pool`, {
        remedy: 'Give "thinPool.name" another name.',
      });
    }
    this.#refuseUnzeroed(group, pool.settings.zeroes);
    if (!pool.active) await group.activate([pool], signal);
    if (!pool.settings.failsWhenFull) await group.set(this.#name, ['--errorwhenfull', 'y'], signal);
  }

  /** Present capacities. Lets the pool grow, and tells when it fills up. */
  async report(group: VolumeGroup, signal: AbortSignal): Promise<PoolReport> {
    const { config, log } = this.#options;
    await group.know(signal, config.refreshInterval);
    const status = await this.#grown(group, await this.#status(group, signal), signal);
    this.#refuseUnzeroed(group, this.#volume(group).settings.zeroes);
    const { size, used, metadataSize, metadataUsed, health } = status;
    const { warnAt, alarmAt, metadataLimit } = config.thinPool;
    const what = `Thin pool ${group.name}/${this.#name}`;
    const remedy = 'Extend the pool (lvextend), add a disk to its group (vgextend), or delete volumes.';
    let stopped = false;
    // A failed pool does not tell how full it is.
    if (used !== undefined) {
      this.#alarm.observe({ what, used, size, warnAt, alarmAt, remedy });
      this.#alarm.observe({ what: `Metadata of ${what}`, used: metadataUsed, size: metadataSize, warnAt, alarmAt, remedy });
      const metadata = percentOf(metadataUsed, metadataSize);
      const limit = Math.min(metadataLimit, lvmLimit(metadataSize));
      stopped = metadata >= limit;
      if (stopped && !this.#stopped.has(group.name)) {
        log.warn({ metadata, limit }, `${what} takes no more volumes: ${metadata} % of its metadata are in use`);
      }
      this.#stopped[stopped ? 'add' : 'delete'](group.name);
    }
    const fault = this.#faultOf(group, status);
    return {
      name: group.name,
      ...(fault && { fault }),
      total: size,
      free: stopped || health !== '' || used === undefined ? 0 : Math.max(0, size - used),
      thin: true,
      maxOverSubscription: config.maxOverSubscription,
      reserved: config.reserved,
      instantCopies: true,
      capabilities: {},
    };
  }

  /** The pool as the group's model has it. `backend-unavailable` when it is gone. */
  #volume(group: VolumeGroup): LogicalVolume & { readonly settings: PoolSettings } {
    const volume = group.get(this.#name);
    if (volume?.settings) return { ...volume, settings: volume.settings };
    throw new ScoriaError('backend-unavailable', `Volume group ${group.name} has no thin pool ${this.#name} any more`, {
      remedy: `Look for it with "lvs ${group.name}": it may have another name.`,
    });
  }

  async #status(group: VolumeGroup, signal: AbortSignal): Promise<ThinPoolStatus> {
    let status = await group.poolStatus(this.#volume(group), signal);
    if (!status) {
      // It is not active, or somebody else is changing it: LVM answers when that is done.
      await group.refresh(signal);
      status = await group.poolStatus(this.#volume(group), signal);
    }
    if (!status) {
      throw new ScoriaError('backend-unavailable', `Thin pool ${group.name}/${this.#name} is not active`, {
        remedy: `It is activated when the group is looked at next; else "lvchange -ay ${group.name}/${this.#name}" tells why not.`,
      });
    }
    // What may be discarded goes by the model.
    if (isFaulty(status.health) !== isFaulty(this.#volume(group).health)) group.doubt();
    return status;
  }

  /** Fails when a pool takes discards, and does nothing (kernel: dm-thin.c, `PM_READ_ONLY`). */
  async refuseFaulty(group: VolumeGroup, signal: AbortSignal): Promise<void> {
    const fault = this.#faultOf(group, await this.#status(group, signal));
    if (fault) throw fault;
  }

  /** What is wrong with a pool that cannot change its metadata. A full one is the alarm's. */
  #faultOf(group: VolumeGroup, { health }: ThinPoolStatus): ScoriaError | undefined {
    if (!isFaulty(health)) return undefined;
    const message = `Thin pool ${group.name}/${this.#name} fails writes: the kernel says that it is ${health}`;
    return new ScoriaError('backend-failed', message, {
      remedy: 'Repair the pool; see the recovery drills in the guide to LVM.',
    });
  }

  #refuseUnzeroed(group: VolumeGroup, zeroes: boolean): void {
    if (zeroes) return;
    const where = `${group.name}/${this.#name}`;
    throw new ScoriaError('invalid-configuration', `Thin pool ${where} does not zero the chunks that it hands out`, {
      remedy: `Run "lvchange --zero y ${where}": else a volume could show what another one held.`,
    });
  }

  async #make(group: VolumeGroup, signal: AbortSignal): Promise<LogicalVolume | undefined> {
    const { create, size, percent, metadataSize, chunkSize } = this.#options.config.thinPool;
    if (!create) {
      throw new ScoriaError('backend-unavailable', `Volume group ${group.name} has no thin pool ${this.#name}`, {
        remedy: 'Make the pool, or set "thinPool.create" of the backend.',
      });
    }
    this.#refuseOther(group);
    const space = size === undefined ? ['--extents', `${percent}%VG`] : ['--size', `${group.wholeExtents(size)}b`];
    const further = [
      ...(metadataSize === undefined ? [] : ['--poolmetadatasize', `${metadataSize}b`]),
      ...(chunkSize === undefined ? [] : ['--chunksize', `${chunkSize}b`]),
    ];
    try {
      await group.createThinPool(this.#name, [...space, ...further], poolTags(group.backendId), signal);
    } catch (error) {
      // Another process of ours was faster.
      if (!isFailure(error, 'exists')) throw error;
    }
    await group.refresh(signal);
    return group.get(this.#name);
  }

  /** Fails when volumes of ours lie in another pool: they would not be served, and a new one would take the space of both. */
  #refuseOther(group: VolumeGroup): void {
    const { name: wanted } = this.#options.config.thinPool;
    for (const { ownership, pool } of group.volumes) {
      if (ownership?.backendId !== group.backendId || pool === undefined) continue;
      throw new ScoriaError(
        'backend-unavailable',
        `Volume group ${group.name} has no thin pool ${wanted}, but volumes of ours in ${pool}`,
        { remedy: `Give the pool its name back, lvrename ${group.name} ${pool} ${wanted}; or name it in "thinPool.name".` },
      );
    }
  }

  /** Lets a pool grow that has passed its threshold, as far as its group has room. */
  async #grown(group: VolumeGroup, status: ThinPoolStatus, signal: AbortSignal): Promise<ThinPoolStatus> {
    const { autoExtend } = this.#options.config.thinPool;
    if (!autoExtend || status.used === undefined) return status;
    const share = autoExtend.percent / 100;
    const metadataIsShort = percentOf(status.metadataUsed, status.metadataSize) >= autoExtend.threshold;
    const dataIsShort = percentOf(status.used, status.size) >= autoExtend.threshold;
    if (!metadataIsShort && !dataIsShort) return status;
    // Somebody may have given the group a disk.
    await group.refresh(signal);
    let isNew = false;
    // Metadata first: a pool without them stops, one without data only refuses writes. Their spare copy grows with them.
    if (metadataIsShort) {
      const by = Math.min(status.metadataSize * share, wholeExtentsWithin(group.facts.vg_free / 2, group));
      const grow = () => group.extendPoolMetadata(this.#name, by, signal);
      isNew = await this.#grow(group, 'The metadata of thin pool', by > 0 ? grow : undefined, signal);
    }
    if (dataIsShort) {
      await group.know(signal);
      const pool = this.#volume(group);
      const by = Math.min(group.wholeExtents(pool.size * share), wholeExtentsWithin(group.facts.vg_free, group));
      const grow = by > 0 ? () => group.extend(pool, pool.size + by, signal) : undefined;
      isNew = (await this.#grow(group, 'Thin pool', grow, signal)) || isNew;
    }
    if (!isNew) return status;
    await group.know(signal);
    return this.#status(group, signal);
  }

  /**
   * Gives whether it has been tried. Tells a failure once, until it works again.
   *
   * @param grow - `undefined` when there is no room.
   */
  async #grow(
    group: VolumeGroup,
    part: string,
    grow: (() => Promise<unknown>) | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { log } = this.#options;
    const what = `${part} ${group.name}/${this.#name}`;
    const isNews = !this.#ungrown.has(what);
    if (!grow) {
      const remedy = `Add a disk: vgextend ${group.name} DISK`;
      if (isNews) log.warn({ remedy }, `${what} cannot grow: volume group ${group.name} has no free extents`);
      this.#ungrown.add(what);
      return false;
    }
    try {
      await grow();
      this.#ungrown.delete(what);
      log.info({}, `${what} has grown`);
    } catch (error) {
      signal.throwIfAborted();
      if (isNews) log.warn({ err: error }, `${what} could not grow`);
      this.#ungrown.add(what);
    }
    return true;
  }
}

/** With two decimals, as LVM tells it. */
const percentOf = (used: number, size: number): number => Math.round((used / size) * 10_000) / 100;

/** Percent of a pool's metadata in use from which LVM makes no more volumes in it (LVM: `pool_metadata_min_threshold`). */
const lvmLimit = (metadataSize: number): number => 100 - Math.min(25, (keptMetadata / metadataSize) * 100);

/** Bytes in whole extents of a group, at most so many. */
const wholeExtentsWithin = (bytes: number, { facts: { vg_extent_size: extent } }: VolumeGroup): number =>
  Math.floor(bytes / extent) * extent;
