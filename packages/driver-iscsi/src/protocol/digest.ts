import { crc32c } from '@node-rs/crc32';
import { bhsLength, paddingOf, setDataLength } from './pdu.ts';

/** Which segments of a PDU are followed by a CRC32C (RFC 7143, 13.1). */
export interface Digests {
  readonly header: boolean;
  readonly data: boolean;
}

/** Length of a digest, bytes. */
export const digestLength = 4;

/** Whether the digest at the end of `tail` is that of `segment` and of what precedes it in `tail`. */
export function digestMatches(segment: Buffer, tail: Buffer): boolean {
  const covered = tail.length - digestLength;
  const first = crc32c(segment);
  const crc = covered === 0 ? first : crc32c(tail.subarray(0, covered), first);
  // The polynomial's coefficients go out bit by bit (RFC 7143, 13.1), which makes the number little-endian.
  return crc === tail.readUInt32LE(covered);
}

/** A header with its digest. */
export function headerWithDigest(bhs: Buffer): Buffer {
  const whole = Buffer.allocUnsafe(bhsLength + digestLength);
  bhs.copy(whole);
  whole.writeUInt32LE(crc32c(bhs), bhsLength);
  return whole;
}

/** What follows a data segment: zeroes up to a multiple of four bytes, and the digest of both if it is agreed on. */
export function dataTrailer(data: Buffer, digest: boolean): Buffer {
  const padding = paddingOf(data.length);
  const trailer = Buffer.alloc(padding + (digest && data.length > 0 ? digestLength : 0));
  if (trailer.length > padding) {
    const first = crc32c(data);
    trailer.writeUInt32LE(padding === 0 ? first : crc32c(trailer.subarray(0, padding), first), padding);
  }
  return trailer;
}

/** A whole PDU without additional headers, with padding and digests, as one buffer; the header's data length is set. */
export function framePdu(bhs: Buffer, data: Buffer, digests: Digests): Buffer {
  setDataLength(bhs, data.length);
  return Buffer.concat([digests.header ? headerWithDigest(bhs) : bhs, data, dataTrailer(data, digests.data)]);
}
