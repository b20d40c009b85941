import { operationRegistry } from '@scoria/core';
import { describe, expect, it } from 'vitest';
import { scenarios } from './scenarios.ts';
import { withHarness } from './scenario-sites.ts';

const cases = scenarios.filter(({ operation }) => operationRegistry.get(operation)?.cancellable);

describe('an operation that is cancelled, whenever that comes, is done or leaves nothing', () => {
  it.each(cases)('$operation: $name', { timeout: 60_000 }, async (scenario) => {
    await withHarness(scenario, scenario.arrays[0] ?? 'instant', async (harness) => {
      const { verbs } = await harness.record();
      const ends = new Set<string | undefined>();
      for (const [index, verb] of verbs.entries()) {
        for (const moment of ['during', 'after'] as const) {
          const end = await harness.cancelAt(index, moment).catch((error: unknown) => {
            throw new Error(`cancelled ${moment} verb ${index}, ${verb}: ${String(error)}`, { cause: error });
          });
          ends.add(end);
        }
      }
      expect(ends).toContain('cancelled');
    });
  });
});
