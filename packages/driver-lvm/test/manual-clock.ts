import type { Clock } from '@scoria/core';

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now = 0;

  advance(ms: number): void {
    this.#now += ms;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  async sleep(ms: number): Promise<void> {
    this.#now += ms;
  }

  timer(): Disposable {
    return { [Symbol.dispose]: () => {} };
  }
}
