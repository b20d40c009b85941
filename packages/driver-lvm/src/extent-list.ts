import type { Extent } from '@scoria/core';

/** Extents kept at most: some tens of megabytes of memory. */
const most = 1_000_000;

/**
 * Extents in ascending order that do not overlap. When they are too many, those with the smallest gaps between them become
 * one: then the list tells of more than was added, never of less.
 */
export class ExtentList {
  readonly #most: number;
  #offsets: number[] = [];
  #ends: number[] = [];
  /** Gaps up to so many bytes are closed. */
  #gap = 0;

  /** @param limit - extents kept at most. */
  constructor(limit = most) {
    this.#most = limit;
  }

  add({ offset, length }: Extent): void {
    const last = this.#ends.length - 1;
    if (last >= 0 && offset - (this.#ends[last] ?? 0) <= this.#gap) {
      this.#ends[last] = offset + length;
      return;
    }
    this.#offsets.push(offset);
    this.#ends.push(offset + length);
    while (this.#ends.length > this.#most) this.#coarsen();
  }

  *[Symbol.iterator](): Generator<Extent> {
    for (const [index, offset] of this.#offsets.entries()) yield { offset, length: (this.#ends[index] ?? offset) - offset };
  }

  #coarsen(): void {
    const all = [...this];
    const smallest = all.reduce((least, { offset }, index) => {
      const before = all[index - 1];
      return before ? Math.min(least, offset - before.offset - before.length) : least;
    }, Number.POSITIVE_INFINITY);
    this.#gap = Math.max(2 * this.#gap, smallest);
    [this.#offsets, this.#ends] = [[], []];
    for (const extent of all) this.add(extent);
  }
}
