import type { BlockDevice } from '@scoria/core/device';
import { senseOf, type Sense } from './sense.ts';

/** What a CDB names: logical blocks. `lba` may be too large to be exact, and is then beyond any device. */
export interface BlockRange {
  readonly lba: number;
  readonly blocks: number;
}

const read64 = (cdb: Buffer, at: number): number => cdb.readUInt32BE(at) * 2 ** 32 + cdb.readUInt32BE(at + 4);

/** LBA and length of a CDB of 6, 10, 12 or 16 bytes, by its opcode's group (SPC-4, 4.2.5.1). */
export function rangeOf(cdb: Buffer): BlockRange {
  switch (cdb[0]! >> 5) {
    case 0:
      // Of READ(6) and WRITE(6) a length of 0 means 256 (SBC-3, 5.10).
      return { lba: cdb.readUInt32BE(0) & 0x1fffff, blocks: cdb[4]! || 256 };
    case 4:
      return { lba: read64(cdb, 2), blocks: cdb.readUInt32BE(10) };
    case 5:
      return { lba: cdb.readUInt32BE(2), blocks: cdb.readUInt32BE(6) };
    default:
      return { lba: cdb.readUInt32BE(2), blocks: cdb.readUInt16BE(7) };
  }
}

/** The sense of a range that does not lie within the device, else `null`. */
export function outOfRange(device: BlockDevice, { lba, blocks }: BlockRange): Sense | null {
  const capacity = device.size / device.blockSize;
  return lba > capacity || blocks > capacity - lba || lba >= capacity ? senseOf.lbaOutOfRange : null;
}
