/** One caller at a time per key, in the order of asking. */
export class ObjectLocks {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `work` when every earlier work of these keys has settled. Keys are taken in sorted order, so two callers cannot block each other. */
  async run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const sorted = [...new Set(keys)].toSorted();
    const before = Promise.all(sorted.map((key) => this.#tails.get(key)));
    const { promise: tail, resolve: release } = Promise.withResolvers<void>();
    // All keys are claimed in one turn: nobody can come between.
    for (const key of sorted) this.#tails.set(key, tail);
    await before;
    try {
      return await work();
    } finally {
      release();
      for (const key of sorted) if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
