/** Blocks of a volume that the simulation writes, and how far they lie apart, bytes. */
export const blocks = 4;
export const blockSize = 4096;

/** What the blocks hold: a stamp each, 0 for none. */
export type Stamps = readonly number[];

/** The stamps in an image of a volume. */
export function stampsOf(image: Uint8Array, count = blocks): Stamps {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  return Array.from({ length: count }, (_, block) => view.getUint32(block * blockSize));
}

/** A block that bears a stamp. */
export function stamped(stamp: number): Uint8Array {
  const block = new Uint8Array(blockSize);
  new DataView(block.buffer).setUint32(0, stamp);
  return block;
}

/** Every write of one volume in the order in which they reached it. */
export class WriteHistory {
  readonly #base: Stamps;
  readonly #log: { readonly block: number; readonly stamp: number }[] = [];

  constructor(base: Stamps) {
    this.#base = base;
  }

  /** Number of writes so far. */
  get length(): number {
    return this.#log.length;
  }

  add(block: number, stamp: number): void {
    this.#log.push({ block, stamp });
  }

  /** Whether the volume held this after some number of writes, between `from` and `to`. */
  held(stamps: Stamps, from: number, to: number): boolean {
    const present = [...this.#base];
    for (let count = 0; count <= to; count += 1) {
      if (count >= from && present.every((stamp, block) => stamp === stamps[block])) return true;
      const write = this.#log[count];
      if (write) present[write.block] = write.stamp;
    }
    return false;
  }
}
