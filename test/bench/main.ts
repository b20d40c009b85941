/**
 * What Scoria costs, measured in one run: `npm run bench`. With `-- --quick` a smoke run whose figures mean little, with
 * `-- --write FILE` the tables go to a page of documentation too, with `-- --only 1,5` only those parts are run. The
 * built packages are measured, so `npm run bench` builds them first.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { asMarkdown, asText, machine, type Section } from './report.ts';
import { measureMemory, measureStart } from './service-footprint.ts';
import { measureTargets } from './target-comparison.ts';
import { measureCreation } from './volume-creation.ts';
import { measureLists } from './volume-lists.ts';

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, write: { type: 'string' }, only: { type: 'string' } },
});
const { quick, only } = values;

const creation = quick ? { rounds: 2, single: 50, many: 200 } : { rounds: 5, single: 200, many: 1_000 };
const beside = quick ? creation : { rounds: 3, single: 200, many: 500 };
const lists = quick ? { rounds: 2, pages: 20, few: 200, many: 2_000 } : { rounds: 5, pages: 100, few: 1_000, many: 100_000 };
const targets = quick ? { rounds: 1, seconds: 1, requests: 4_000 } : { rounds: 5, seconds: 1, requests: 16_000 };

const parts: Readonly<Record<string, (directory: string) => Promise<Section | readonly Section[]>>> = {
  1: (directory) => measureCreation(directory, creation),
  2: (directory) => measureLists(directory, { ...lists, creation: beside }),
  3: (directory) => measureMemory(directory, quick ? 1 : 3),
  4: (directory) => measureStart(directory, quick ? 2 : 5),
  5: (directory) => measureTargets(directory, targets),
};

function loadOfMachine(): string {
  return (loadavg()[0] ?? 0).toFixed(1);
}

const directory = await mkdtemp(join(tmpdir(), 'scoria-bench-'));
const begun = performance.now();
const loadBefore = loadOfMachine();
const sections: Section[] = [];
console.log(`${machine()}${quick ? '\nA quick run: the figures mean little.' : ''}\n`);
try {
  for (const [number, part] of Object.entries(parts)) {
    if (only !== undefined && !only.split(',').includes(number)) continue;
    for (const section of [await part(directory)].flat()) {
      sections.push(section);
      console.log(asText(section));
    }
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
const load = `Load average of the last minute: ${loadBefore} when it began (what else ran), ${loadOfMachine()} when it ended.`;
console.log(`Took ${Math.round((performance.now() - begun) / 1000)} s. ${load}`);
if (values.write !== undefined) {
  const page = `# Benchmarks

Written by \`npm run bench -- --write docs/benchmarks.md\`. Figures are medians of rounds, with the lowest and the highest
round beside them; other work on the machine shows in that range.

Machine: ${machine()}. ${load}

${sections.map(asMarkdown).join('\n')}`;
  await writeFile(values.write, page);
}
