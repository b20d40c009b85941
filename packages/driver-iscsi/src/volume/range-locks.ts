/** A range of bytes that one piece of work has for itself until it releases it. */
export interface RangeLock {
  release(): void;
}

class Entry implements RangeLock {
  readonly start: number;
  readonly end: number;
  readonly #held: Set<Entry>;
  #released: PromiseWithResolvers<void> | null = null;

  constructor(held: Set<Entry>, offset: number, length: number) {
    this.#held = held;
    this.start = offset;
    this.end = offset + length;
    held.add(this);
  }

  /** Settles when the lock was released. */
  get released(): Promise<void> {
    this.#released ??= Promise.withResolvers();
    return this.#released.promise;
  }

  release(): void {
    if (this.#held.delete(this)) this.#released?.resolve();
  }
}

/**
 * Work on ranges of a device that must not meet. Whoever comes waits for all that came before it and overlaps it, so
 * overlapping work runs in the order of its arrival, and nothing can lock itself up.
 */
export class RangeLocks {
  /** In order of arrival, held or waiting. */
  readonly #held = new Set<Entry>();

  /** Locks a range. Gives the lock itself, not a promise, where nothing stands in the way. */
  acquire(offset: number, length: number): RangeLock | Promise<RangeLock> {
    const end = offset + length;
    const before: Promise<void>[] = [];
    for (const other of this.#held) if (other.start < end && offset < other.end) before.push(other.released);
    const entry = new Entry(this.#held, offset, length);
    return before.length === 0 ? entry : Promise.all(before).then(() => entry);
  }
}
