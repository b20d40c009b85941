import {
  copyDevice,
  openPathDevice,
  ScoriaError,
  type BackendObject,
  type Extent,
  type PluginCall,
  type PoolReport,
} from '@scoria/core';
import { erase } from './erasure.ts';
import { eraseOf, refuseLarger, refuseSmaller, requestTags, type Layout, type LayoutOptions } from './layout.ts';
import type { LogicalVolume } from './logical-volume.ts';
import { isFailure } from './lvm-error.ts';
import { erasedTag, nameOf, readyTag } from './ownership.ts';
import { fullSpace, SnapshotSpace } from './snapshot-space.ts';
import type { VolumeGroup } from './volume-group.ts';

/** How often an extend looks for zeroed space anew when somebody else took what it had found. */
const attempts = 5;

/**
 * Volumes on their own extents. Snapshots keep what is overwritten in a space of their own; copies move every byte.
 */
export class ThickLayout implements Layout {
  readonly leftovers = ['growing'] as const;
  readonly #options: LayoutOptions;
  readonly #space: SnapshotSpace;

  constructor(options: LayoutOptions) {
    this.#options = options;
    this.#space = new SnapshotSpace(options);
  }

  async prepare(): Promise<void> {}

  async report(group: VolumeGroup, { signal }: PluginCall): Promise<PoolReport> {
    const { reserved, refreshInterval } = this.#options.config;
    await group.know(signal, refreshInterval);
    // Only with thick snapshots there is something that fills up while nobody calls.
    if ([...group.volumes].some(({ layer }) => layer === 'thick-snapshot')) {
      await group.refresh(signal);
      await this.#space.watch(group, signal);
    }
    const { vg_size: total, vg_free: free } = group.facts;
    return { name: group.name, total, free, thin: false, maxOverSubscription: 1, reserved, capabilities: {} };
  }

  isWhole({ role, layer }: LogicalVolume): boolean {
    return layer === (role === 'snapshot' ? 'thick-snapshot' : 'linear');
  }

  async create(group: VolumeGroup, request: BackendObject, call: PluginCall): Promise<LogicalVolume> {
    const made = await this.#allocate(group, request, this.#zeroed, call.signal);
    if (made.ownership?.ready) return made;
    await this.#erase(group, made, 'zero', 0, call);
    return group.retag(made, [readyTag], [], call.signal);
  }

  async remove(group: VolumeGroup, found: LogicalVolume, call: PluginCall): Promise<void> {
    const { signal } = call;
    const isErased = eraseOf(this.#options.config) !== 'none';
    // A snapshot that somebody has made by hand would keep what is erased, or be lost by it.
    const object = isErased ? await group.lookAgain(found, signal) : found;
    if (!object) return;
    // The look has told whether it is open; who has it, the kernel tells.
    if (!isErased || object.open) await group.refuseOpen(object, signal);
    if (object.layer === 'thick-snapshot') return this.#removeSnapshot(group, object, call);
    if (group.thickSnapshotsOf(object.name).length > 0) {
      const placementId = object.ownership?.placementId;
      if (placementId === undefined || object.role === 'deleted') return;
      const kept = await group.rename(object, nameOf('deleted', placementId), signal);
      if (group.thickSnapshotsOf(kept.name).length > 0) return;
      return this.remove(group, kept, call);
    }
    await this.#eraseAll(group, object, call);
    await group.remove(object, signal);
  }

  async extend(group: VolumeGroup, volume: LogicalVolume, size: number, call: PluginCall): Promise<number> {
    const wanted = group.wholeExtents(size);
    if (volume.size >= wanted) return volume.size;
    if (this.#zeroed) return this.#extendTo(group, volume, wanted, [], call);
    for (let attempt = 1; ; attempt++) {
      const ranges = await this.#zeroedSpace(group, volume, wanted - volume.size, call);
      try {
        return await this.#extendTo(group, volume, wanted, ranges, call);
      } catch (error) {
        if (attempt === attempts || !isFailure(error, 'no-space')) throw error;
      }
    }
  }

  async shrink(group: VolumeGroup, volume: LogicalVolume, size: number, call: PluginCall): Promise<number> {
    const wanted = group.wholeExtents(size);
    if (volume.size <= wanted) return volume.size;
    await group.refuseOpen(volume, call.signal);
    await group.lookAgain(volume, call.signal);
    if (group.thickSnapshotsOf(volume.name).length > 0) {
      throw new ScoriaError('conflict', `Logical volume ${group.name}/${volume.name} has snapshots, which would lose their end`, {
        remedy: 'Delete the snapshots of the volume first.',
      });
    }
    await this.#erase(group, volume, eraseOf(this.#options.config), wanted, call);
    return group.reduce(volume, wanted, call.signal);
  }

  async snapshot(group: VolumeGroup, request: BackendObject, volume: LogicalVolume, call: PluginCall): Promise<LogicalVolume> {
    const { signal } = call;
    const name = nameOf('snapshot', request.placementId);
    const leftover = group.get(name);
    if (leftover && group.isOurs(leftover, request.placementId) && !this.isWhole(leftover))
      await this.remove(group, leftover, call);
    const tags = requestTags(group, 'snapshot', request, true, volume.ownership?.placementId);
    return group.makeOnce(name, request.placementId, signal, () =>
      group.snapshotThick(name, volume, this.#space.of(volume.size), tags, signal),
    );
  }

  async copy(group: VolumeGroup, request: BackendObject, source: LogicalVolume, call: PluginCall): Promise<LogicalVolume> {
    refuseLarger(group, source, request.size);
    const target = await this.#allocate(group, request, false, call.signal);
    const { signal } = call;
    const name = nameOf('copying', request.placementId);
    // One that an earlier try left shows the source as it was then.
    const leftover = group.ours('copying', request.placementId);
    if (leftover) await this.remove(group, leftover, call);
    if (target.ownership?.ready) return target;
    if (source.layer === 'thick-snapshot') return this.#fill(group, source, target, call);
    const tags = requestTags(group, 'snapshot', request, false);
    const moment = await group.snapshotThick(name, source, this.#space.of(source.size), tags, signal);
    const filled = await this.#fill(group, moment, target, call);
    await this.#removeSnapshot(group, moment, { ...call, progress: () => call.progress(target.size, target.size) });
    return filled;
  }

  /**
   * LVM's merge would use the snapshot up. Core copies over the volume instead, by which every snapshot of it may come to
   * hold the whole volume; none may run full from that.
   */
  async revert(group: VolumeGroup, volume: LogicalVolume, _snapshot: LogicalVolume, { signal }: PluginCall): Promise<boolean> {
    for (const snapshot of group.thickSnapshotsOf(volume.name)) {
      const whole = fullSpace(group, snapshot.size);
      if (snapshot.ownership && !snapshot.invalid && snapshot.usedBytes < whole) await group.extend(snapshot, whole, signal);
    }
    return false;
  }

  recover(group: VolumeGroup, leftover: LogicalVolume, { signal }: PluginCall): Promise<void> {
    return group.remove(leftover, signal);
  }

  zeroingDiscard(): undefined {
    return undefined;
  }

  async *allocatedExtents(_group: VolumeGroup, { size }: LogicalVolume): AsyncGenerator<Extent> {
    yield { offset: 0, length: size };
  }

  /** LVM does not tell what a snapshot has saved, so everything may differ. */
  async *changedExtents(_group: VolumeGroup, from: LogicalVolume, to: LogicalVolume): AsyncGenerator<Extent> {
    yield { offset: 0, length: Math.max(from.size, to.size) };
  }

  /** Whether free space reads as zeroes. */
  get #zeroed(): boolean {
    return this.#options.config.freeSpace === 'zeroed';
  }

  async #allocate(group: VolumeGroup, request: BackendObject, ready: boolean, signal: AbortSignal): Promise<LogicalVolume> {
    const { placementId, size } = request;
    const name = nameOf('volume', placementId);
    const made = await group.makeOnce(name, placementId, signal, () =>
      group.createLinear(name, size, requestTags(group, 'volume', request, ready), signal),
    );
    refuseSmaller(group, made, size);
    return made;
  }

  async #fill(group: VolumeGroup, source: LogicalVolume, target: LogicalVolume, call: PluginCall): Promise<LogicalVolume> {
    const idle = [source, target].filter(({ active }) => !active);
    if (idle.length > 0) await group.activate(idle, call.signal);
    const open = ({ name }: LogicalVolume, readOnly: boolean) =>
      openPathDevice({ kind: 'path', path: group.path(name), blockSize: 512 }, { readOnly, io: 'pool' });
    const from = await open(source, true);
    try {
      const to = await open(target, false);
      try {
        await copyDevice(from, to, call);
      } finally {
        await to.close();
      }
    } finally {
      await from.close();
    }
    return group.retag(target, [readyTag], [], call.signal);
  }

  async #extendTo(
    group: VolumeGroup,
    volume: LogicalVolume,
    wanted: number,
    ranges: readonly string[],
    { signal }: PluginCall,
  ): Promise<number> {
    const snapshots = group.thickSnapshotsOf(volume.name);
    if (snapshots.length === 0) return group.extend(volume, wanted, signal, ranges);
    // LVM extends a volume that has snapshots only while none of them is in use.
    for (const each of [volume, ...snapshots]) await group.refuseOpen(each, signal);
    await group.deactivate(volume, signal);
    try {
      return await group.extend(volume, wanted, signal, ranges);
    } finally {
      await group.activate([volume, ...snapshots], new AbortController().signal);
    }
  }

  /** Finds free extents and zeroes them before a volume that may be open gets them. */
  async #zeroedSpace(group: VolumeGroup, volume: LogicalVolume, size: number, call: PluginCall): Promise<readonly string[]> {
    const { signal } = call;
    const placementId = volume.ownership?.placementId;
    if (placementId === undefined) throw new ScoriaError('internal', `${group.name}/${volume.name} is nobody's volume`);
    const name = nameOf('growing', placementId);
    const leftover = group.ours('growing', placementId);
    if (leftover) await group.remove(leftover, signal);
    const growth = await group.createLinear(name, size, requestTags(group, 'volume', { placementId }, false), signal);
    await this.#erase(group, growth, 'zero', 0, call);
    const ranges = await group.ranges(name, signal);
    await group.remove(growth, signal);
    return ranges;
  }

  async #removeSnapshot(group: VolumeGroup, snapshot: LogicalVolume, call: PluginCall): Promise<void> {
    const { signal } = call;
    let rest = snapshot;
    if (eraseOf(this.#options.config) !== 'none') {
      rest = await group.split(snapshot, signal);
      await this.#eraseAll(group, rest, call);
    }
    await group.remove(rest, signal);
    this.#space.forget(group, snapshot);
    const origin = snapshot.origin === undefined ? undefined : group.get(snapshot.origin);
    if (origin?.role === 'deleted' && group.thickSnapshotsOf(origin.name).length === 0) await this.remove(group, origin, call);
  }

  /** Erases all of what is about to be removed. What takes long goes on where an earlier try got. */
  async #eraseAll(group: VolumeGroup, volume: LogicalVolume, call: PluginCall): Promise<void> {
    const erased = volume.ownership?.erased ?? 0;
    // From the first mark on it is no volume any more: nobody can write again to what has been erased.
    let tags = erased > 0 ? [readyTag, erasedTag(erased)] : [readyTag];
    const how = eraseOf(this.#options.config);
    await this.#erase(group, volume, how, Math.min(erased, volume.size), call, async (done) => {
      await group.retag(group.get(volume.name) ?? volume, [erasedTag(done)], tags, call.signal);
      tags = [erasedTag(done)];
    });
  }

  async #erase(
    group: VolumeGroup,
    volume: LogicalVolume,
    how: ReturnType<typeof eraseOf>,
    from: number,
    call: PluginCall,
    saved?: (done: number) => Promise<void>,
  ): Promise<void> {
    if (how !== 'none' && !volume.active) await group.activate([volume], call.signal);
    const { clock, commands, config } = this.#options;
    const range = { path: group.path(volume.name), how, from, to: volume.size, rate: config.eraseRate };
    await erase({ ...range, clock, commands, call, ...(saved && { saved }) });
  }
}
