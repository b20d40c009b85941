import { ScoriaError, type BlockDevice } from '@scoria/core/device';
import type { CopyMap, WriteGate } from './write-gate.ts';

/** Bytes that are copied, or held to be copied, as one. */
const chunkSize = 1_048_576;
/** Chunks read and written at the same time. */
const concurrency = 4;

const pending = 0;
const copying = 1;
const done = 2;

/** What is read of a volume in use. */
export type LiveSource = Pick<BlockDevice, 'size' | 'read' | 'allocatedExtents'>;

/** What a {@link copyLive} needs. */
export interface LiveCopy {
  /** The volume in use, whichever device it is on at the time. */
  readonly source: LiveSource;
  /** The gate that all writes to `source` pass. */
  readonly gate: WriteGate;
  readonly target: BlockDevice;
  readonly signal: AbortSignal;
  /** Told bytes done of bytes in all; holes count as done. */
  progress(done: number, total: number): void;
}

/**
 * Copies a volume in use as it is at one moment during the call. The target is emptied first, so a repeat is clean.
 * Writes wait while the map is put in place; from then on a write waits only for the chunks that it touches. Holes of the
 * source are not written. Settles when the target is flushed; rejects with the signal's reason soon after it aborts.
 */
export async function copyLive({ source, gate, target, signal, progress }: LiveCopy): Promise<void> {
  signal.throwIfAborted();
  if (target.size < source.size) {
    throw new ScoriaError('device-out-of-range', `The target of a copy has ${target.size} bytes and the volume ${source.size}`);
  }
  for (let at = 0; at < target.size; at += discardStep) {
    signal.throwIfAborted();
    await target.discard(at, Math.min(discardStep, target.size - at));
  }
  const token = {};
  gate.hold(token);
  let map: ChunkMap;
  try {
    await gate.settled();
    signal.throwIfAborted();
    map = new ChunkMap(source, target, progress);
    gate.addMap(map);
  } finally {
    gate.release(token);
  }
  try {
    progress(0, source.size);
    await map.copyAll(signal);
  } finally {
    // A write that waits for a chunk still gets it, or is let go.
    gate.removeMap(map);
    await map.settled();
  }
  signal.throwIfAborted();
  await target.flush();
}

/** Bytes discarded at a time, so that an abort is seen soon. */
const discardStep = 1024 * chunkSize;

class ChunkMap implements CopyMap {
  readonly #source: LiveSource;
  readonly #target: BlockDevice;
  readonly #progress: (done: number, total: number) => void;
  readonly #size: number;
  readonly #states: Uint8Array;
  readonly #underWay = new Map<number, Promise<void>>();
  readonly #buffers: Buffer[] = [];
  #doneBytes = 0;
  #failure: unknown;
  #failed = false;

  constructor(source: LiveSource, target: BlockDevice, progress: (done: number, total: number) => void) {
    this.#source = source;
    this.#target = target;
    this.#progress = progress;
    this.#size = source.size;
    this.#states = new Uint8Array(Math.ceil(source.size / chunkSize));
  }

  passes(offset: number, length: number): boolean {
    if (this.#failed) return true;
    const last = Math.min(Math.floor((offset + length - 1) / chunkSize), this.#states.length - 1);
    for (let index = Math.floor(offset / chunkSize); index <= last; index++) {
      if (this.#states[index] !== done) return false;
    }
    return true;
  }

  async secure(offset: number, length: number): Promise<void> {
    const last = Math.min(Math.floor((offset + length - 1) / chunkSize), this.#states.length - 1);
    for (let index = Math.floor(offset / chunkSize); index <= last; index++) {
      if (this.#failed) return;
      // A failure is kept and ends the copy; the write goes on.
      if (this.#states[index] !== done) await this.#copy(index).catch(() => {});
    }
  }

  /** Copies what no write has made it copy. */
  async copyAll(signal: AbortSignal): Promise<void> {
    let next = 0;
    const running = new Set<Promise<void>>();
    try {
      for await (const extent of this.#source.allocatedExtents(0, this.#size)) {
        const first = Math.floor(extent.offset / chunkSize);
        const last = Math.floor((extent.offset + extent.length - 1) / chunkSize);
        this.#skip(next, first);
        for (let index = Math.max(first, next); index <= last; index++) {
          signal.throwIfAborted();
          this.#throwIfFailed();
          if (this.#states[index] === done) continue;
          const copy = this.#copy(index);
          const tracked: Promise<void> = copy.then(
            () => void running.delete(tracked),
            () => void running.delete(tracked),
          );
          running.add(tracked);
          if (running.size >= concurrency) await Promise.race(running);
        }
        next = Math.max(next, last + 1);
      }
      this.#skip(next, this.#states.length);
    } finally {
      await Promise.all(running);
    }
    await this.settled();
    this.#throwIfFailed();
  }

  /** Settles when nothing is read or written any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay.values());
  }

  #throwIfFailed(): void {
    if (this.#failed) throw this.#failure;
  }

  /** Marks chunks of a hole as done. */
  #skip(from: number, to: number): void {
    for (let index = from; index < to; index++) if (this.#states[index] === pending) this.#finish(index);
  }

  #finish(index: number): void {
    this.#states[index] = done;
    this.#doneBytes += Math.min(chunkSize, this.#size - index * chunkSize);
    this.#progress(this.#doneBytes, this.#size);
  }

  #copy(index: number): Promise<void> {
    const known = this.#underWay.get(index);
    if (known !== undefined) return known;
    this.#states[index] = copying;
    const copy = this.#copyChunk(index).then(
      () => {
        this.#underWay.delete(index);
        this.#finish(index);
      },
      (error: unknown) => {
        this.#underWay.delete(index);
        this.#states[index] = pending;
        if (!this.#failed) this.#failure = error;
        this.#failed = true;
        throw error;
      },
    );
    this.#underWay.set(index, copy);
    return copy;
  }

  async #copyChunk(index: number): Promise<void> {
    const start = index * chunkSize;
    const length = Math.min(chunkSize, this.#size - start);
    const buffer = this.#buffers.pop() ?? Buffer.allocUnsafeSlow(chunkSize);
    try {
      for await (const extent of this.#source.allocatedExtents(start, length)) {
        const part = buffer.subarray(0, extent.length);
        await this.#source.read(part, extent.offset);
        await this.#target.write(part, extent.offset);
      }
    } finally {
      this.#buffers.push(buffer);
    }
  }
}
