import type { Clock } from '../platform/clock.ts';

/** Largest transfer that is made on the calling thread, bytes. */
const inlineLimit = 1024 * 1024;
/** A transfer between memory and the kernel's cache is over within this and {@link allowedPerByte}, ms. */
const allowed = 0.15;
const allowedPerByte = 1 / (1024 * 1024);
/** Transfers that go through the pool after a slow one, and after many in a row. */
const shortestDetour = 64;
const longestDetour = 4096;

/**
 * Chooses how file I/O is done. On the calling thread it is several times cheaper where the data are cached, but a slow
 * disk then holds up everything else; so a transfer that was slow sends the next ones through libuv's pool, more of them
 * each time in a row.
 */
export class InlineIo {
  readonly #clock: Clock;
  #detour = 0;
  #nextDetour = shortestDetour;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a transfer is to be made on the calling thread. */
  takes(bytes: number): boolean {
    if (bytes > inlineLimit) return false;
    if (this.#detour === 0) return true;
    this.#detour--;
    return false;
  }

  /** When a transfer begins, for {@link ended}. */
  begin(): number {
    return this.#clock.monotonic();
  }

  /** Notes how long a transfer took. */
  ended(begun: number, bytes: number): void {
    if (this.#clock.monotonic() - begun <= allowed + bytes * allowedPerByte) {
      this.#nextDetour = shortestDetour;
      return;
    }
    this.#detour = this.#nextDetour;
    this.#nextDetour = Math.min(2 * this.#nextDetour, longestDetour);
  }
}
