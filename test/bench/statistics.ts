/** The middle of several rounds, and how far they lay apart. */
export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** The value below which a share `q` (0 to 1) of the values lies: nearest rank. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

/** Median, lowest and highest. */
export function spreadOf(values: readonly number[]): Spread {
  return { median: quantile(values, 0.5), low: Math.min(...values), high: Math.max(...values) };
}

/** Median and 99th percentile of each round, spread over the rounds. */
export function latencyOf(rounds: readonly (readonly number[])[]): { readonly p50: Spread; readonly p99: Spread } {
  return {
    p50: spreadOf(rounds.map((round) => quantile(round, 0.5))),
    p99: spreadOf(rounds.map((round) => quantile(round, 0.99))),
  };
}

/** Runs `work` `count` times, one after the other, and returns how long each took, in milliseconds. */
export async function timed(count: number, work: (index: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const start = performance.now();
    await work(index);
    times.push(performance.now() - start);
  }
  return times;
}

/** Runs `work` `count` times with `parallel` under way at once, and returns how many were done in a second. */
export async function rateOf(count: number, parallel: number, work: () => Promise<unknown>): Promise<number> {
  let left = count;
  const start = performance.now();
  const lane = async () => {
    while (left-- > 0) await work();
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  return count / ((performance.now() - start) / 1000);
}

/** Runs `round` `count` times, one after the other. */
export async function rounds<T>(count: number, round: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let index = 0; index < count; index++) results.push(await round(index));
  return results;
}
