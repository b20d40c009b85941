const smallestClass = 12;
const largestClass = 20;

/**
 * Keeps buffers for reuse, by power-of-two classes from 4 KiB to 1 MiB plus `headroom`; larger ones are made anew. What
 * is kept is bounded in bytes.
 */
export class BufferPool {
  readonly #headroom: number;
  readonly #maxKept: number;
  readonly #classes: Buffer[][] = Array.from({ length: largestClass + 1 }, () => []);
  #kept = 0;

  /**
   * @param headroom - bytes that each buffer has beyond what is asked for.
   * @param maxKept - bytes kept for reuse at most.
   */
  constructor(headroom: number, maxKept: number) {
    this.#headroom = headroom;
    this.#maxKept = maxKept;
  }

  /** A buffer of at least `headroom + length` bytes with whatever content. */
  take(length: number): Buffer {
    const size = Math.max(smallestClass, 32 - Math.clz32(Math.max(length, 1) - 1));
    if (size > largestClass) return Buffer.allocUnsafeSlow(this.#headroom + length);
    const kept = this.#classes[size]?.pop();
    if (kept === undefined) return Buffer.allocUnsafeSlow(this.#headroom + 2 ** size);
    this.#kept -= kept.length;
    return kept;
  }

  /** Gives back what {@link take} returned. The caller must not touch it afterwards. */
  give(buffer: Buffer): void {
    const size = 31 - Math.clz32(buffer.length - this.#headroom);
    if (buffer.length !== this.#headroom + 2 ** size || size > largestClass || this.#kept + buffer.length > this.#maxKept) return;
    this.#kept += buffer.length;
    this.#classes[size]?.push(buffer);
  }
}
