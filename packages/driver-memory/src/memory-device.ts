import { rangeError, ScoriaError, type BlockDevice, type Extent, type OpenOptions, type WriteOptions } from '@scoria/core';
import type { MemoryObject } from './memory-backend.ts';

const settled = Promise.resolve();

/** A {@link MemoryObject} as a block device. Its memory is its stable storage, so a flush has nothing to do. */
export class MemoryDevice implements BlockDevice {
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #object: MemoryObject;
  #size: number;
  #closed = false;

  constructor(object: MemoryObject, blockSize: number, options: OpenOptions) {
    this.#object = object;
    this.#size = object.size;
    this.blockSize = blockSize;
    this.readOnly = options.readOnly;
  }

  get size(): number {
    return this.#size;
  }

  read(into: Uint8Array, offset: number): Promise<void> {
    return this.#run(offset, into.byteLength, false, () => this.#object.read(into, offset));
  }

  write(data: Uint8Array, offset: number, _options?: WriteOptions): Promise<void> {
    return this.#run(offset, data.byteLength, true, () => this.#object.write(data, offset));
  }

  writeZeroes(offset: number, length: number, _options?: WriteOptions): Promise<void> {
    return this.#run(offset, length, true, () => this.#object.zero(offset, length));
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#run(offset, length, true, () => this.#object.zero(offset, length));
  }

  flush(): Promise<void> {
    return this.#run(0, 0, false, () => {});
  }

  async *allocatedExtents(offset: number, length: number): AsyncGenerator<Extent> {
    let extents: Iterable<Extent> = [];
    await this.#run(offset, length, false, () => (extents = this.#object.allocated(offset, length)));
    let run: Extent | undefined;
    for (const next of extents) {
      if (run && run.offset + run.length === next.offset) {
        run = { offset: run.offset, length: run.length + next.length };
      } else {
        if (run) yield run;
        run = next;
      }
    }
    if (run) yield run;
  }

  async refreshSize(): Promise<number> {
    await this.#run(0, 0, false, () => (this.#size = this.#object.size));
    return this.#size;
  }

  close(): Promise<void> {
    this.#closed = true;
    return settled;
  }

  #run(offset: number, length: number, change: boolean, work: () => unknown): Promise<void> {
    try {
      const { placementId, removed } = this.#object;
      const name = `memory object ${placementId}`;
      if (this.#closed) throw new ScoriaError('device-gone', `The device of ${name} has been closed`);
      if (removed) throw new ScoriaError('device-gone', `There is no ${name} any more`);
      if (change && this.readOnly) throw new ScoriaError('device-not-permitted', `The ${name} is open for reading only`);
      const outside = rangeError(name, this, offset, length);
      if (outside) throw outside;
      work();
      return settled;
    } catch (error) {
      return Promise.reject(error);
    }
  }
}
