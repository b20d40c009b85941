import { describe, expect, it } from 'vitest';
import { missingGuards } from './missing-guards.ts';
import { drawPlan } from './plan.ts';
import { simulate } from './simulation.ts';

/** Runs in which a missing guard must be seen. */
const runs = 40;

describe('the simulation misses', () => {
  it('nothing, as long as all guards are there', { timeout: 120_000 }, async () => {
    for (let seed = 1; seed <= runs / 2; seed += 1) {
      expect((await simulate(drawPlan(seed), { gentle: true })).findings, `seed ${seed}`).toEqual([]);
    }
  });

  it.each(missingGuards)('$guard', { timeout: 120_000 }, async ({ amongTwins, repositories, remove }) => {
    const restore = remove?.();
    try {
      let findings: readonly string[] = [];
      for (let seed = 1, left = runs; left > 0 && findings.length === 0; seed += 1) {
        const plan = drawPlan(seed);
        if (amongTwins && !plan.twins) continue;
        left -= 1;
        ({ findings } = await simulate(plan, { gentle: true, ...(repositories && { repositories }) }));
      }
      expect(findings).not.toEqual([]);
    } finally {
      restore?.();
    }
  });
});
