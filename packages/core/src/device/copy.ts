import { ScoriaError } from '../error/scoria-error.ts';
import type { BlockDevice, Extent } from './block-device.ts';

/** Options of {@link copyDevice}. */
export interface CopyOptions {
  /** Stops the copy within a chunk; it then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** Called at the start, after each part of the target that is freed, and after each chunk, in bytes; `total` is what the source has allocated. */
  progress(done: number, total: number): void;
  /** Bytes a chunk, a multiple of both block sizes. Default: 1 MiB. */
  readonly chunk?: number;
}

const defaultChunk = 1024 * 1024;
/** Chunks under way at a time: bounds the memory of a copy. */
const inFlight = 4;
/** Largest range freed in one call, so that an abort is seen soon. */
const discardPiece = 64 * 1024 * 1024;
/** Bytes after which the target is flushed: a flush cannot be stopped, so that each has to be short. */
const flushPiece = 64 * 1024 * 1024;
/** Zeroes are looked for in runs of this size: smaller ones would cut writes into crumbs. */
const zeroUnit = 64 * 1024;
const zeroes = new Uint8Array(zeroUnit);

/**
 * Makes the beginning of `target` equal to `source` and the rest of it zeroes. Only what the source has allocated is
 * read, and blocks that are all zero are not written, so holes stay holes. The target is flushed at the end. It may be
 * repeated: what an earlier try left in the target is discarded first.
 *
 * Rejects with `device-out-of-range` when the target is smaller, with the devices' errors, or with the signal's reason.
 * The source must not change meanwhile.
 */
export async function copyDevice(source: BlockDevice, target: BlockDevice, options: CopyOptions): Promise<void> {
  const { signal, progress, chunk = defaultChunk } = options;
  const unit = Math.max(source.blockSize, target.blockSize);
  if (target.size < source.size) {
    throw new ScoriaError('device-out-of-range', `The target of a copy has ${target.size} bytes, its source ${source.size}`);
  }
  if (!Number.isSafeInteger(chunk) || chunk <= 0 || chunk % unit !== 0) {
    throw new ScoriaError('device-out-of-range', `A copy in chunks of ${chunk} bytes does not fit blocks of ${unit} bytes`);
  }
  signal.throwIfAborted();
  let total = 0;
  for await (const extent of source.allocatedExtents(0, source.size)) {
    signal.throwIfAborted();
    total += extent.length;
  }
  let done = 0;
  let flushed = 0;
  progress(0, total);
  for await (const piece of pieces(target.allocatedExtents(0, target.size), discardPiece, target.blockSize, target.size)) {
    signal.throwIfAborted();
    await target.discard(piece.offset, piece.length);
    // Nothing is copied yet, but it is a sign of life: a device may write every zero.
    progress(0, total);
  }

  const chunks = pieces(source.allocatedExtents(0, source.size), chunk, unit, source.size);
  let failed = false;
  const work = async () => {
    const buffer = new Uint8Array(chunk);
    try {
      for (;;) {
        if (failed) return;
        signal.throwIfAborted();
        const next = await chunks.next();
        if (next.done) return;
        const data = buffer.subarray(0, next.value.length);
        await source.read(data, next.value.offset);
        signal.throwIfAborted();
        await writeNonZero(target, data, next.value.offset);
        done = Math.min(done + next.value.length, total);
        progress(done, total);
        if (done - flushed < flushPiece) continue;
        flushed = done;
        await target.flush();
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  // All are waited for even when one fails: nothing may still be written when this settles.
  const results = await Promise.allSettled(Array.from({ length: inFlight }, work));
  await chunks.return(undefined);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  signal.throwIfAborted();
  await target.flush();
}

/** Cuts extents into pieces of at most `limit` bytes, on boundaries of `unit` except at the end of the device. */
async function* pieces(
  extents: AsyncIterable<Extent>,
  limit: number,
  unit: number,
  size: number,
): AsyncGenerator<Extent, undefined> {
  let from = 0;
  for await (const extent of extents) {
    // Widening to the larger block of two devices may make neighbours meet.
    const start = Math.max(from, extent.offset - (extent.offset % unit));
    const end = Math.min(size, Math.ceil((extent.offset + extent.length) / unit) * unit);
    for (let offset = start; offset < end; offset += limit) yield { offset, length: Math.min(limit, end - offset) };
    from = Math.max(from, end);
  }
  return undefined;
}

async function writeNonZero(target: BlockDevice, data: Uint8Array, offset: number): Promise<void> {
  let start = 0;
  let at = 0;
  while (at < data.byteLength) {
    const end = Math.min(at + zeroUnit, data.byteLength);
    if (isZero(data, at, end)) {
      if (start < at) await target.write(data.subarray(start, at), offset + start);
      start = end;
    }
    at = end;
  }
  if (start < at) await target.write(data.subarray(start, at), offset + start);
}

function isZero(data: Uint8Array, start: number, end: number): boolean {
  // Most blocks that hold data show it in their first byte or two; only then compare all.
  if (data[start] !== 0 || data[end - 1] !== 0) return false;
  return Buffer.compare(data.subarray(start, end), zeroes.subarray(0, end - start)) === 0;
}
