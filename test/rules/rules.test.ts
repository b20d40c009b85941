import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');

/** A small copy of the house in which every rule is broken once, each time in a file of its own. */
const offences: Readonly<Record<string, { readonly breaks: string; readonly text: string }>> = {
  'packages/core/src/volume/one.ts': {
    breaks: 'no-cycles',
    text: "import { two } from './two.ts';\nexport const one = () => two;\n",
  },
  'packages/core/src/volume/knows-a-driver.ts': {
    breaks: 'core-knows-no-other-package',
    text: "import '../../../driver-file/src/index.ts';\n",
  },
  'packages/core/src/volume/speaks-http.ts': { breaks: 'core-knows-no-http-and-no-sql', text: "import 'fastify';\n" },
  'packages/core/src/volume/speaks-sql.ts': { breaks: 'core-knows-no-http-and-no-sql', text: "import 'node:sqlite';\n" },
  'packages/core/src/volume/has-a-container.ts': { breaks: 'container-only-in-core-plugin', text: "import 'tsyringe';\n" },
  'packages/driver-file/src/knows-a-driver.ts': {
    breaks: 'plug-ins-know-only-core',
    text: "import '../../store-sql/src/index.ts';\n",
  },
  'packages/store-sql/src/serves.ts': { breaks: 'http-stays-in-the-server', text: "import 'fastify';\n" },
  'packages/conformance/src/knows-a-driver.ts': {
    breaks: 'conformance-knows-only-core',
    text: "import '../../driver-file/src/index.ts';\n",
  },
  'packages/core/src/volume/knows-a-test.ts': { breaks: 'sources-know-no-tests', text: "import './some.test.ts';\n" },
};

const harmless: Readonly<Record<string, string>> = {
  'packages/core/src/index.ts': 'export {};\n',
  // A circle is told once, at the file where it was met first.
  'packages/core/src/volume/two.ts': "import { one } from './one.ts';\nexport const two = () => one;\n",
  'packages/core/src/plugin/assembly.ts': "import 'tsyringe';\n",
  'packages/core/src/volume/some.test.ts': 'export {};\n',
  'packages/driver-file/src/index.ts': "import '../../core/src/index.ts';\nimport './driver.ts';\n",
  'packages/driver-file/src/driver.ts': 'export {};\n',
  'packages/store-sql/src/index.ts': 'export {};\n',
  'packages/server/src/index.ts': "import 'fastify';\nimport '../../driver-file/src/index.ts';\n",
  'node_modules/fastify/index.js': '',
  'node_modules/fastify/package.json': '{ "name": "fastify", "main": "index.js" }',
  'node_modules/tsyringe/index.js': '',
  'node_modules/tsyringe/package.json': '{ "name": "tsyringe", "main": "index.js" }',
};

/** Ways to reach the machine's own time and chance, none of which a package other than the server may take. */
const indeterminate: readonly string[] = [
  'export const value = Date.now();',
  'export const value = new Date();',
  'export const value = performance.now();',
  'export const value = setTimeout(() => undefined, 1);',
  'export const value = setInterval(() => undefined, 1);',
  'export const value = setImmediate(() => undefined);',
  'export const value = Math.random();',
  'export const value = crypto.randomUUID();',
  'export const value = AbortSignal.timeout(1);',
  'export const value = process.hrtime();',
  "export { randomUUID } from 'node:crypto';",
  "import { randomUUID } from 'node:crypto';\nexport const value = randomUUID();",
  "import { randomBytes } from 'node:crypto';\nexport const value = randomBytes(1);",
  "import { setTimeout as pause } from 'node:timers/promises';\nexport const value = pause(1);",
  "import { spawn } from 'node:child_process';\nexport const value = spawn('true');",
];

let house: string;

beforeAll(async () => {
  house = await mkdtemp(join(tmpdir(), 'scoria-rules-'));
  const files = { ...harmless, ...Object.fromEntries(Object.entries(offences).map(([path, { text }]) => [path, text])) };
  for (const [path, text] of Object.entries(files)) await put(path, text);
  for (const name of ['.dependency-cruiser.cjs', '.oxlintrc.json', 'tsconfig.json'])
    await cp(join(root, name), join(house, name));
});
afterAll(() => rm(house, { recursive: true }));

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(house, path)), { recursive: true });
  await writeFile(join(house, path), text);
}

/** Runs a tool of the house in the copy; such tools exit with a failure when they find something. */
function tool(module: string, ...args: string[]): Promise<string> {
  return new Promise((resolve) => {
    const options = { cwd: house, maxBuffer: 16_777_216, timeout: 50_000 };
    execFile(process.execPath, [join(root, 'node_modules', module), ...args], options, (_error, stdout) => resolve(stdout));
  });
}

interface Violation {
  readonly from: string;
  readonly rule: { readonly name: string };
}

test('every rule about layers finds what breaks it, and nothing else', async () => {
  const cruised = await tool('dependency-cruiser/bin/dependency-cruiser.mjs', 'packages', '--output-type', 'json');
  const { summary } = JSON.parse(cruised) as { readonly summary: { readonly violations: readonly Violation[] } };
  const found = summary.violations.map(({ from, rule }) => `${from} ${rule.name}`);
  const expected = Object.entries(offences).map(([path, { breaks }]) => `${path} ${breaks}`);
  // A server framework in a store breaks two rules at once, in core as well.
  expect(found).toEqual(expect.arrayContaining(expected));
  expect(found.filter((each) => (each.split(' ')[0] ?? '') in harmless)).toEqual([]);
  const { forbidden } = (await import(join(house, '.dependency-cruiser.cjs'))).default as {
    forbidden: readonly { name: string }[];
  };
  expect(new Set(Object.values(offences).map(({ breaks }) => breaks))).toEqual(new Set(forbidden.map(({ name }) => name)));
});

test.each(['core', 'driver-file', 'driver-iscsi', 'store-sql', 'scheduler-weighers'])(
  "a package's own clock, timer or chance is found in %s",
  async (name) => {
    const files = indeterminate.map((text, index) => ({ path: `packages/${name}/src/chance-${index}.ts`, text }));
    for (const { path, text } of files) await put(path, `${text}\n`);
    const linted = await tool('oxlint/bin/oxlint', '--format=json', `packages/${name}/src`);
    const { diagnostics } = JSON.parse(linted) as { readonly diagnostics: readonly { filename: string; code: string }[] };
    const missed = files.filter(
      ({ path }) => !diagnostics.some((each) => each.filename === path && each.code.includes('no-restricted-')),
    );
    expect(missed.map(({ text }) => text)).toEqual([]);
  },
);

test('the server, the clock itself and tests may look at the machine', async () => {
  const free = ['packages/server/src/serve.ts', 'packages/core/src/platform/clock.ts', 'packages/core/src/volume/some.test.ts'];
  for (const path of free) await put(path, 'export const value = Date.now();\n');
  const linted = await tool('oxlint/bin/oxlint', '--format=json', ...free);
  const { diagnostics } = JSON.parse(linted) as { readonly diagnostics: readonly { code: string }[] };
  expect(diagnostics.filter(({ code }) => code.includes('no-restricted-'))).toEqual([]);
});
