import { readFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

// Run from a package's folder. Every subpath of its `exports` that has a source is an entry.
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, { '@scoria/source'?: string } | string>;
  bin?: Record<string, string>;
};
const sources = Object.values(manifest.exports).flatMap((target) =>
  typeof target === 'object' && target['@scoria/source'] ? [target['@scoria/source']] : [],
);
const programs = Object.values(manifest.bin ?? {}).map((file) => file.replace('./dist/', 'src/').replace(/\.js$/, '.ts'));

export default defineConfig({
  entry: [...sources, ...programs],
  format: 'esm',
  platform: 'node',
  target: 'node24',
  dts: { entry: sources },
  clean: true,
  sourcemap: true,
  splitting: true,
  tsconfig: '../../tsconfig.json',
});
