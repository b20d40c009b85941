import { describe, expect, it } from 'vitest';
import type { TransactionFate } from './crash-harness.ts';
import { scenarios } from './scenarios.ts';
import { withHarness } from './scenario-sites.ts';

/** Undone and run again; without room at the first call, at a later one, at the commit. */
const fates: readonly TransactionFate[] = ['twice', 0, 2, Infinity];
// What the array does is the same whatever kind it is: here it is about the store.
const cases = scenarios.filter(({ arrays }) => arrays.includes('instant'));

describe('an operation outlives whatever its transactions meet', () => {
  it.each(cases)('$operation: $name', { timeout: 60_000 }, async (scenario) => {
    await withHarness(scenario, 'instant', async (harness) => {
      const { transactions } = await harness.record();
      expect(transactions).toBeGreaterThan(0);
      for (let index = 0; index < transactions; index += 1) {
        for (const fate of fates) {
          const reached = await harness.disturbStore(index, fate).catch((error: unknown) => {
            throw new Error(`transaction ${index}, ${fate}: ${String(error)}`, { cause: error });
          });
          expect(reached, `transaction ${index}, ${fate}`).toBe(true);
        }
      }
    });
  });
});
