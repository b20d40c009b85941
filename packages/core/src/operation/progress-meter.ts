import type { Clock } from '../platform/clock.ts';
import type { Progress } from './operation.ts';

/** Turns the bytes that a step reports into progress with rate and remaining time. */
export class ProgressMeter {
  readonly #clock: Clock;
  readonly #step: string;
  readonly #begin: number;
  #done = 0;
  #total = 0;
  #changed = false;

  constructor(clock: Clock, step: string) {
    this.#clock = clock;
    this.#step = step;
    this.#begin = clock.monotonic();
  }

  /** Bytes done and bytes in all. */
  report(done: number, total: number): void {
    this.#done = done;
    this.#total = total;
    this.#changed = true;
  }

  /** The present figures when they changed since the last call. */
  take(): Progress | null {
    if (!this.#changed) return null;
    this.#changed = false;
    const elapsed = this.#clock.monotonic() - this.#begin;
    const rate = elapsed > 0 ? Math.round((this.#done * 1000) / elapsed) : 0;
    return {
      step: this.#step,
      done: this.#done,
      total: this.#total,
      rate,
      remaining: rate > 0 && this.#total > 0 ? Math.round(((this.#total - this.#done) * 1000) / rate) : null,
    };
  }
}
