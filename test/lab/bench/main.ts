/**
 * What LVM and the kernel's target cost through Scoria, beside bare commands and writes of the same run. It runs in a
 * guest: `bench.sh` starts it. With `--quick` the figures mean little; with `--only 1,3` only those parts are run.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { asMarkdown, asText, type Section } from '../../bench/report.ts';
import { measureAttach, measureRestart } from './kernel-exports.ts';
import { measureVolumes } from './logical-volumes.ts';
import { measureReports } from './reports.ts';

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, write: { type: 'string' }, only: { type: 'string' } },
});
const { quick, only } = values;
const rounds = quick ? 2 : 9;

const parts: Readonly<Record<string, () => Promise<Section>>> = {
  1: () => measureVolumes('thin', rounds),
  2: () => measureVolumes('thick', rounds),
  3: () => measureAttach(quick ? 3 : 25),
  4: () => measureRestart(quick ? 50 : 1_000),
  5: () => measureReports(quick ? [10, 100] : [10, 100, 1_000], rounds),
};

const where = `Host: ${process.env['LAB_HOST'] ?? 'unknown'}. In a guest of User-mode Linux: its one processor starts programs several times slower than the host, so only the ratios carry over.`;
console.log(`${where}${quick ? '\nA quick run: the figures mean little.' : ''}\n`);
const sections: Section[] = [];
for (const [number, part] of Object.entries(parts)) {
  if (only !== undefined && !only.split(',').includes(number)) continue;
  const section = await part();
  sections.push(section);
  console.log(asText(section));
}
if (values.write !== undefined) {
  const page = `# Benchmarks of LVM and the kernel's target

Written by \`npm run bench:lab -- --write docs/benchmarks-lab.md\`. Times are medians. What is beside bare commands was
measured in turns with them, and the ratio is the median of those of the turns.

${where}

${sections.map(asMarkdown).join('\n')}`;
  await writeFile(values.write, page);
}
