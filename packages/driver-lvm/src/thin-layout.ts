import { ScoriaError, type BackendObject, type Extent, type PluginCall, type PoolReport } from '@scoria/core';
import { erase } from './erasure.ts';
import { eraseOf, refuseLarger, refuseSmaller, requestTags, type Layout, type LayoutOptions } from './layout.ts';
import type { LogicalVolume } from './logical-volume.ts';
import { nameOf } from './ownership.ts';
import { ThinMetadata } from './thin-metadata.ts';
import { isFaulty, ThinPool } from './thin-pool.ts';
import type { VolumeGroup } from './volume-group.ts';

/** Volumes in a thin pool: snapshots and copies share blocks, and are done at once. */
export class ThinLayout implements Layout {
  readonly leftovers = ['reverting', 'replaced'] as const;
  readonly #options: LayoutOptions;
  readonly #pool: ThinPool;
  readonly #metadata: ThinMetadata;

  constructor(options: LayoutOptions) {
    this.#options = options;
    this.#pool = new ThinPool(options);
    this.#metadata = new ThinMetadata(options.commands, options.config.thinPool.name);
  }

  async prepare(group: VolumeGroup, { signal }: PluginCall): Promise<void> {
    await this.#pool.prepare(group, signal);
    await this.#metadata.release(group);
  }

  report(group: VolumeGroup, { signal }: PluginCall): Promise<PoolReport> {
    return this.#pool.report(group, signal);
  }

  isWhole({ layer, pool }: LogicalVolume): boolean {
    return layer === 'thin' && pool === this.#options.config.thinPool.name;
  }

  async create(group: VolumeGroup, request: BackendObject, { signal }: PluginCall): Promise<LogicalVolume> {
    const { placementId, size } = request;
    const name = nameOf('volume', placementId);
    const { name: pool } = this.#options.config.thinPool;
    const made = await group.makeOnce(name, placementId, signal, () =>
      group.createThin(name, size, pool, requestTags(group, 'volume', request, true), signal),
    );
    refuseSmaller(group, made, size);
    return made;
  }

  async remove(group: VolumeGroup, object: LogicalVolume, call: PluginCall): Promise<void> {
    const how = eraseOf(this.#options.config);
    if (group.thickSnapshotsOf(object.name).length > 0) throw group.dependedOn(object);
    const pool = group.get(this.#options.config.thinPool.name)?.settings;
    // What lies elsewhere, as after a change of the configuration, may not take discards.
    if (how !== 'none' && object.layer === 'thin' && object.active && pool?.discards !== false) {
      // What is discarded is lost, so it must not be somebody's.
      await group.refuseOpen(object, call.signal);
      await this.#discard(group, object, 0, call);
    }
    await group.remove(object, call.signal);
  }

  async extend(group: VolumeGroup, volume: LogicalVolume, size: number, { signal }: PluginCall): Promise<number> {
    return volume.size >= size ? volume.size : group.extend(volume, size, signal);
  }

  async shrink(group: VolumeGroup, volume: LogicalVolume, size: number, call: PluginCall): Promise<number> {
    const wanted = group.wholeExtents(size);
    if (volume.size <= wanted) return volume.size;
    await group.refuseOpen(volume, call.signal);
    await this.#pool.refuseFaulty(group, call.signal);
    // The pool keeps blocks beyond the end, and a later extend would show them again.
    await this.#discard(group, volume, wanted, call);
    return group.reduce(volume, wanted, call.signal);
  }

  async snapshot(group: VolumeGroup, request: BackendObject, volume: LogicalVolume, call: PluginCall): Promise<LogicalVolume> {
    const name = nameOf('snapshot', request.placementId);
    const tags = requestTags(group, 'snapshot', request, true, volume.ownership?.placementId);
    return group.makeOnce(name, request.placementId, call.signal, () => group.snapshotThin(name, volume, tags, call.signal));
  }

  async copy(group: VolumeGroup, request: BackendObject, source: LogicalVolume, call: PluginCall): Promise<LogicalVolume> {
    refuseLarger(group, source, request.size);
    const name = nameOf('volume', request.placementId);
    const tags = requestTags(group, 'volume', request, true);
    const made = await group.makeOnce(name, request.placementId, call.signal, () =>
      group.snapshotThin(name, source, tags, call.signal),
    );
    const size = await this.extend(group, made, group.wholeExtents(request.size), call);
    return { ...made, size };
  }

  /** LVM's own merge would use the snapshot up, so a copy of it takes the volume's place. */
  async revert(group: VolumeGroup, volume: LogicalVolume, snapshot: LogicalVolume, call: PluginCall): Promise<boolean> {
    const { signal } = call;
    const placementId = volume.ownership?.placementId;
    if (placementId === undefined) throw new ScoriaError('internal', `${group.name}/${volume.name} is nobody's volume`);
    refuseLarger(group, snapshot, volume.size);
    await group.refuseOpen(volume, signal);
    for (const role of ['reverting', 'replaced'] as const) {
      const leftover = group.ours(role, placementId);
      if (leftover) await group.remove(leftover, signal);
    }
    const tags = requestTags(group, 'volume', { placementId }, true);
    const copy = await group.snapshotThin(nameOf('reverting', placementId), snapshot, tags, signal);
    const size = await this.extend(group, copy, volume.size, call);
    const replaced = await group.rename(volume, nameOf('replaced', placementId), signal);
    await group.rename({ ...copy, size }, volume.name, signal);
    await group.remove(replaced, signal);
    return true;
  }

  async recover(group: VolumeGroup, leftover: LogicalVolume, { signal }: PluginCall): Promise<void> {
    const placementId = leftover.ownership?.placementId;
    if (placementId === undefined) return;
    const volume = group.get(nameOf('volume', placementId));
    const copy = group.ours('reverting', placementId);
    const replaced = group.ours('replaced', placementId);
    // Between the two renames of a revert nothing has the volume's name.
    if (!volume && copy && replaced) await group.rename(copy, nameOf('volume', placementId), signal);
    else if (!volume && replaced) return void (await group.rename(replaced, nameOf('volume', placementId), signal));
    else if (copy) await group.remove(copy, signal);
    if (replaced) await group.remove(replaced, signal);
  }

  /**
   * What a volume does not have in the pool reads as zeroes; it gives back whole chunks. The kernel cuts discards at
   * wrong places when the size of a chunk is no power of two (block layer, bio_discard_limit): parts would stay.
   */
  zeroingDiscard(group: VolumeGroup): number | undefined {
    const { settings, health = '' } = group.get(this.#options.config.thinPool.name) ?? {};
    if (!settings?.discards || isFaulty(health)) return undefined;
    return Number.isInteger(Math.log2(settings.chunkSize)) ? settings.chunkSize : undefined;
  }

  async *allocatedExtents(group: VolumeGroup, object: LogicalVolume, { signal }: PluginCall): AsyncGenerator<Extent> {
    yield* this.#metadata.allocated(group, object, signal);
  }

  async *changedExtents(
    group: VolumeGroup,
    from: LogicalVolume,
    to: LogicalVolume,
    { signal }: PluginCall,
  ): AsyncGenerator<Extent> {
    yield* this.#metadata.changed(group, from, to, signal);
  }

  async #discard(group: VolumeGroup, { name, size }: LogicalVolume, from: number, call: PluginCall): Promise<void> {
    const { clock, commands, config } = this.#options;
    const path = group.path(name);
    const common = { path, clock, commands, call, rate: config.eraseRate };
    if (from > 0) {
      // Only whole chunks are freed; the rest of the first and the last has to be written.
      const chunk = this.zeroingDiscard(group) ?? size;
      const first = Math.min(size, Math.ceil(from / chunk) * chunk);
      const last = Math.max(first, Math.floor(size / chunk) * chunk);
      await erase({ ...common, how: 'overwrite', from, to: first });
      await erase({ ...common, how: 'discard', from: first, to: last });
      return erase({ ...common, how: 'overwrite', from: last, to: size });
    }
    await erase({ ...common, how: 'discard', from, to: size });
  }
}
