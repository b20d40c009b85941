import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type Options } from 'tsup';

interface Manifest {
  readonly exports: Readonly<Record<string, { readonly '@scoria/source'?: string } | string>>;
  readonly bin?: Readonly<Record<string, string>>;
}

/** How a package is built: every subpath of its `exports` that has a source, and every program, is an entry. */
export function packageOptions(directory: string): Options {
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Manifest;
  const sources = Object.values(manifest.exports).flatMap((target) =>
    typeof target === 'object' && target['@scoria/source'] ? [join(directory, target['@scoria/source'])] : [],
  );
  const programs = Object.values(manifest.bin ?? {}).map((file) =>
    join(directory, file.replace('./dist/', 'src/').replace(/\.js$/, '.ts')),
  );
  return {
    entry: [...sources, ...programs].filter((file) => existsSync(file)),
    outDir: join(directory, 'dist'),
    format: 'esm',
    platform: 'node',
    target: 'node24',
    dts: { entry: sources },
    clean: true,
    sourcemap: true,
    splitting: true,
    // Dependencies stay imports, other packages of this workspace too.
    skipNodeModulesBundle: true,
    tsconfig: join(import.meta.dirname, 'tsconfig.json'),
    // Some built-in modules exist only under their full name.
    removeNodeProtocol: false,
    silent: true,
  };
}

export default defineConfig(() => packageOptions(process.cwd()));
