import { ScoriaError, type BlockDevice, type Clock, type Extent, type WriteOptions } from '@scoria/core/device';
import { RangeLocks } from './range-locks.ts';

/** Bytes that are copied as one. */
export const mirrorChunk = 1_048_576;
/** Time for the target to answer before the mirror breaks, ms: initiators give up after 30 s. */
const targetPatience = 10_000;
const zeroes = Buffer.alloc(mirrorChunk);

/** How far the two devices of a mirror are: see {@link MirroredDevice}. */
export type MirrorState = 'copying' | 'whole' | 'committed' | 'broken';

type Change = (device: BlockDevice, offset: number, length: number) => Promise<void>;

/**
 * A volume on its way from one device to another, as one device. Reads come from the source. A change goes to the source
 * first, and then to the target as far as the target has been copied; the copy of a chunk and every change have their
 * range for themselves, so whatever the order of arrival, what is copied is the same on both, also where changes overlap.
 *
 * - `copying`: flushes go to the source alone.
 * - `whole`: both hold the same, what was flushed is on stable storage of both, and flushes go to both.
 * - `committed`: from here on a change or flush that the target refuses fails.
 * - `broken`: the target failed or fell silent before that, or is no longer wanted; it is left alone, nobody waits for what
 *   is under way to it, and nobody notices.
 */
export class MirroredDevice implements BlockDevice {
  readonly source: BlockDevice;
  readonly target: BlockDevice;
  readonly blockSize: number;
  readonly readOnly = false;
  /** 1 for each chunk that is the same on both. */
  readonly #copied: Uint8Array;
  readonly #locks = new RangeLocks();
  readonly #broken = new AbortController();
  readonly #clock: Clock;
  /** Those who wait for the target, each by what lets it go. */
  readonly #waiting = new Set<() => void>();
  #left: number;
  #flushesBoth = false;
  #state: MirrorState = 'copying';

  /** Rejects with `device-out-of-range` when the target cannot hold the source, or has other blocks. */
  constructor(source: BlockDevice, target: BlockDevice, clock: Clock) {
    if (target.size < source.size || target.blockSize !== source.blockSize) {
      throw new ScoriaError(
        'device-out-of-range',
        `The target of a mirror has ${target.size} bytes in blocks of ${target.blockSize}, its source ${source.size} in blocks of ${source.blockSize}`,
      );
    }
    this.source = source;
    this.target = target;
    this.blockSize = source.blockSize;
    this.#clock = clock;
    this.#copied = new Uint8Array(Math.ceil(source.size / mirrorChunk));
    this.#left = this.#copied.length;
  }

  get size(): number {
    return this.source.size;
  }

  get state(): MirrorState {
    return this.#state;
  }

  /** Aborted when the mirror breaks, with why as its reason. */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  /** Number of chunks. */
  get chunks(): number {
    return this.#copied.length;
  }

  /** Bytes that are the same on both, holes included. */
  get copiedBytes(): number {
    return Math.min(this.size, (this.#copied.length - this.#left) * mirrorChunk);
  }

  read(into: Uint8Array, offset: number): Promise<void> {
    return this.source.read(into, offset);
  }

  async write(data: Uint8Array, offset: number, options?: WriteOptions): Promise<void> {
    await this.#change(offset, data.byteLength, (device, at, length) => {
      const part = data.subarray(at - offset, at - offset + length);
      // The target may be left alone before it has the data, and the caller then uses its buffer again.
      return device.write(device === this.target ? part.slice() : part, at);
    });
    // A flush covers every write before it, and makes both devices work at the same time.
    if (options?.fua) await this.flush();
  }

  async writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    await this.#change(offset, length, (device, at, part) => device.writeZeroes(at, part));
    if (options?.fua) await this.flush();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#change(offset, length, (device, at, part) => device.discard(at, part));
  }

  async flush(): Promise<void> {
    if (!this.#flushesBoth) return this.source.flush();
    const both = await Promise.allSettled([this.source.flush(), this.#onTarget(() => this.target.flush())]);
    for (const each of both) if (each.status === 'rejected') throw each.reason;
  }

  allocatedExtents(offset: number, length: number): AsyncIterable<Extent> {
    return this.source.allocatedExtents(offset, length);
  }

  /** The size stays while there is a mirror. */
  async refreshSize(): Promise<number> {
    return this.size;
  }

  async close(): Promise<void> {
    await Promise.all([this.source.close(), this.target.close()]);
  }

  /**
   * Takes the chunks from `index` on that are a hole of the source as copied: the target was discarded before. Returns
   * the first one that is not.
   */
  async passHole(index: number): Promise<number> {
    const seen = await this.#firstAllocated(index, this.chunks);
    if (seen === index) return index;
    const lock = await this.#locks.acquire(index * mirrorChunk, (seen - index) * mirrorChunk);
    try {
      // What was written before the lock was had is no hole any more.
      const end = await this.#firstAllocated(index, seen);
      for (let each = index; each < end; each++) this.#markCopied(each);
      return end;
    } finally {
      lock.release();
    }
  }

  /** Copies one chunk, through a buffer of at least that size. Rejects when the source cannot be read or the mirror breaks. */
  async copyChunk(index: number, buffer: Buffer): Promise<void> {
    const start = index * mirrorChunk;
    const length = Math.min(mirrorChunk, this.size - start);
    const lock = await this.#locks.acquire(start, length);
    try {
      for await (const extent of this.source.allocatedExtents(start, length)) {
        const part = buffer.subarray(0, extent.length);
        await this.source.read(part, extent.offset);
        this.broken.throwIfAborted();
        if (part.equals(zeroes.subarray(0, part.length))) continue;
        await this.#onTarget(() => this.target.write(part, extent.offset));
        this.broken.throwIfAborted();
      }
      this.#markCopied(index);
    } finally {
      lock.release();
    }
  }

  /** Ends the copying: from here on both are flushed, and the target is now. Every chunk must have been copied. */
  async complete(): Promise<void> {
    if (this.#left > 0) throw new ScoriaError('internal', `A mirror was completed with ${this.#left} chunks to copy`);
    this.broken.throwIfAborted();
    // Before the flush here, so that no flush of an initiator falls between the two.
    this.#flushesBoth = true;
    await this.#onTarget(() => this.target.flush());
    this.broken.throwIfAborted();
    this.#state = 'whole';
  }

  /** Makes changes and flushes fail that the target refuses. Rejects with `transport-failed` when the mirror is not whole. */
  commit(): void {
    if (this.#state === 'committed') return;
    if (this.#state !== 'whole')
      throw new ScoriaError('transport-failed', `The mirror cannot be committed; it is ${this.#state}`);
    this.#state = 'committed';
  }

  /** Leaves the target alone from now on. What is under way to it may still end there. */
  break(reason: unknown): void {
    if (this.#state === 'broken') return;
    this.#state = 'broken';
    this.#broken.abort(reason);
    for (const letGo of this.#waiting) letGo();
  }

  async #change(offset: number, length: number, change: Change): Promise<void> {
    const free = this.#locks.acquire(offset, length);
    const lock = free instanceof Promise ? await free : free;
    try {
      // What the source refuses must not be on the target.
      await change(this.source, offset, length);
      if (this.#state === 'broken') return;
      for (const part of this.#copiedParts(offset, length)) {
        await this.#onTarget(() => change(this.target, part.offset, part.length));
      }
    } finally {
      lock.release();
    }
  }

  /** Work on the target: before the commit its failure breaks the mirror, afterwards it is the caller's. */
  async #onTarget(work: () => Promise<void>): Promise<void> {
    if (this.#state === 'broken') return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    using _timer = this.#clock.timer(targetPatience, () => {
      // Once committed a write that is given up could still come about after one that follows it.
      if (this.#state === 'committed') return;
      this.break(new ScoriaError('deadline-exceeded', `The target of the mirror did not answer within ${targetPatience} ms`));
    });
    try {
      work().then(resolve, reject);
      await promise;
    } catch (error) {
      if (this.#state === 'committed') throw error;
      this.break(error);
    } finally {
      this.#waiting.delete(resolve);
    }
  }

  /** The parts of a range that the target has. */
  #copiedParts(offset: number, length: number): Extent[] {
    if (this.#left === 0) return [{ offset, length }];
    const parts: Extent[] = [];
    const end = offset + length;
    let from = -1;
    for (let at = offset; at < end; at = (Math.floor(at / mirrorChunk) + 1) * mirrorChunk) {
      const copied = this.#copied[Math.floor(at / mirrorChunk)] === 1;
      if (copied && from < 0) from = at;
      if (!copied && from >= 0) {
        parts.push({ offset: from, length: at - from });
        from = -1;
      }
    }
    if (from >= 0) parts.push({ offset: from, length: end - from });
    return parts;
  }

  /** The first chunk from `index` on that holds data, at most `limit`. */
  async #firstAllocated(index: number, limit: number): Promise<number> {
    const start = index * mirrorChunk;
    const end = Math.min(this.size, limit * mirrorChunk);
    for await (const extent of this.source.allocatedExtents(start, end - start)) {
      return Math.floor(extent.offset / mirrorChunk);
    }
    return limit;
  }

  #markCopied(index: number): void {
    if (this.#copied[index] === 1) return;
    this.#copied[index] = 1;
    this.#left--;
  }
}
