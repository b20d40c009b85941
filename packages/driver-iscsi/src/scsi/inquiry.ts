import { createHash } from 'node:crypto';
import type { BlockDevice } from '@scoria/core/device';

const vendor = 'SCORIA  ';
const product = 'Scoria          ';
const revision = '0001';

/** Most blocks of one COMPARE AND WRITE; the field has one byte. */
export const maxCompareAndWriteBlocks = 255;
/** Longest transfer of one command, bytes. */
export const maxTransferLength = 4_194_304;
/** What storage writes as a whole, bytes: the physical block, and the most that is written atomically. */
export const physicalBlockSize = 4096;
/** Most descriptors of one UNMAP. */
export const maxUnmapDescriptors = 256;
/** Most bytes that one UNMAP descriptor or one WRITE SAME may name. */
export const maxProvisioningLength = 536_870_912;

/** Standard INQUIRY data, 96 bytes (SPC-4, 6.6.2). `exists` is false for LUNs other than 0. */
export function standardInquiry(exists: boolean): Buffer {
  const data = Buffer.alloc(96);
  data[0] = exists ? 0x00 : 0x7f;
  data[2] = 0x06;
  data[3] = 0x12;
  data[4] = data.length - 5;
  data[7] = 0x02;
  data.write(vendor, 8, 'latin1');
  data.write(product, 16, 'latin1');
  data.write(revision, 32, 'latin1');
  // Version descriptors: SAM-5, iSCSI, SPC-4, SBC-3.
  for (const [index, version] of [0x00a0, 0x0960, 0x0460, 0x04c0].entries()) data.writeUInt16BE(version, 58 + 2 * index);
  return data;
}

const page = (code: number, body: Buffer): Buffer => {
  const header = Buffer.alloc(4);
  header[1] = code;
  header.writeUInt16BE(body.length, 2);
  return Buffer.concat([header, body]);
};

/** What vital product data are made from. */
export interface VitalProductSource {
  readonly volumeId: string;
  readonly targetName: string;
  /** Relative target port identifier of the access. */
  readonly targetPort: number;
  readonly device: BlockDevice;
}

const pages: Readonly<Record<number, (source: VitalProductSource) => Buffer>> = {
  0x00: () => Buffer.of(0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2),
  0x80: ({ volumeId }) => Buffer.from(volumeId, 'latin1'),
  0x83: (source) => deviceIdentification(source),
  0xb0: ({ device }) => blockLimits(device.blockSize),
  0xb1: () => {
    const body = Buffer.alloc(60);
    // Non-rotating medium (SBC-3, 6.6.2).
    body.writeUInt16BE(1, 0);
    return body;
  },
  // LBPU, LBPWS, LBPWS10 and LBPRZ are set, thin provisioned (SBC-3, 6.6.4).
  0xb2: () => Buffer.of(0, 0xe4, 0x02, 0),
};

/** A page of vital product data, or `null` for one that is not supported (SPC-4, 7.8). */
export function vitalProductPage(code: number, source: VitalProductSource): Buffer | null {
  const make = pages[code];
  return make === undefined ? null : page(code, make(source));
}

/** NAA designator, locally assigned: 60 bits of a hash of the volume id (SPC-4, 7.8.6.6.4). */
export function naaDesignator(volumeId: string): Buffer {
  const name = createHash('sha256').update(volumeId).digest().subarray(0, 8);
  name[0] = 0x30 | (name[0]! & 0x0f);
  return name;
}

function deviceIdentification({ volumeId, targetName, targetPort }: VitalProductSource): Buffer {
  const designator = (codeSet: number, type: number, value: Buffer): Buffer =>
    Buffer.concat([Buffer.of(codeSet, type, 0, value.length), value]);
  // Names in the "SCSI name string" form end with a NUL and are padded to four bytes (SPC-4, 7.8.6.11).
  const portName = Buffer.from(`${targetName},t,0x0001`, 'utf8');
  const padded = Buffer.concat([portName, Buffer.alloc(4 - (portName.length % 4))]);
  return Buffer.concat([
    // Of the logical unit: NAA, and T10 vendor identification.
    designator(0x01, 0x03, naaDesignator(volumeId)),
    designator(0x02, 0x01, Buffer.from(vendor + volumeId, 'latin1')),
    // Of the target port, iSCSI: its relative identifier, and its name.
    designator(0x51, 0x94, Buffer.of(0, 0, targetPort >> 8, targetPort & 0xff)),
    designator(0x53, 0x98, padded),
  ]);
}

function blockLimits(blockSize: number): Buffer {
  const body = Buffer.alloc(60);
  // WSNZ: a WRITE SAME of zero blocks is refused. Offsets here are those of the page less its header (SBC-3, 6.6.3).
  body[0] = 0x01;
  body[1] = maxCompareAndWriteBlocks;
  body.writeUInt16BE(physicalBlockSize / blockSize, 2);
  body.writeUInt32BE(maxTransferLength / blockSize, 4);
  body.writeUInt32BE(1_048_576 / blockSize, 8);
  body.writeUInt32BE(maxProvisioningLength / blockSize, 16);
  body.writeUInt32BE(maxUnmapDescriptors, 20);
  body.writeUInt32BE(physicalBlockSize / blockSize, 24);
  body.writeUInt32BE(0x8000_0000, 28);
  body.writeBigUInt64BE(BigInt(maxProvisioningLength / blockSize), 32);
  // Atomic writes: longest, alignment, granularity (SBC-4, 6.6.4); none with a boundary.
  for (const at of [40, 44, 48]) body.writeUInt32BE(physicalBlockSize / blockSize, at);
  return body;
}
