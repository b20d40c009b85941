/** Bytes of data that the commands of all sessions together may have under way. */
export class DataBudget {
  readonly #limit: number;
  #used = 0;
  readonly #waiting = new Set<() => void>();

  /** @param limit - bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether `bytes` more fit. */
  fits(bytes: number): boolean {
    return this.#used + bytes <= this.#limit;
  }

  /** Counts bytes, even beyond the limit: a session with nothing under way may always go on. */
  take(bytes: number): void {
    this.#used += bytes;
  }

  /** Gives bytes back, and lets those who wait look again. */
  give(bytes: number): void {
    this.#used -= bytes;
    if (this.#waiting.size === 0) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const look of waiting) look();
  }

  /** Calls `look` once when something was given back. */
  wait(look: () => void): void {
    this.#waiting.add(look);
  }

  /** Takes a {@link wait} back. */
  forget(look: () => void): void {
    this.#waiting.delete(look);
  }
}
