import { describe, expect, it } from 'vitest';
import { missingGuards } from './missing-guards.ts';
import { drawPlan, type Plan } from './plan.ts';
import { shrink } from './shrink.ts';
import { simulate } from './simulation.ts';

/** Seeds that every run of the tests goes through; `npm run simulate` draws fresh ones. */
const seeds = 40;
const longest = 120_000;

describe('a simulated cluster', () => {
  it('keeps its promises under every seed', { timeout: longest }, async () => {
    for (let seed = 1; seed <= seeds; seed += 1) {
      const { findings } = await simulate(drawPlan(seed));
      expect(findings, `seed ${seed}`).toEqual([]);
    }
  });

  it('does the same again under the same seed', { timeout: longest }, async () => {
    const [first, second] = [await simulate(drawPlan(7)), await simulate(drawPlan(7))];
    expect(second).toEqual(first);
    expect((await simulate(drawPlan(8))).trace).not.toBe(first.trace);
  });

  it('shrinks what fails to what it takes to fail', { timeout: longest }, async () => {
    const restore = missingGuards.find(({ guard }) => guard === 'the fence of a detach')?.remove?.();
    try {
      const fails = async (plan: Plan) => (await simulate(plan)).findings.length > 0;
      const plan = await firstFailing(fails);
      const { actions } = await shrink(plan, fails);
      expect(await fails({ ...plan, actions })).toBe(true);
      expect(actions.length).toBeLessThanOrEqual(6);
      expect(actions.map(({ kind }) => kind)).toContain('attach');
    } finally {
      restore?.();
    }
  });
});

async function firstFailing(fails: (plan: Plan) => Promise<boolean>): Promise<Plan> {
  for (let seed = 1; seed <= seeds; seed += 1) {
    const plan = drawPlan(seed);
    if (await fails(plan)) return plan;
  }
  throw new Error(`None of ${seeds} seeds fails`);
}
