/**
 * Simulates a cluster under fresh seeds until time or seeds run out:
 * `node test/simulation/main.ts --seeds 1000`, or `--seed 4711 --seeds 1` to see one again. Exits with 1 when something
 * was found, and then tells the least that it takes. Runs what is built (`npm run build:js`).
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { drawPlan, type Plan } from './plan.ts';
import { shrink } from './shrink.ts';
import { simulate } from './simulation.ts';

const say = (line: string) => void process.stdout.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    seed: { type: 'string' },
    actions: { type: 'string', default: '60' },
  },
});
const [seeds, actions] = [Number(values.seeds), Number(values.actions)];
const first = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (![seeds, actions, first].every((each) => Number.isSafeInteger(each) && each >= 0)) {
  throw new Error('--seeds, --seed and --actions are whole numbers');
}

say(`first seed ${first}, ${seeds} seeds of ${actions} actions`);
const begin = performance.now();
let failures = 0;
for (let seed = first; seed < first + seeds; seed += 1) {
  const plan = drawPlan(seed, actions);
  const { findings } = await simulate(plan);
  if (findings.length === 0) continue;
  failures += 1;
  say(`\nseed ${seed}${plan.twins ? ' (twins)' : ''}: ${findings.join('\n  ')}`);
  const fails = async (fewer: Plan) => (await simulate(fewer)).findings.length > 0;
  const least = await shrink(plan, fails);
  say(`  ${least.actions.length} of ${actions} actions are enough:`);
  for (const { at, kind, choice } of least.actions) say(`    ${at} ms  ${kind}  (${choice})`);
  say(`  again: node test/simulation/main.ts --seed ${seed} --seeds 1 --actions ${actions}`);
}
const seconds = (performance.now() - begin) / 1000;
say(`\n${seeds} seeds in ${seconds.toFixed(1)} s, ${(seeds / seconds).toFixed(1)} a second: ${failures || 'none'} with findings`);
process.exitCode = failures > 0 ? 1 : 0;
