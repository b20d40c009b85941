/** Builds what runs, without type declarations: quick enough to go before every start. */
import { globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from 'tsup';
import { packageOptions } from '../tsup.config.ts';

const root = join(import.meta.dirname, '..');
const packages = globSync('packages/*/package.json', { cwd: root }).map((file) => join(root, dirname(file)));
await Promise.all(packages.map((directory) => build({ ...packageOptions(directory), config: false, dts: false })));
