import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryObject } from '@scoria/driver-memory';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runProgram } from '../src/program/run-program.ts';
import fixture, { backend } from './fixtures/memory-plugin.ts';

const plugin = join(import.meta.dirname, 'fixtures/memory-plugin.ts');
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conformance-program-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function run(...args: string[]) {
  let [out, err] = ['', ''];
  const status = await runProgram(args, {
    directory,
    out: (text) => (out += text),
    err: (text) => (err += text),
  });
  return { status, out, err };
}

test(
  'a sound driver passes, its backend is left empty, and the report is written in three forms',
  { timeout: 60_000 },
  async () => {
    const { status, out, err } = await run('--plugin', plugin, '--report', 'report');
    expect(err).toBe('');
    expect(out).toMatch(/\d+ passed, 0 failed, 0 skipped\nsha256 [0-9a-f]{64}\n$/);
    expect(status).toBe(0);
    const report: unknown = JSON.parse(await readFile(join(directory, 'report/report.json'), 'utf8'));
    expect(report).toMatchObject({ suite: 'driver', name: fixture.name, failed: 0 });
    expect(await readFile(join(directory, 'report/report.html'), 'utf8')).toContain('<!doctype html>');
    expect(await readFile(join(directory, 'report/report.txt'), 'utf8')).toContain('ok    create-zeroes');
    expect([...backend.objects.keys()]).toEqual([]);
  },
);

test('what cannot be run ends with status 2 and says why', async () => {
  await writeFile(join(directory, 'config.json'), '{"size": ');
  await writeFile(join(directory, 'extra.json'), '{"size": 1}');
  await writeFile(join(directory, 'none.mjs'), 'export default 7;');
  const withoutMain = join(directory, 'node_modules/@acme/no-main');
  await mkdir(withoutMain, { recursive: true });
  await writeFile(join(withoutMain, 'package.json'), '{ "name": "@acme/no-main", "exports": { "./other": "./index.js" } }');
  for (const [args, reason] of [
    [[], '--plugin is missing'],
    [['--plugin', plugin, '--colour'], "Unknown option '--colour'"],
    [['--plugin', plugin, '--installation', 'mine'], '--installation is not a lower-case UUID'],
    [['--plugin', plugin, '--soon', '-1'], '--soon'],
    [['--plugin', plugin, '--deadline', 'never'], '--deadline is a number of milliseconds'],
    [['--plugin', './absent.mjs'], 'absent.mjs'],
    [['--plugin', '@acme/absent'], 'Package @acme/absent is not installed'],
    [['--plugin', '@acme/no-main'], 'Package @acme/no-main has no "default" among its "exports"'],
    [['--plugin', './none.mjs'], './none.mjs does not export by default what definePlugin() returned'],
    [['--plugin', plugin, '--config', 'config.json'], 'config.json is not JSON'],
    [['--plugin', plugin, '--config', 'extra.json'], 'backends.tested.config'],
  ] as const) {
    const { status, err } = await run(...args);
    expect(err).toContain(reason);
    expect(status).toBe(2);
  }
});

test('a backend that holds something is refused, and left alone', async () => {
  const [pool] = backend.pools.values();
  if (!pool) throw new Error('the backend has no pool');
  backend.objects.set('precious', new MemoryObject({ kind: 'volume', placementId: 'precious', size: 512 }, pool));
  backend.installationId = undefined;
  try {
    const { status, err } = await run('--plugin', plugin);
    expect(err).toContain('The backend holds volume precious');
    expect(status).toBe(2);
    expect(backend.objects.has('precious')).toBe(true);
  } finally {
    backend.objects.clear();
  }
});

test('help is told on the standard output', async () => {
  const { status, out } = await run('--help');
  expect(status).toBe(0);
  expect(out).toContain('Usage: scoria-conformance --plugin NAME');
});

test('the program that the package names is built from a source that can be executed', async () => {
  const source = await readFile(new URL('../src/main.ts', import.meta.url), 'utf8');
  const manifest = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  expect(JSON.parse(manifest)).toMatchObject({ bin: { 'scoria-conformance': './dist/main.js' } });
  expect(source.split('\n')[0]).toBe('#!/usr/bin/env node');
});
