/**
 * Builds the packages, in no particular order: each finds the others' sources. `--no-types` leaves out the type
 * declarations, which is quick enough to go before every start; further arguments name single packages.
 */
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'tsup';
import { packageOptions } from '../tsup.config.ts';

const { values, positionals } = parseArgs({ options: { 'no-types': { type: 'boolean' } }, allowPositionals: true });
const root = join(import.meta.dirname, '..');
const all = globSync('packages/*/package.json', { cwd: root }).map((file) => join(root, dirname(file)));
const waiting = all
  .filter((directory) => positionals.length === 0 || positionals.includes(basename(directory)))
  // The largest first, so that none is left alone at the end.
  .toSorted((one, other) => Number(other.endsWith('/core')) - Number(one.endsWith('/core')));

async function lane(): Promise<void> {
  for (let directory = waiting.shift(); directory !== undefined; directory = waiting.shift()) {
    const options = packageOptions(directory);
    // Declarations of an earlier build are left where they are.
    await build({ ...options, config: false, ...(values['no-types'] && { dts: false, clean: ['!**/*.d.ts'] }) });
  }
}
// Declarations are made in threads that each hold a whole compiler.
const lanes = values['no-types'] ? waiting.length : Math.max(2, Math.floor(availableParallelism() / 2));
await Promise.all(Array.from({ length: lanes }, lane));
