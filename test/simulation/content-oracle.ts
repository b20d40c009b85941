/** Blocks that the simulation writes of a volume, as far as it has them; and how large they are, bytes. */
export const blocks = 4;
const blockSize = 4096;
/** How far they lie apart, bytes: the size of the smallest volume, so that a volume which becomes smaller loses some. */
export const spacing = 64 * 1024;

/** What the blocks hold: a stamp each, 0 for none. */
export type Stamps = readonly number[];

/** The stamps in an image of a volume. */
export function stampsOf(image: Uint8Array): Stamps {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  return Array.from({ length: blocks }, (_, block) => (block * spacing < image.byteLength ? view.getUint32(block * spacing) : 0));
}

/** What is left of stamps in a volume of so many bytes. */
export function stampsWithin(stamps: Stamps, size: number): Stamps {
  return stamps.map((stamp, block) => (block * spacing < size ? stamp : 0));
}

/** The stamp that a block bears. */
export function stampOf(block: Uint8Array): number {
  return new DataView(block.buffer, block.byteOffset, block.byteLength).getUint32(0);
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

  /** What the volume holds after all writes. */
  get present(): Stamps {
    const present = [...this.#base];
    for (const { block, stamp } of this.#log) present[block] = stamp;
    return present;
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
