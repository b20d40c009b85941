import { it } from 'vitest';
import { drawPlan } from './plan.ts';
import { simulate } from './simulation.ts';
it('sim', { timeout: 600000 }, async () => {
  const from = Number(process.env.SEED ?? 1), n = Number(process.env.N ?? 10);
  const t0 = performance.now();
  for (let seed = from; seed < from + n; seed++) {
    const t = performance.now();
    const v = await simulate(drawPlan(seed));
    console.log(seed, (performance.now() - t).toFixed(0), v.trace, v.findings.slice(0, 4).join(' | '));
  }
  console.log('total', performance.now() - t0, process.cpuUsage());
});
