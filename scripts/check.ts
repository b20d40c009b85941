/**
 * All that can be said about the project without running its service: `npm run check`. Every check runs, whatever the
 * others say; the output of those that fail stands at the end.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { performance } from 'node:perf_hooks';

interface Check {
  readonly name: string;
  /** A module that Node runs, and its arguments; each runs when the one before it has passed. */
  readonly commands: readonly (readonly string[])[];
  /** Names the checks that must have ended before. */
  readonly after?: readonly string[];
}

const root = join(import.meta.dirname, '..');
const vitest = ['node_modules/vitest/vitest.mjs', 'run'];

const checks: readonly Check[] = [
  { name: 'build', commands: [['scripts/build.ts']] },
  { name: 'types', commands: [['node_modules/typescript-native/bin/tsc', '-p', 'tsconfig.json']] },
  { name: 'lint', commands: [['node_modules/oxlint/bin/oxlint']] },
  { name: 'format', commands: [['node_modules/oxfmt/bin/oxfmt', '--check']] },
  { name: 'layers', commands: [['node_modules/dependency-cruiser/bin/dependency-cruiser.mjs', 'packages']] },
  { name: 'dead code', commands: [['node_modules/knip/bin/knip.js', '--no-progress']] },
  { name: 'rules bite', commands: [[...vitest, '--project', 'rules']] },
  { name: 'error reference', commands: [['scripts/error-reference.ts', '--check']] },
  { name: 'API description', commands: [[...vitest, '--project', 'unit', 'packages/server/test/api/description.test.ts']] },
  { name: 'package contents', commands: [['scripts/check-packages.ts']], after: ['build'] },
  { name: 'installed packages', commands: [[...vitest, '--project', 'packages']], after: ['build'] },
];

/** Checks at once: most of them keep one processor busy. */
const lanes = 2;

interface Outcome {
  readonly name: string;
  readonly passed: boolean;
  readonly output: string;
}

async function run(command: readonly string[]): Promise<{ readonly passed: boolean; readonly output: string }> {
  const child = spawn(process.execPath, command, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Whatever a check starts finds the project's own Node first.
    env: { ...process.env, PATH: `${join(root, 'node_modules/.bin')}${delimiter}${process.env.PATH ?? ''}` },
  });
  const output: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => output.push(part));
  child.stderr.on('data', (part: Buffer) => output.push(part));
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.on('error', reject).on('close', resolve);
  const code = await promise;
  return { passed: code === 0, output: Buffer.concat(output).toString('utf8') };
}

async function outcomeOf(check: Check): Promise<Outcome> {
  const begin = performance.now();
  let output = '';
  let passed = true;
  for (const command of check.commands) {
    if (!passed) break;
    const result = await run(command);
    output += result.output;
    passed = result.passed;
  }
  const seconds = ((performance.now() - begin) / 1000).toFixed(1).padStart(5);
  console.log(`${passed ? 'ok    ' : 'FAILED'} ${seconds} s  ${check.name}`);
  return { name: check.name, passed, output };
}

/** Runs the checks, `lanes` at once, each after those it waits for. */
async function runAll(chosen: readonly Check[]): Promise<Outcome[]> {
  const waiting = [...chosen];
  const ended = new Set<string>(checks.filter((check) => !chosen.includes(check)).map(({ name }) => name));
  const outcomes: Outcome[] = [];
  const running = new Set<Promise<void>>();
  while (waiting.length > 0 || running.size > 0) {
    const next = waiting.findIndex(({ after }) => (after ?? []).every((name) => ended.has(name)));
    const check = running.size < lanes && next >= 0 ? waiting.splice(next, 1)[0] : undefined;
    if (!check) {
      await Promise.race(running);
      continue;
    }
    const done = outcomeOf(check).then((outcome) => {
      outcomes.push(outcome);
      ended.add(check.name);
      running.delete(done);
    });
    running.add(done);
  }
  return outcomes;
}

const names = process.argv.slice(2);
const chosen = names.length === 0 ? checks : checks.filter(({ name }) => names.includes(name));
if (chosen.length === 0) {
  console.error(`There is no check ${names.join(', ')}. The checks are: ${checks.map(({ name }) => name).join(', ')}.`);
  process.exit(2);
}
const outcomes = await runAll(chosen);
const failed = outcomes.filter(({ passed }) => !passed);
for (const { name, output } of failed) console.log(`\n--- ${name} ---\n${output.trimEnd()}`);
const reports = process.env.TEST_REPORTS;
if (reports && existsSync(reports)) {
  const report = { numPassedTests: outcomes.length - failed.length, numFailedTests: failed.length };
  await writeFile(join(reports, 'check.json'), JSON.stringify(report));
}
console.log(`\n${outcomes.length - failed.length} of ${outcomes.length} checks passed.`);
process.exitCode = failed.length > 0 ? 1 : 0;
