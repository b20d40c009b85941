const second = 1000;
/** Weight of the newest rate against the older ones. */
const weight = 0.3;

/** How fast something fills, seen from reports of how much of it is in use. */
export class FillForecast {
  #last: { readonly at: number; readonly used: number } | undefined;
  #rate: number | undefined;

  /**
   * Takes a report.
   *
   * @param at - milliseconds on a clock that never goes back.
   * @param used - bytes in use.
   */
  observe(at: number, used: number): void {
    const last = this.#last;
    if (last && at <= last.at) return;
    this.#last = { at, used };
    if (!last) return;
    const rate = ((used - last.used) / (at - last.at)) * second;
    this.#rate = this.#rate === undefined ? rate : this.#rate * (1 - weight) + rate * weight;
  }

  /** Bytes a second, smoothed; `undefined` before the second report. */
  get rate(): number | undefined {
    return this.#rate;
  }

  /** Seconds until `size` bytes are in use when it goes on like this; `undefined` when it does not fill. */
  secondsToFull(size: number): number | undefined {
    if (this.#last === undefined || this.#rate === undefined || this.#rate <= 0) return undefined;
    return Math.max(0, Math.round((size - this.#last.used) / this.#rate));
  }
}
