import { ScoriaError } from '@scoria/core';

/** Unit in which space is taken and shared, bytes. */
export const chunkSize = 64 * 1024;

/** A pool of a {@link MemoryBackend}. Sizes in bytes. */
export interface MemoryPoolOptions {
  readonly name: string;
  readonly total: number;
  /** `true`: volumes take space as they are written; `false`: their whole size at once. */
  readonly thin: boolean;
  readonly maxOverSubscription: number;
  /** Share of `total` that is never promised, 0 to 1. */
  readonly reserved: number;
}

/** Options of a {@link MemoryBackend}. */
export interface MemoryBackendOptions {
  /** UUID of the array. */
  readonly backendId: string;
  /** Default: one thin pool named `pool` of 1 TiB. */
  readonly pools?: readonly MemoryPoolOptions[];
  /** Logical block size of its volumes, bytes. Default: 512. */
  readonly blockSize?: 512 | 4096;
}

/** The pools of a backend that was not told any. */
export const defaultPools: readonly MemoryPoolOptions[] = [
  { name: 'pool', total: 2 ** 40, thin: true, maxOverSubscription: 20, reserved: 0 },
];

/** A pool with what is taken of it. */
export class MemoryPool {
  readonly options: MemoryPoolOptions;
  #used = 0;

  constructor(options: MemoryPoolOptions) {
    this.options = options;
  }

  /** Bytes not taken. */
  get free(): number {
    return this.options.total - this.#used;
  }

  /** Takes space. Fails with `device-no-space`. */
  take(bytes: number): void {
    if (bytes > this.free) {
      throw new ScoriaError('device-no-space', `Pool ${this.options.name} has ${this.free} bytes left, not ${bytes}`);
    }
    this.#used += bytes;
  }

  /** Gives space back. */
  give(bytes: number): void {
    this.#used -= bytes;
  }
}

/** Bytes that one or more objects hold; one that has more than one holder is copied before it is written. */
interface Chunk {
  bytes: Uint8Array;
  holders: number;
}

/** What makes a {@link MemoryObject}. */
export interface MemoryObjectOptions {
  readonly kind: 'volume' | 'snapshot';
  readonly placementId: string;
  readonly size: number;
  /** Of a snapshot: placement id of its volume. */
  readonly origin?: string | undefined;
}

/** A volume or snapshot: sparse bytes in chunks that copies share. */
export class MemoryObject {
  readonly kind: 'volume' | 'snapshot';
  readonly pool: MemoryPool;
  /** Of a snapshot: placement id of its volume. */
  readonly origin: string | undefined;
  #placementId: string;
  readonly #chunks = new Map<number, Chunk>();
  #size = 0;
  #removed = false;

  constructor(options: MemoryObjectOptions, pool: MemoryPool) {
    this.kind = options.kind;
    this.origin = options.origin;
    this.#placementId = options.placementId;
    this.pool = pool;
    this.grow(options.size);
  }

  /** For a volume that is not ours the name that it has. */
  get placementId(): string {
    return this.#placementId;
  }
  get size(): number {
    return this.#size;
  }
  /** Whether it was deleted; open devices then fail with `device-gone`. */
  get removed(): boolean {
    return this.#removed;
  }
  /** Bytes of the chunks it holds, shared ones included. */
  get usedBytes(): number {
    return this.pool.options.thin ? this.#chunks.size * chunkSize : this.#size;
  }

  /** Makes it larger. Fails with `device-no-space`. */
  grow(size: number): void {
    if (!this.pool.options.thin) this.pool.take(size - this.#size);
    this.#size = size;
  }

  /** Makes it smaller; what lies beyond is forgotten. */
  shrink(size: number): void {
    this.zero(size, this.#size - size);
    if (!this.pool.options.thin) this.pool.give(this.#size - size);
    this.#size = size;
  }

  /** Gives it another name. */
  rename(placementId: string): void {
    this.#placementId = placementId;
  }

  /** The chunks in which it differs from another object, ascending. */
  *differing(other: MemoryObject): Generator<{ readonly offset: number; readonly length: number }> {
    const indexes = new Set([...this.#chunks.keys(), ...other.#chunks.keys()]);
    const end = Math.max(this.#size, other.#size);
    for (const index of [...indexes].toSorted((a, b) => a - b)) {
      const offset = index * chunkSize;
      // One chunk that both hold is the same in both.
      if (this.#chunks.get(index) !== other.#chunks.get(index)) yield { offset, length: Math.min(chunkSize, end - offset) };
    }
  }

  /** Takes over the content of another object of the same pool without copying; what lies beyond it reads as zeroes. */
  share(source: MemoryObject): void {
    const taken = [...source.#chunks];
    for (const [, chunk] of taken) chunk.holders++;
    this.#clear();
    for (const [index, chunk] of taken) this.#chunks.set(index, chunk);
  }

  /** Gives all its space back. */
  remove(): void {
    this.#removed = true;
    this.#clear();
    if (!this.pool.options.thin) this.pool.give(this.#size);
  }

  read(into: Uint8Array, offset: number): void {
    for (const { index, start, at, length } of spans(offset, into.byteLength)) {
      const chunk = this.#chunks.get(index);
      if (chunk) into.set(chunk.bytes.subarray(start, start + length), at);
      else into.fill(0, at, at + length);
    }
  }

  write(data: Uint8Array, offset: number): void {
    for (const { index, start, at, length } of spans(offset, data.byteLength)) {
      this.#own(index).set(data.subarray(at, at + length), start);
    }
  }

  zero(offset: number, length: number): void {
    const last = Math.floor((offset + length) / chunkSize);
    for (const index of this.#within(offset, length)) {
      const start = Math.max(offset - index * chunkSize, 0);
      const end = index < last ? chunkSize : (offset + length) % chunkSize;
      const chunk = this.#chunks.get(index);
      if (!chunk) continue;
      if (end - start < chunkSize) this.#own(index).fill(0, start, end);
      else this.#release(index, chunk);
    }
  }

  /** The chunks held within a range, cut to it, ascending. */
  *allocated(offset: number, length: number): Generator<{ readonly offset: number; readonly length: number }> {
    for (const index of this.#within(offset, length).toSorted((a, b) => a - b)) {
      const start = Math.max(offset, index * chunkSize);
      const end = Math.min(offset + length, (index + 1) * chunkSize);
      if (this.#chunks.has(index) && end > start) yield { offset: start, length: end - start };
    }
  }

  #within(offset: number, length: number): number[] {
    const first = Math.floor(offset / chunkSize);
    const end = Math.ceil((offset + length) / chunkSize);
    if (end - first > this.#chunks.size) return [...this.#chunks.keys()].filter((index) => index >= first && index < end);
    return Array.from({ length: end - first }, (_, i) => first + i);
  }

  #own(index: number): Uint8Array {
    const held = this.#chunks.get(index);
    if (held?.holders === 1) return held.bytes;
    if (this.pool.options.thin) this.pool.take(chunkSize);
    const bytes = held ? held.bytes.slice() : new Uint8Array(chunkSize);
    if (held) held.holders--;
    this.#chunks.set(index, { bytes, holders: 1 });
    return bytes;
  }

  #release(index: number, chunk: Chunk): void {
    this.#chunks.delete(index);
    if (--chunk.holders === 0 && this.pool.options.thin) this.pool.give(chunkSize);
  }

  #clear(): void {
    for (const [index, chunk] of this.#chunks) this.#release(index, chunk);
  }
}

/** The pieces of a range that lie in one chunk each. `at` counts from the start of the range, `start` within the chunk. */
function* spans(offset: number, length: number) {
  for (let at = 0; at < length;) {
    const start = (offset + at) % chunkSize;
    const piece = Math.min(chunkSize - start, length - at);
    yield { index: Math.floor((offset + at) / chunkSize), start, at, length: piece };
    at += piece;
  }
}

/**
 * The "array" behind driver-memory: what would be a machine of its own for a real driver. It outlives the driver, so a
 * test that restarts the control plane keeps one and gives it to the new driver.
 */
export class MemoryBackend {
  readonly backendId: string;
  readonly blockSize: 512 | 4096;
  readonly pools: ReadonlyMap<string, MemoryPool>;
  /** By placement id. */
  readonly objects = new Map<string, MemoryObject>();
  /** Volumes that are nobody's, by name: they can be taken over. */
  readonly foreign = new Map<string, MemoryObject>();
  /** The installation that marked it as its own. */
  installationId: string | undefined;

  constructor(options: MemoryBackendOptions) {
    this.backendId = options.backendId;
    this.blockSize = options.blockSize ?? 512;
    this.pools = new Map((options.pools ?? defaultPools).map((pool) => [pool.name, new MemoryPool(pool)]));
  }
}
