import { describe, expect, it } from 'vitest';
import type { ArrayKind } from './arrays.ts';
import { type VerbFault, verbFaults } from './crash-harness.ts';
import { scenarios } from './scenarios.ts';
import { withHarness } from './scenario-sites.ts';

const cases = scenarios.flatMap((scenario) => scenario.arrays.map((array) => ({ scenario, array })));

/** Whether core can be asked to come through this. */
function isBearable(fault: VerbFault, verb: string, array: ArrayKind): boolean {
  // What each verb of a real file does is the driver's conformance; here it is about core, and files are slow.
  if (array === 'file') return fault === 'loses its reply';
  // A process that was stopped for longer than its lease and then writes to a device: only the storage could refuse it.
  return fault !== 'is late' || !verb.startsWith('device.');
}

describe('an operation outlives whatever its verbs do', () => {
  it.each(cases)('$scenario.operation: $scenario.name, on array $array', { timeout: 60_000 }, async ({ scenario, array }) => {
    await withHarness(scenario, array, async (harness) => {
      const { verbs } = await harness.record();
      expect(verbs.length).toBeGreaterThan(0);
      for (const [index, verb] of verbs.entries()) {
        for (const fault of verbFaults.filter((each) => isBearable(each, verb, array))) {
          const disturbed = await harness.disturb(index, fault).catch((error: unknown) => {
            throw new Error(`verb ${index}, ${verb}, ${fault}: ${String(error)}`, { cause: error });
          });
          expect(disturbed).toBe(verb);
        }
      }
    });
  });
});
