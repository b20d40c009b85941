import type { BlockDevice, Extent } from '../device/block-device.ts';

/** An open device that nobody writes to, with the extents that its driver knows. */
export class StillDevice implements BlockDevice {
  readonly blockSize: number;
  readonly readOnly = true;
  readonly #device: BlockDevice;
  readonly #extents: () => AsyncIterable<Extent>;

  /** @param extents - those of the whole device, in ascending order and not overlapping. */
  constructor(device: BlockDevice, extents: () => AsyncIterable<Extent>) {
    this.blockSize = device.blockSize;
    this.#device = device;
    this.#extents = extents;
  }

  get size(): number {
    return this.#device.size;
  }

  read(into: Uint8Array, offset: number): Promise<void> {
    return this.#device.read(into, offset);
  }

  write(data: Uint8Array, offset: number): Promise<void> {
    return this.#device.write(data, offset);
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#device.writeZeroes(offset, length);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#device.discard(offset, length);
  }

  flush(): Promise<void> {
    return this.#device.flush();
  }

  async *allocatedExtents(offset: number, length: number): AsyncGenerator<Extent> {
    for await (const extent of this.#extents()) {
      const start = Math.max(offset, extent.offset);
      const end = Math.min(offset + length, extent.offset + extent.length);
      if (extent.offset >= offset + length) return;
      if (end > start) yield { offset: start, length: end - start };
    }
  }

  refreshSize(): Promise<number> {
    return this.#device.refreshSize();
  }

  close(): Promise<void> {
    return this.#device.close();
  }
}
