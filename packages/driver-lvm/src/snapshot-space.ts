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
    for (const snapshot of ours) await this.#watch(group, snapshot, signal);
  }

  async #watch(group: VolumeGroup, snapshot: LogicalVolume, signal: AbortSignal): Promise<void> {
    const { log, config } = this.#options;
    const what = `Snapshot ${group.name}/${snapshot.name}`;
    if (snapshot.invalid) {
      if (!this.#lost.has(what)) log.error({}, `${what} has run full and is lost; delete it`);
      this.#lost.add(what);
      return;
    }
    const { usedBytes: space, size, fill } = snapshot;
    const whole = fullSpace(group, size);
    if (space >= whole) return;
    const { threshold, percent } = config.snapshotGrowth;
    const remedy = 'Delete the snapshot, or make room in its volume group so that it can grow.';
    this.#alarm.observe({ what, used: (space * fill) / 100, size: space, warnAt: threshold, alarmAt: 90, remedy });
    if (fill < threshold) return;
    try {
      await group.extend(snapshot, Math.min(whole, space + Math.ceil((size * percent) / 100)), signal);
    } catch (error) {
      signal.throwIfAborted();
      log.error({ err: error, fill }, `${what} could not grow; it is lost when it runs full`);
    }
  }
}
