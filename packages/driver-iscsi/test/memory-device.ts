import { ScoriaError, type BlockDevice, type Extent, type WriteOptions } from '@scoria/core/device';

/** A device in memory whose calls can be held back, made to fail, and watched. */
export class MemoryDevice implements BlockDevice {
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly calls: string[] = [];
  /** What `refreshSize` finds. */
  nextSize: number;
  content: Buffer;
  closed = false;
  /** Awaited by every call that is listed in it. */
  delays: Partial<Record<'read' | 'write' | 'flush' | 'discard', () => Promise<void>>> = {};
  readonly #waiting = new Set<Promise<void>>();
  /** Offsets of the blocks that were written. */
  allocated = new Set<number>();

  constructor(size: number, blockSize = 512, readOnly = false) {
    this.content = Buffer.alloc(size);
    this.nextSize = size;
    this.blockSize = blockSize;
    this.readOnly = readOnly;
  }

  get size(): number {
    return this.content.length;
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    await this.#delay('read');
    this.content.copy(into, 0, offset, offset + into.length);
  }

  async write(data: Uint8Array, offset: number, options?: WriteOptions): Promise<void> {
    if (this.readOnly) throw new ScoriaError('device-not-permitted', 'the device is open for reading only');
    await this.#delay('write');
    this.calls.push(`write ${offset} ${data.length}${options?.fua ? ' fua' : ''}`);
    this.content.set(data, offset);
    for (let at = offset; at < offset + data.length; at += this.blockSize) this.allocated.add(at);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#delay('discard');
    this.calls.push(`zeroes ${offset} ${length}`);
    this.#free(offset, length);
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#delay('discard');
    this.calls.push(`discard ${offset} ${length}`);
    this.#free(offset, length);
  }

  async flush(): Promise<void> {
    await this.#delay('flush');
    this.calls.push('flush');
  }

  async *allocatedExtents(offset: number, length: number): AsyncIterable<Extent> {
    for (let at = offset; at < offset + length; at += this.blockSize) {
      if (this.allocated.has(at)) yield { offset: at, length: this.blockSize };
    }
  }

  async refreshSize(): Promise<number> {
    const grown = Buffer.alloc(this.nextSize);
    this.content.copy(grown);
    this.content = grown;
    return this.nextSize;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#waiting);
    this.closed = true;
  }

  async #delay(call: 'read' | 'write' | 'flush' | 'discard'): Promise<void> {
    const delay = this.delays[call]?.();
    if (delay === undefined) return;
    this.#waiting.add(delay);
    try {
      await delay;
    } finally {
      this.#waiting.delete(delay);
    }
  }

  #free(offset: number, length: number): void {
    this.content.fill(0, offset, offset + length);
    for (let at = offset; at < offset + length; at += this.blockSize) this.allocated.delete(at);
  }
}
