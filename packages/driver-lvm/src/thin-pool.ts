import { ScoriaError, type PoolReport } from '@scoria/core';
import { FillAlarm } from './fill-alarm.ts';
import type { LayoutOptions } from './layout.ts';
import { isFailure } from './lvm-error.ts';
import type { LogicalVolume } from './logical-volume.ts';
import type { DetailRow } from './lvm-report.ts';
import { poolTags } from './ownership.ts';
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
  /** Groups whose pool has been told to be faulty, with LVM's word for it. */
  readonly #faulty = new Map<string, string>();

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
    const row = await this.#grown(group, await group.report(this.#name, signal), signal);
    this.#refuseUnzeroed(group, row.zero === 'zero');
    const { config, log } = this.#options;
    const { warnAt, alarmAt, metadataLimit } = config.thinPool;
    const what = `Thin pool ${group.name}/${this.#name}`;
    const used = Math.round((row.lv_size * (row.data_percent ?? 0)) / 100);
    const metadata = row.metadata_percent ?? 0;
    const metadataSize = row.lv_metadata_size ?? 0;
    const remedy = 'Extend the pool (lvextend), add a disk to its group (vgextend), or delete volumes.';
    this.#alarm.observe({ what, used, size: row.lv_size, warnAt, alarmAt, remedy });
    const metadataUsed = Math.round((metadataSize * metadata) / 100);
    this.#alarm.observe({ what: `Metadata of ${what}`, used: metadataUsed, size: metadataSize, warnAt, alarmAt, remedy });
    const limit = Math.min(metadataLimit, lvmLimit(metadataSize));
    const stopped = metadata >= limit;
    if (stopped && !this.#stopped.has(group.name)) {
      log.warn({ metadata, limit }, `${what} takes no more volumes: ${metadata} % of its metadata are in use`);
    }
    this.#stopped[stopped ? 'add' : 'delete'](group.name);
    this.#tellFault(group, row.lv_health_status);
    return {
      name: group.name,
      total: row.lv_size,
      // A pool that does not tell how full it is cannot be used.
      free: stopped || row.lv_health_status !== '' || row.data_percent === undefined ? 0 : Math.max(0, row.lv_size - used),
      thin: true,
      maxOverSubscription: config.maxOverSubscription,
      reserved: config.reserved,
      instantCopies: true,
      capabilities: {},
    };
  }

  /** Tells a fault once, until it is another one. A full pool is the alarm's. */
  #tellFault({ name }: VolumeGroup, health: string): void {
    if (isFaulty(health) && this.#faulty.get(name) !== health) {
      const remedy = 'See the recovery drills in the guide to LVM.';
      this.#options.log.error({ health, remedy }, `Thin pool ${name}/${this.#name} fails writes: LVM says that it is ${health}`);
    }
    this.#faulty.set(name, health);
  }

  /** Fails when a pool takes discards, and does nothing (kernel: dm-thin.c, `PM_READ_ONLY`). */
  async refuseFaulty(group: VolumeGroup, signal: AbortSignal): Promise<void> {
    const { lv_health_status: health } = await group.report(this.#name, signal);
    if (!isFaulty(health)) return;
    throw new ScoriaError('backend-failed', `LVM says that thin pool ${group.name}/${this.#name} is ${health}`, {
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
  async #grown(group: VolumeGroup, row: DetailRow, signal: AbortSignal): Promise<DetailRow> {
    const { autoExtend } = this.#options.config.thinPool;
    if (!autoExtend) return row;
    const share = autoExtend.percent / 100;
    let present = row;
    // Metadata first: a pool without them stops, one without data only refuses writes. Their spare copy grows with them.
    if ((row.metadata_percent ?? 0) >= autoExtend.threshold) {
      const by = Math.min((row.lv_metadata_size ?? 0) * share, wholeExtentsWithin(row.vg_free / 2, row));
      const grow = () => group.extendPoolMetadata(this.#name, by, signal);
      present = await this.#grow(group, 'The metadata of thin pool', by > 0 ? grow : undefined, present, signal);
    }
    if ((row.data_percent ?? 0) >= autoExtend.threshold) {
      await group.know(signal);
      const pool = group.get(this.#name);
      const by = Math.min(group.wholeExtents(row.lv_size * share), wholeExtentsWithin(present.vg_free, row));
      const grow = pool && by > 0 ? () => group.extend(pool, row.lv_size + by, signal) : undefined;
      present = await this.#grow(group, 'Thin pool', grow, present, signal);
    }
    return present;
  }

  /**
   * Tells a failure once, until it works again.
   *
   * @param grow - `undefined` when there is no room.
   */
  async #grow(
    group: VolumeGroup,
    part: string,
    grow: (() => Promise<unknown>) | undefined,
    row: DetailRow,
    signal: AbortSignal,
  ): Promise<DetailRow> {
    const { log } = this.#options;
    const what = `${part} ${group.name}/${this.#name}`;
    const isNews = !this.#ungrown.has(what);
    if (!grow) {
      const remedy = `Add a disk: vgextend ${group.name} DISK`;
      if (isNews) log.warn({ remedy }, `${what} cannot grow: volume group ${group.name} has no free extents`);
      this.#ungrown.add(what);
      return row;
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
    return group.report(this.#name, signal);
  }
}

/** Percent of a pool's metadata in use from which LVM makes no more volumes in it (LVM: `pool_metadata_min_threshold`). */
const lvmLimit = (metadataSize: number): number => 100 - Math.min(25, (keptMetadata / metadataSize) * 100);

/** Bytes in whole extents of a group, at most so many. */
const wholeExtentsWithin = (bytes: number, { vg_extent_size: extent }: DetailRow): number => Math.floor(bytes / extent) * extent;
