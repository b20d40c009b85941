import { FillAlarm } from './fill-alarm.ts';
import type { LayoutOptions } from './layout.ts';
import type { LogicalVolume } from './logical-volume.ts';
import type { VolumeGroup } from './volume-group.ts';

/** LVM's chunk of a thick snapshot, and what its table needs for each (kernel: dm-snap-persistent.c), bytes. */
const chunk = 4096;
const tableEntry = 16;
/** Header and first table. */
const tableStart = 2 * chunk;

/** Space with which a thick snapshot of so many bytes can never run full, bytes. */
const neverFull = (size: number): number => size + Math.ceil((size / chunk) * tableEntry) + tableStart;

const nameOf = (group: VolumeGroup, { name }: LogicalVolume): string => `Snapshot ${group.name}/${name}`;

/** Like that, in whole extents of a group. */
export const fullSpace = (group: VolumeGroup, size: number): number => group.wholeExtents(neverFull(size));

/** The space in which thick snapshots keep what is overwritten: how much, and who watches it. */
export class SnapshotSpace {
  readonly #options: LayoutOptions;
  readonly #alarm: FillAlarm;
  /** Snapshots that have been told to be lost. */
  readonly #lost = new Set<string>();

  constructor(options: LayoutOptions) {
    this.#options = options;
    this.#alarm = new FillAlarm(options);
  }

  /** Space for a new snapshot of a volume of so many bytes. */
  of(size: number): number {
    const { snapshotReserve } = this.#options.config;
    return snapshotReserve === 1 ? neverFull(size) : Math.ceil(size * snapshotReserve) + tableStart;
  }

  /** Lets snapshots of ours grow before they run full, and tells of those that have. The model is fresh. */
  async watch(group: VolumeGroup, signal: AbortSignal): Promise<void> {
    const ours = [...group.volumes].filter(({ layer, ownership }) => layer === 'thick-snapshot' && ownership !== undefined);
    let free = group.facts.vg_free;
    for (const snapshot of ours) free -= await this.#watch(group, snapshot, free, signal);
  }

  /** Forgets a snapshot that is gone. */
  forget(group: VolumeGroup, snapshot: LogicalVolume): void {
    const what = nameOf(group, snapshot);
    this.#alarm.forget(what);
    this.#lost.delete(what);
  }

  /** Gives by how many bytes the snapshot has grown, of `free` bytes that may be taken. */
  async #watch(group: VolumeGroup, snapshot: LogicalVolume, free: number, signal: AbortSignal): Promise<number> {
    const { log, config } = this.#options;
    const what = nameOf(group, snapshot);
    if (snapshot.invalid) {
      if (!this.#lost.has(what)) log.error({}, `${what} has run full and is lost; delete it`);
      this.#lost.add(what);
      return 0;
    }
    const { usedBytes: space, size, fill } = snapshot;
    const whole = fullSpace(group, size);
    if (space >= whole) return 0;
    const { threshold, percent } = config.snapshotGrowth;
    const remedy = 'Delete the snapshot, or make room in its volume group so that it can grow.';
    this.#alarm.observe({ what, used: (space * fill) / 100, size: space, warnAt: threshold, alarmAt: 90, remedy });
    const by = Math.min(whole - space, group.wholeExtents((size * percent) / 100), free);
    if (fill < threshold || by < group.facts.vg_extent_size) return 0;
    try {
      await group.extend(snapshot, space + by, signal);
      return by;
    } catch (error) {
      signal.throwIfAborted();
      log.error({ err: error, fill }, `${what} could not grow; it is lost when it runs full`);
      return 0;
    }
  }
}
