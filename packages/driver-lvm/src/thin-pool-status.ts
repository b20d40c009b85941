import { ScoriaError } from '@scoria/core';

/** What the kernel tells of a thin pool. Sizes are bytes. */
export interface ThinPoolStatus {
  readonly size: number;
  /** `undefined` when the pool has failed: it does not tell then. */
  readonly used: number | undefined;
  readonly metadataSize: number;
  readonly metadataUsed: number;
  /** LVM's word for a fault (lvs(8), "lv_health_status"); empty when there is none. */
  readonly health: string;
}

/** Bytes of a block of a thin pool's metadata (kernel: thin-provisioning.rst). */
const metadataBlock = 4096;
const line =
  /^\d{1,20} \d{1,20} thin-pool \d{1,20} (?<metadataUsed>\d{1,15})\/(?<metadataSize>\d{1,15}) (?<used>\d{1,15})\/(?<size>\d{1,15}) \S{1,20} (?<mode>rw|ro|out_of_data_space)(?: |$)/;
const failed = /^\d{1,20} \d{1,20} thin-pool (?:Fail|Error)$/;
const faults: Readonly<Record<string, string>> = { rw: '', ro: 'metadata_read_only', out_of_data_space: 'out_of_data' };

/**
 * Reads the status line of a thin pool (kernel: thin-provisioning.rst, "Status"; dmsetup(8)). `undefined` for a device
 * that is no thin pool.
 *
 * @param device - for the error.
 * @param pool - what LVM says of it: its size and that of its chunks, bytes.
 */
export function parseThinPoolStatus(
  device: string,
  text: string,
  pool: { readonly size: number; readonly chunkSize: number },
): ThinPoolStatus | undefined {
  const told = text.trim();
  if (failed.test(told)) return { size: pool.size, used: undefined, metadataSize: 0, metadataUsed: 0, health: 'failed' };
  const { metadataUsed, metadataSize, used, size, mode } = line.exec(told)?.groups ?? {};
  if (mode !== undefined) {
    return {
      size: Number(size) * pool.chunkSize,
      used: Number(used) * pool.chunkSize,
      metadataSize: Number(metadataSize) * metadataBlock,
      metadataUsed: Number(metadataUsed) * metadataBlock,
      health: faults[mode] ?? '',
    };
  }
  if (!/^\d{1,20} \d{1,20} thin-pool /.test(told)) return undefined;
  throw new ScoriaError('backend-failed', `The status of thin pool ${device} cannot be read: "${told.slice(0, 200)}"`);
}
