/** Lets work through one at a time, in the order of asking. */
export class TurnQueue {
  #tail: Promise<unknown> = Promise.resolve();

  /**
   * Runs `work` after all that was asked for before. Work whose signal aborts while it waits is never begun; begun work
   * is waited for.
   */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const turn = this.#tail;
    const { promise: over, resolve: leave } = Promise.withResolvers<void>();
    this.#tail = turn.then(() => over);
    try {
      await turnOrAbort(signal, turn);
      return await work();
    } finally {
      leave();
    }
  }
}

/** Waits for a turn, or rejects when the signal aborts first. */
async function turnOrAbort(signal: AbortSignal, turn: Promise<unknown>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([turn, promise]);
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** A {@link TurnQueue} for each key. */
export class KeyedQueues {
  readonly #queues = new Map<string, { readonly queue: TurnQueue; users: number }>();

  /** Runs `work` after all that was asked for before with the same key. */
  async run<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const entry = this.#queues.get(key) ?? { queue: new TurnQueue(), users: 0 };
    this.#queues.set(key, entry);
    entry.users++;
    try {
      return await entry.queue.run(signal, work);
    } finally {
      if (--entry.users === 0) this.#queues.delete(key);
    }
  }
}
