import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseConfiguration } from '../src/configuration.ts';
import { loadPlugins } from '../src/plugin-loading.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'scoria-plugins-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** What stands in the place of a plug-in whose module has this text. */
async function loaded(text: string, patience?: number): Promise<unknown> {
  writeFileSync(join(directory, 'acme.mjs'), text);
  const source = parseConfiguration('backends: { one: { plugin: ./acme.mjs } }', 'scoria.yaml', directory);
  return (await loadPlugins(source, patience)).backends['one']?.plugin;
}

it('gives what a module exports by default', async () => {
  expect(await loaded('export default 7;')).toBe(7);
});

it.each<[string, string, string]>([
  ['throws', `throw new Error('libacme.so is not installed');`, 'libacme.so is not installed'],
  ['throws a string', `throw 'libacme is gone';`, 'libacme is gone'],
  ['imports what is not there', `import 'no-such-package';`, 'no-such-package'],
])('names a module that %s, and the reason', async (_how, text, reason) => {
  const fault = await loaded(text);
  expect(fault).toBeInstanceOf(Error);
  expect(String(fault)).toContain('./acme.mjs cannot be loaded: ');
  expect(String(fault)).toContain(reason);
});

it('does not wait for ever for a module that does not end loading', async () => {
  expect(String(await loaded('await new Promise(() => {});', 10))).toContain(
    './acme.mjs cannot be loaded: it was still loading after 10 ms',
  );
});
