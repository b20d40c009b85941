import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds between two looks. */
const pause = 20;

/**
 * Calls `look` until it gives something, and returns that. Fails after `ms` milliseconds with the name of what was waited
 * for and the last error of `look`, if it threw.
 */
export async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined, ms = 20_000): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    let last: unknown;
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) throw new Error(`After ${ms} ms still not: ${what}`, { cause: last });
    await sleep(pause);
  }
}
