import type { BlockDevice, ConnectedDevice, Extent, WriteOptions } from '@scoria/core';

/** What an {@link OpenIscsiDevice} is told of its connection. */
export interface OpenIscsiDeviceOptions {
  readonly serial: string;
  readonly path: string;
  /** Has the kernel ask the target for the size. */
  rescan(): Promise<void>;
  /** Called once when it is closed. */
  onClose(): void;
}

/** A disk of the kernel's initiator, or a map over several, as a connected device. */
export class OpenIscsiDevice implements ConnectedDevice {
  readonly serial: string;
  readonly path: string;
  readonly #inner: BlockDevice;
  readonly #options: OpenIscsiDeviceOptions;
  #closing: Promise<void> | null = null;

  constructor(inner: BlockDevice, options: OpenIscsiDeviceOptions) {
    this.#inner = inner;
    this.#options = options;
    this.serial = options.serial;
    this.path = options.path;
  }

  get size(): number {
    return this.#inner.size;
  }

  get blockSize(): number {
    return this.#inner.blockSize;
  }

  get readOnly(): boolean {
    return this.#inner.readOnly;
  }

  read(into: Uint8Array, offset: number): Promise<void> {
    return this.#inner.read(into, offset);
  }

  write(data: Uint8Array, offset: number, options?: WriteOptions): Promise<void> {
    return this.#inner.write(data, offset, options);
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    return this.#inner.writeZeroes(offset, length, options);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#inner.discard(offset, length);
  }

  flush(): Promise<void> {
    return this.#inner.flush();
  }

  allocatedExtents(offset: number, length: number): AsyncIterable<Extent> {
    return this.#inner.allocatedExtents(offset, length);
  }

  async refreshSize(): Promise<number> {
    await this.#options.rescan();
    return this.#inner.refreshSize();
  }

  close(): Promise<void> {
    this.#closing ??= this.#inner.close().finally(() => this.#options.onClose());
    return this.#closing;
  }
}
