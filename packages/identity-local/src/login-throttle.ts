import { ScoriaError, type Clock } from '@scoria/core';

const freeFailures = 3;
const firstDelay = 500;
const longestDelay = 10_000;
const forgetAfter = 15 * 60_000;
const maxNames = 10_000;
const maxAtOnce = 2;
const maxWaiting = 64;

interface Failures {
  count: number;
  last: number;
}

/**
 * Slows down guessing. After three failures for a name each further attempt waits, twice as long each time, up to ten
 * seconds; the failures are forgotten after a quarter of an hour or a success. Two attempts are checked at a time, because
 * each costs memory and a processor; when too many wait, more are refused.
 */
export class LoginThrottle {
  readonly #clock: Clock;
  readonly #failures = new Map<string, Failures>();
  readonly #queue: (() => void)[] = [];
  #running = 0;
  #waiting = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs one attempt for `name` when its turn has come. `backend-unavailable` when too many attempts wait. */
  async attempt(name: string, check: () => Promise<boolean>): Promise<boolean> {
    if (this.#waiting >= maxWaiting) {
      throw new ScoriaError('backend-unavailable', 'Too many logins are under way', { remedy: 'Try again in a few seconds.' });
    }
    this.#waiting += 1;
    try {
      const delay = this.#delay(name);
      if (delay > 0) await this.#clock.sleep(delay);
      await this.#turn();
      try {
        const passed = await check();
        if (passed) this.#failures.delete(name);
        else this.#note(name);
        return passed;
      } finally {
        this.#running -= 1;
        this.#queue.shift()?.();
      }
    } finally {
      this.#waiting -= 1;
    }
  }

  #delay(name: string): number {
    const failures = this.#failures.get(name);
    if (!failures || this.#clock.monotonic() - failures.last > forgetAfter) return 0;
    if (failures.count < freeFailures) return 0;
    return Math.min(firstDelay * 2 ** (failures.count - freeFailures), longestDelay);
  }

  #note(name: string): void {
    const count = (this.#failures.get(name)?.count ?? 0) + 1;
    this.#failures.delete(name);
    this.#failures.set(name, { count, last: this.#clock.monotonic() });
    const oldest = this.#failures.keys().next();
    if (this.#failures.size > maxNames && !oldest.done) this.#failures.delete(oldest.value);
  }

  async #turn(): Promise<void> {
    while (this.#running >= maxAtOnce) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#running += 1;
  }
}
