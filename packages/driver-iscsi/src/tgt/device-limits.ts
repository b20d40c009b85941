import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { limitedQuantities, ScoriaError, type DeviceLocator, type IoLimits, type LimitedQuantity } from '@scoria/core';
import { blockNodeNumber } from '../block-node.ts';

/** The keys of `io.max` (Linux, Documentation/admin-guide/cgroup-v2.rst, "IO Interface Files"). */
const keyOf: Readonly<Partial<Record<LimitedQuantity, string>>> = {
  readBytes: 'rbps',
  writeBytes: 'wbps',
  readOperations: 'riops',
  writeOperations: 'wiops',
};
const keys = Object.values(keyOf);

/**
 * Rates that the kernel holds one process group to, block device by block device: `io.max` of a control group. It knows
 * reading and writing apart, no totals and no bursts, and no files.
 */
export class DeviceLimits {
  readonly #cgroup: string;

  /** @param cgroup - folder of the control group. */
  constructor(cgroup: string) {
    this.#cgroup = cgroup;
  }

  /** Holds a device to limits; `null` lifts them. `not-supported` names the limit that the kernel cannot keep. */
  async set(volumeId: string, device: Pick<DeviceLocator, 'path'>, limits: IoLimits | null): Promise<void> {
    const number = await blockNodeNumber(device.path);
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
      if (wanted.length === 0) return;
      throw new ScoriaError('not-supported', `Volume ${volumeId} is a file: with tgt only block devices can be limited`);
    }
    const rates = keys.map((key) => {
      const quantity = wanted.find((candidate) => keyOf[candidate] === key);
      const rate = quantity === undefined ? undefined : limits?.[quantity]?.perSecond;
      return `${key}=${rate === undefined ? 'max' : Math.max(1, Math.round(rate))}`;
    });
    const file = join(this.#cgroup, 'io.max');
    try {
      await writeFile(file, `${number} ${rates.join(' ')}\n`, { flag: 'r+' });
    } catch (error) {
      throw new ScoriaError('transport-failed', `The limits of volume ${volumeId} cannot be written to ${file}`, {
        cause: error,
        remedy: 'See that "cgroup" names the control group of tgtd and that the io controller is enabled in its parent.',
      });
    }
  }
}
