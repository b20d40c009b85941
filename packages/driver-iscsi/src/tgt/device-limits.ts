import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  limitedQuantities,
  ObjectLocks,
  ScoriaError,
  type DeviceLocator,
  type IoLimits,
  type LimitedQuantity,
} from '@scoria/core';
import { blockNodeNumber } from '../block-node.ts';

/** The keys of `io.max` (Linux, Documentation/admin-guide/cgroup-v2.rst, "IO Interface Files"), as the kernel orders them. */
const keyOf: Readonly<Partial<Record<LimitedQuantity, string>>> = {
  readBytes: 'rbps',
  writeBytes: 'wbps',
  readOperations: 'riops',
  writeOperations: 'wiops',
};
const keys = Object.values(keyOf);
/** What `io.max` says of a device that is not limited, by not naming it. */
const unlimited = ratesOf(() => undefined);
/** The kernel takes no lower rate (Linux, block/blk-throttle.c, `tg_set_limit`). */
const lowest = 2;

/** The block device of a volume, and what `io.max` is to say of it. */
export interface DeviceRates {
  readonly volumeId: string;
  /** `major:minor`. */
  readonly number: string;
  /** All keys with their values. */
  readonly rates: string;
}

/**
 * Rates that the kernel holds one process group to, block device by block device: `io.max` of a control group. It knows
 * reading and writing apart, no totals and no bursts, and no files. What it is told of a device stays until the device
 * goes or it is told otherwise.
 */
export class DeviceLimits {
  readonly #file: string;
  /** What the device of each access is held to. */
  readonly #held = new Map<string, DeviceRates>();
  /** One change of a device at a time. */
  readonly #locks = new ObjectLocks();

  /** @param cgroup - folder of the control group. */
  constructor(cgroup: string) {
    this.#file = join(cgroup, 'io.max');
  }

  /**
   * The rates that keep a device to limits; to none when they are `null`. Gives `null` for a file, which has no limits.
   * Changes nothing. `not-supported` names the limit that the kernel cannot keep.
   */
  async checked(volumeId: string, { path }: Pick<DeviceLocator, 'path'>, limits: IoLimits | null): Promise<DeviceRates | null> {
    const number = await blockNodeNumber(path);
    const wanted = limitedQuantities.filter((quantity) => limits?.[quantity] !== undefined);
    const foreign = wanted.find((quantity) => keyOf[quantity] === undefined);
    if (foreign !== undefined || limits?.operationSize !== undefined) {
      throw new ScoriaError(
        'not-supported',
        `Volume ${volumeId} cannot be held to ${foreign ?? 'operationSize'}: with tgt the kernel limits reading and writing apart, each operation counted once`,
        { remedy: 'Use a QoS spec with limits for reading and for writing, or the embedded target.' },
      );
    }
    if (number === null) {
      if (wanted.length === 0) return null;
      throw new ScoriaError('not-supported', `Volume ${volumeId} is a file: with tgt only block devices can be limited`);
    }
    const rateOf = (quantity: LimitedQuantity | undefined) => quantity && limits?.[quantity]?.perSecond;
    const low = wanted.find((quantity) => (rateOf(quantity) ?? lowest) < lowest);
    if (low !== undefined) {
      throw new ScoriaError(
        'not-supported',
        `Volume ${volumeId} cannot be held to ${low} of ${rateOf(low)} per second: with tgt the kernel takes no limit below ${lowest}`,
        { remedy: `Use a QoS spec with at least ${lowest} per second, or the embedded target.` },
      );
    }
    return { volumeId, number, rates: ratesOf((key) => rateOf(wanted.find((quantity) => keyOf[quantity] === key))) };
  }

  /** Holds the device of an access to its rates from here on. One that is held to them already gets no new burst. */
  async hold(accessId: string, device: DeviceRates | null): Promise<void> {
    if (device === null) return;
    await this.#locks.run([device.number], async () => {
      this.#held.set(accessId, device);
      await this.#write(device);
    });
  }

  /** Lets go of the device of an access that has ended: the last one takes the rates with it. */
  async release(accessId: string): Promise<void> {
    const device = this.#held.get(accessId);
    if (device === undefined) return;
    await this.#locks.run([device.number], async () => {
      this.#held.delete(accessId);
      if ([...this.#held.values()].some(({ number }) => number === device.number)) return;
      await this.#write({ ...device, rates: unlimited });
    });
  }

  async #write({ volumeId, number, rates }: DeviceRates): Promise<void> {
    try {
      // Whatever is written begins a new slice of the kernel's time, in which what was done before does not count.
      const told = (await readFile(this.#file, 'ascii')).split('\n').find((line) => line.startsWith(`${number} `));
      if ((told ?? `${number} ${unlimited}`) === `${number} ${rates}`) return;
      await writeFile(this.#file, `${number} ${rates}\n`, { flag: 'r+' });
    } catch (error) {
      throw new ScoriaError('transport-failed', `The limits of volume ${volumeId} cannot be written to ${this.#file}`, {
        cause: error,
        remedy: 'See that "cgroup" names the control group of tgtd and that the io controller is enabled in its parent.',
      });
    }
  }
}

function ratesOf(rateOf: (key: string) => number | undefined): string {
  const rates = keys.map((key) => [key, rateOf(key)] as const);
  return rates.map(([key, rate]) => `${key}=${rate === undefined ? 'max' : Math.floor(rate)}`).join(' ');
}
