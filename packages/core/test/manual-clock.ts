import type { Clock } from '../src/platform/clock.ts';

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #time = 0;
  readonly #timers = new Set<{ readonly at: number; readonly fn: () => void }>();

  now(): number {
    return this.#time;
  }

  monotonic(): number {
    return this.#time;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = this.timer(ms, resolve);
    signal?.addEventListener('abort', () => {
      timer[Symbol.dispose]();
      reject(signal.reason);
    });
    return promise;
  }

  timer(ms: number, fn: () => void): Disposable {
    const timer = { at: this.#time + ms, fn };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) };
  }

  /** Number of timers that have yet to run out. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time on; timers run out in their order, also those that are set meanwhile. */
  advance(ms: number): void {
    const end = this.#time + ms;
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at);
      if (!next) break;
      this.#timers.delete(next);
      this.#time = Math.max(this.#time, next.at);
      next.fn();
    }
    this.#time = end;
  }
}
