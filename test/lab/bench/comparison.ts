import { readFile } from 'node:fs/promises';
import { quantile, spreadOf, type Spread } from '../../bench/statistics.ts';
import { range, short } from '../../bench/report.ts';

/** What one thing cost. */
export interface Cost {
  readonly milliseconds: number;
  /** How far a counter went meanwhile: programs that were run, for example. */
  readonly count: number;
}

/** Measures a piece of work by the clock and by a counter. */
export async function costOf(counter: () => number | Promise<number>, work: () => Promise<unknown>): Promise<Cost> {
  const before = await counter();
  const start = performance.now();
  await work();
  const milliseconds = performance.now() - start;
  return { milliseconds, count: (await counter()) - before };
}

/** Processes and threads that were ever started in the guest, the kernel's own too (proc(5), /proc/stat, "processes"). */
export async function forks(): Promise<number> {
  const [, count] = /^processes (\d+)$/m.exec(await readFile('/proc/stat', 'utf8')) ?? [];
  return Number(count);
}

/** Something done through Scoria, and the same done with the bare commands or writes. */
export interface Pair {
  readonly what: string;
  readonly ours: readonly Cost[];
  readonly bare: readonly Cost[];
}

/** Columns of {@link comparison}; `counted` names what the counter counts. */
export function comparisonHeader(counted: string): string[] {
  return ['what', 'ms', 'bare ms', 'ratio', 'lowest to highest', 'aim', 'met', counted, `bare ${counted}`];
}

/** A row for a pair whose halves were measured in turns: the ratio is the median of those of the turns. */
export function comparison({ what, ours, bare }: Pair, aim: number): string[] {
  const ratio: Spread = spreadOf(ours.map(({ milliseconds }, index) => milliseconds / (bare[index]?.milliseconds ?? Number.NaN)));
  const middle = (costs: readonly Cost[], of: keyof Cost) =>
    quantile(
      costs.map((cost) => cost[of]),
      0.5,
    );
  return [
    what,
    short(middle(ours, 'milliseconds')),
    short(middle(bare, 'milliseconds')),
    short(ratio.median),
    range(ratio),
    `at most ${aim}`,
    ratio.median <= aim ? 'yes' : 'NO',
    String(middle(ours, 'count')),
    String(middle(bare, 'count')),
  ];
}
