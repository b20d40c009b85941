import type { Clock } from '@scoria/core/device';

/** A clock that goes on only when it is told to. */
export class ManualClock implements Clock {
  #time = 0;
  readonly #timers = new Set<{ readonly due: number; readonly fn: () => void }>();

  now(): number {
    return this.#time;
  }

  monotonic(): number {
    return this.#time;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.timer(ms, resolve));
  }

  timer(ms: number, fn: () => void): Disposable {
    const entry = { due: this.#time + ms, fn };
    this.#timers.add(entry);
    return { [Symbol.dispose]: () => void this.#timers.delete(entry) };
  }

  /** Goes on by `ms`, calling what becomes due in its order. */
  advance(ms: number): void {
    const end = this.#time + ms;
    for (;;) {
      let next: { readonly due: number; readonly fn: () => void } | undefined;
      for (const timer of this.#timers) if (timer.due <= end && timer.due < (next?.due ?? Infinity)) next = timer;
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#time = next.due;
      next.fn();
    }
    this.#time = end;
  }
}
