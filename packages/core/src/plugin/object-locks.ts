/** One caller at a time per key, in the order of asking. */
export class ObjectLocks {
  readonly #tails = new Map<string, Promise<void>>();

  /** Whether somebody works on a key, or waits for it. */
  isTaken(key: string): boolean {
    return this.#tails.has(key);
  }

  /**
   * Runs `work` when every earlier work of these keys has settled. Keys are taken all at once, so callers cannot block each
   * other. Work whose signal aborts while it waits is never begun; begun work is waited for.
   */
  async run<T>(keys: readonly string[], work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const before = Promise.all(keys.map((key) => this.#tails.get(key)));
    const { promise: over, resolve: release } = Promise.withResolvers<void>();
    // Who gives up while it waits must not let the next one pass those before.
    const tail = before.then(() => over);
    for (const key of keys) this.#tails.set(key, tail);
    try {
      await (signal ? settledOrAborted(before, signal) : before);
      return await work();
    } finally {
      release();
      void tail.then(() => {
        for (const key of keys) if (this.#tails.get(key) === tail) this.#tails.delete(key);
      });
    }
  }
}

async function settledOrAborted(turn: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([turn, aborted]);
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
