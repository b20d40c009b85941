import { operationRegistry } from '@scoria/core';
import { describe, expect, it } from 'vitest';
import { scenarios } from './scenarios.ts';
import { withHarness } from './scenario-sites.ts';

/** Steps whose process has died, as the journal names them. */
const crashed = new Set<string>();
const cases = scenarios.flatMap((scenario) => scenario.arrays.map((array) => ({ scenario, array })));

describe('an operation outlives its process, wherever that dies', () => {
  it.each(cases)('$scenario.operation: $scenario.name, on array $array', { timeout: 60_000 }, async ({ scenario, array }) => {
    await withHarness(scenario, array, async (harness) => {
      const { points } = await harness.record();
      expect(points.length).toBeGreaterThan(0);
      for (const [index, point] of points.entries()) {
        const where = `killed ${point.moment} ${point.what} (point ${index})`;
        const died = await harness.crashAt(index).catch((error: unknown) => {
          throw new Error(`${where}: ${String(error)}`, { cause: error });
        });
        expect(died, where).toEqual(point);
        for (const step of point.steps) crashed.add(`${point.moment} ${step}`);
      }
    });
  });

  it('and every step of every operation has been crashed', () => {
    const missing = [...operationRegistry.values()].flatMap(({ name, steps }) =>
      steps.flatMap((step) => {
        const moments = step.kind === 'effect' ? ['start', 'done'] : ['done'];
        if (step.undo) moments.push(...(step.kind === 'effect' ? ['undo', 'undone'] : ['undone']));
        return moments.flatMap((event) =>
          ['before', 'after'].map((moment) => `${moment} ${name}/${step.name} ${event}`).filter((each) => !crashed.has(each)),
        );
      }),
    );
    expect(missing).toEqual([]);
  });
});
