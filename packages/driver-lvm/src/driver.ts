import { stat } from 'node:fs/promises';
import {
  ObjectLocks,
  ScoriaError,
  type AnyVolumeDriver,
  type BackendIdentity,
  type BackendObject,
  type Clock,
  type Created,
  type CreatedCopy,
  type DeviceLocator,
  type Exec,
  type Extent,
  type ListedObject,
  type Log,
  type ManageableObject,
  type PluginCall,
  type PoolReport,
  type Random,
} from '@scoria/core';
import { BackendGroups, isComplete } from './backend-groups.ts';
import { refuseChanged, refuseRenamed } from './changed-by-hand.ts';
import type { LvmConfig } from './configuration.ts';
import { copyOf, referenceOf, type Layout } from './layout.ts';
import { isListed, Leftovers } from './leftovers.ts';
import type { LogicalVolume } from './logical-volume.ts';
import { LvmCommands } from './lvm-commands.ts';
import { manageableIn, manageIn, unmanageIn } from './manageable.ts';
import { adoptingTag, nameOf, type Kind } from './ownership.ts';
import { ThickLayout } from './thick-layout.ts';
import { ThinLayout } from './thin-layout.ts';
import { VolumeGroup } from './volume-group.ts';

/** What an {@link LvmDriver} is made of. */
export interface LvmDriverOptions {
  readonly config: LvmConfig;
  readonly installationId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly exec: Exec;
}

/** An object of a request, found in the model. */
interface Found {
  readonly group: VolumeGroup;
  readonly volume: LogicalVolume;
}

/** What may be left of a volume beside itself. */
const leftoverRoles = ['reverting', 'replaced', 'copying', 'growing', 'deleted'] as const;

/**
 * Keeps volumes and snapshots as logical volumes of LVM. Each volume group is a pool. What is ours, and what it stands
 * for, is written in tags; nothing else is touched.
 */
export class LvmDriver implements AnyVolumeDriver {
  readonly #options: LvmDriverOptions;
  readonly #layout: Layout;
  readonly #groups: ReadonlyMap<string, VolumeGroup>;
  readonly #turns = new ObjectLocks();
  readonly #backend: BackendGroups;

  constructor(options: LvmDriverOptions) {
    const { config, exec, clock, log, installationId } = options;
    const commands = new LvmCommands(exec, config);
    this.#options = options;
    this.#layout = new (config.provisioning === 'thin' ? ThinLayout : ThickLayout)({ config, commands, clock, log });
    this.#groups = new Map(config.volumeGroups.map((name) => [name, new VolumeGroup(name, commands, clock, installationId)]));
    const leftovers = new Leftovers(this.#layout, this.#turns, log);
    this.#backend = new BackendGroups([...this.#groups.values()], { ...options, layout: this.#layout, leftovers });
  }

  /**
   * Looks at the groups, marks those that are new, makes thin pools, activates our logical volumes, and settles what a
   * crash left where that takes but a moment; the rest is listed. A group that fails keeps no other one from being used;
   * when all fail, so does this.
   */
  async check(call: PluginCall): Promise<BackendIdentity> {
    return this.#backend.check(call);
  }

  async pools(call: PluginCall): Promise<readonly PoolReport[]> {
    return this.#backend.report(call);
  }

  async create(request: BackendObject, call: PluginCall): Promise<Created> {
    return this.#alone(request, call, async () => {
      const group = this.#group(request.pool);
      const made = await this.#layout.create(group, request, call);
      return { backendRef: referenceOf(group, made), size: made.size };
    });
  }

  async delete(volume: BackendObject, call: PluginCall): Promise<void> {
    await this.#alone(volume, call, () => this.#remove('volume', volume, call));
  }

  async extend(volume: BackendObject, size: number, call: PluginCall): Promise<{ readonly size: number }> {
    return this.#alone(volume, call, async () => {
      const found = await this.#find(volume, call, ['volume']);
      return { size: await this.#layout.extend(found.group, found.volume, size, call) };
    });
  }

  async createSnapshot(snapshot: BackendObject, volume: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    return this.#alone(snapshot, call, async () => {
      const source = await this.#find(volume, call, ['volume']);
      return copyOf(source.group, await this.#layout.snapshot(source.group, snapshot, source.volume, call));
    });
  }

  async deleteSnapshot(snapshot: BackendObject, call: PluginCall): Promise<void> {
    await this.#alone(snapshot, call, () => this.#remove('snapshot', snapshot, call));
  }

  async clone(target: BackendObject, source: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    return this.#copy(target, source, call, ['volume']);
  }

  async createFromSnapshot(target: BackendObject, snapshot: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    return this.#copy(target, snapshot, call, ['snapshot']);
  }

  async revert(volume: BackendObject, snapshot: BackendObject, call: PluginCall): Promise<{ readonly done: boolean }> {
    return this.#alone(volume, call, async () => {
      const to = await this.#find(volume, call, ['volume']);
      const from = await this.#find(snapshot, call, ['snapshot']);
      // Another group's blocks cannot be shared: core copies.
      if (from.group !== to.group) return { done: false };
      await this.#refuseLost(from, call);
      return { done: await this.#layout.revert(to.group, to.volume, from.volume, call) };
    });
  }

  async shrink(volume: BackendObject, size: number, call: PluginCall): Promise<{ readonly size: number }> {
    return this.#alone(volume, call, async () => {
      const found = await this.#find(volume, call, ['volume']);
      return { size: await this.#layout.shrink(found.group, found.volume, size, call) };
    });
  }

  async *list(call: PluginCall): AsyncGenerator<ListedObject> {
    for (const group of this.#groups.values()) {
      await group.refresh(call.signal);
      for (const volume of [...group.volumes]) {
        call.signal.throwIfAborted();
        const { ownership, size, usedBytes } = volume;
        if (!ownership || !isListed(group, volume)) continue;
        const { placementId, kind } = ownership;
        yield { placementId, kind, pool: group.name, backendRef: referenceOf(group, volume), size, usedBytes };
      }
    }
  }

  async locate(object: BackendObject, call: PluginCall): Promise<DeviceLocator> {
    call.signal.throwIfAborted();
    const found = await this.#find(object, call);
    await this.#refuseLost(found, call);
    const { group, volume } = found;
    const path = group.path(volume.name);
    if (!(await isThere(path))) {
      await group.activate([volume], call.signal);
      if (!(await isThere(path))) {
        throw new ScoriaError('backend-unavailable', `LVM has activated ${group.name}/${volume.name}, but there is no ${path}`, {
          remedy: 'See whether udev runs on this host.',
        });
      }
    }
    const zeroingDiscard = this.#layout.zeroingDiscard(group);
    return {
      ...{ kind: 'path', path, blockSize: this.#options.config.blockSize },
      ...(zeroingDiscard !== undefined && { zeroingDiscard }),
    };
  }

  async *listManageable(call: PluginCall): AsyncGenerator<ManageableObject> {
    for (const group of this.#groups.values()) {
      await group.refresh(call.signal);
      for (const object of manageableIn(group, this.#options.config)) {
        call.signal.throwIfAborted();
        yield object;
      }
    }
  }

  async manage(target: BackendObject, reference: string, call: PluginCall): Promise<Created> {
    return this.#alone(target, call, async () => {
      const group = this.#group(target.pool);
      const taken = await manageIn(group, this.#options.config, target, reference, call.signal);
      return { backendRef: referenceOf(group, taken), size: taken.size };
    });
  }

  async unmanage(volume: BackendObject, call: PluginCall): Promise<void> {
    await this.#alone(volume, call, async () => {
      const group = this.#group(volume.pool);
      await group.refresh(call.signal);
      // Taking over may have stopped before the name was ours.
      const found = [...group.volumes].filter(
        (each) =>
          group.isOurs(each, volume.placementId) &&
          (each.role === 'volume' || each.role === undefined || each.tags.includes(adoptingTag)),
      );
      for (const each of found) await unmanageIn(group, each, call.signal);
    });
  }

  async *allocatedExtents(object: BackendObject, call: PluginCall): AsyncGenerator<Extent> {
    const found = await this.#find(object, call);
    await this.#refuseLost(found, call);
    yield* this.#layout.allocatedExtents(found.group, found.volume, call);
  }

  async *changedExtents(from: BackendObject, to: BackendObject, call: PluginCall): AsyncGenerator<Extent> {
    const [first, second] = [await this.#find(from, call, ['snapshot']), await this.#find(to, call, ['snapshot'])];
    const source = first.volume.ownership?.source;
    if (!source || source !== second.volume.ownership?.source || first.group !== second.group) {
      throw new ScoriaError('not-supported', `${from.placementId} and ${to.placementId} are not snapshots of one volume`);
    }
    for (const found of [first, second]) await this.#refuseLost(found, call);
    yield* this.#layout.changedExtents(first.group, first.volume, second.volume, call);
  }

  async #copy(target: BackendObject, source: BackendObject, call: PluginCall, kinds: readonly Kind[]): Promise<CreatedCopy> {
    return this.#alone(target, call, async () => {
      const from = await this.#find(source, call, kinds);
      await this.#refuseLost(from, call);
      return copyOf(from.group, await this.#layout.copy(from.group, target, from.volume, call));
    });
  }

  async #remove(kind: Kind, object: BackendObject, call: PluginCall): Promise<void> {
    const group = this.#group(object.pool);
    const { placementId } = object;
    const found = await group.find(kind, placementId, call.signal);
    if (found) await this.#layout.remove(group, found, call);
    else refuseRenamed(group, [kind], placementId);
    if (kind === 'snapshot') return;
    for (const role of leftoverRoles) {
      const leftover = group.ours(role, placementId);
      if (leftover) await this.#layout.remove(group, leftover, call);
    }
  }

  /** Finds an object that must be there. */
  async #find(object: BackendObject, call: PluginCall, kinds: readonly Kind[] = kindsOf(object)): Promise<Found> {
    call.signal.throwIfAborted();
    const group = this.#group(object.pool);
    const { placementId } = object;
    await group.know(call.signal);
    const look = () => {
      for (const kind of kinds) {
        const volume = group.get(nameOf(kind, placementId));
        if (volume && isComplete(this.#layout, group, volume)) return volume;
      }
      return undefined;
    };
    let volume = look();
    if (!volume) {
      await group.refresh(call.signal);
      volume = look();
    }
    const replaced = volume ? undefined : group.ours('replaced', placementId);
    if (replaced) {
      await this.#layout.recover(group, replaced, call);
      volume = look();
    }
    if (volume) return { group, volume };
    refuseChanged(group, kinds, placementId);
    throw new ScoriaError('backend-object-missing', `Volume group ${group.name} has no ${object.backendRef ?? placementId}`);
  }

  /** Fails for a snapshot that has run full: the kernel fails its reads. */
  async #refuseLost({ group, volume }: Found, call: PluginCall): Promise<void> {
    if (volume.layer !== 'thick-snapshot') return;
    await group.report(volume.name, call.signal);
    if (group.get(volume.name)?.invalid !== true) return;
    throw new ScoriaError(
      'backend-object-missing',
      `Snapshot ${group.name}/${volume.name} is lost: its space ran full before it could grow`,
      { remedy: 'Delete the snapshot. Give thick snapshots more space ("snapshotReserve"), or their volume group more room.' },
    );
  }

  #group(pool: string): VolumeGroup {
    const group = this.#groups.get(pool);
    if (group) return group;
    throw new ScoriaError('backend-unavailable', `The backend has no volume group ${pool} any more`, {
      remedy: 'Name the group in "volumeGroups" of the backend again.',
    });
  }

  async #alone<T>({ placementId, pool }: BackendObject, { signal }: PluginCall, work: () => Promise<T>): Promise<T> {
    try {
      return await this.#turns.run([placementId], work, signal);
    } catch (error) {
      this.#groups.get(pool)?.doubt();
      throw error;
    }
  }
}

/** What a request may mean by a placement: its reference tells, once there is one. */
function kindsOf({ backendRef, placementId }: BackendObject): readonly Kind[] {
  if (backendRef === null) return ['volume', 'snapshot'];
  const kinds = (['volume', 'snapshot'] as const).filter((kind) => backendRef.endsWith(`/${nameOf(kind, placementId)}`));
  if (kinds.length === 0) throw new ScoriaError('internal', `"${backendRef}" is no reference of this driver`);
  return kinds;
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isBlockDevice(),
    () => false,
  );
}
