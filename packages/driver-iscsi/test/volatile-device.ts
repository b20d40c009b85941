import type { WriteOptions } from '@scoria/core/device';
import { MemoryDevice } from './memory-device.ts';

/** A device with a write cache: what was neither flushed nor written through may be lost, or kept, in any order, when the power goes. */
export class VolatileDevice extends MemoryDevice {
  #stable: Buffer;
  /** For each block, by its offset, what was written since it was last stable; oldest first. */
  #pending = new Map<number, Buffer[]>();

  constructor(size: number) {
    super(size);
    this.#stable = Buffer.alloc(size);
  }

  override async write(data: Uint8Array, offset: number, options?: WriteOptions): Promise<void> {
    await super.write(data, offset, options);
    this.#note(offset, Buffer.from(data), options?.fua ?? false);
  }

  override async writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    await super.writeZeroes(offset, length);
    this.#note(offset, Buffer.alloc(length), options?.fua ?? false);
  }

  override async discard(offset: number, length: number): Promise<void> {
    await super.discard(offset, length);
    this.#note(offset, Buffer.alloc(length), false);
  }

  override async flush(): Promise<void> {
    const before = this.#pending;
    this.#pending = new Map();
    // A flush takes its time; what is written meanwhile is not covered.
    await new Promise((resolve) => setImmediate(resolve));
    await super.flush();
    for (const [offset, versions] of before) {
      const last = versions.at(-1);
      if (last) this.#stable.set(last, offset);
    }
  }

  /** The power goes: `chooses` picks for each block one of `count` versions, 0 for the stable one. The device holds what was left. */
  losePower(chooses: (count: number) => number): void {
    for (const [offset, versions] of this.#pending) {
      const chosen = versions[chooses(versions.length + 1) - 1];
      if (chosen) this.#stable.set(chosen, offset);
    }
    this.#pending = new Map();
    this.content = Buffer.from(this.#stable);
  }

  #note(offset: number, data: Buffer, through: boolean): void {
    for (let at = 0; at < data.length; at += this.blockSize) {
      const part = data.subarray(at, at + this.blockSize);
      if (through) {
        this.#stable.set(part, offset + at);
        this.#pending.delete(offset + at);
      } else {
        this.#pending.set(offset + at, [...(this.#pending.get(offset + at) ?? []), part]);
      }
    }
  }
}
