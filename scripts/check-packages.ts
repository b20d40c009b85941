/** Packs every package as built and holds the tarballs to publint and attw, and to what a reader expects in one. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packAll, type Packed } from './packed.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const directory = await mkdtemp(join(tmpdir(), 'scoria-packed-'));

async function faultsOf({ name, tarball, files }: Packed): Promise<string[]> {
  const faults: string[] = [];
  for (const wanted of ['README.md', 'package.json']) if (!files.includes(wanted)) faults.push(`${name}: has no ${wanted}`);
  if (!files.some((path) => path.startsWith('dist/') && path.endsWith('.d.ts'))) faults.push(`${name}: has no type declarations`);
  for (const path of files) if (/\.test\.|(^|\/)test\//.test(path)) faults.push(`${name}: carries the test ${path}`);
  const tools: readonly (readonly string[])[] = [
    ['node_modules/publint/src/cli.js', 'run', tarball, '--strict'],
    [
      'node_modules/@arethetypeswrong/cli/dist/index.js',
      tarball,
      '--profile',
      'esm-only',
      '--no-definitely-typed',
      '--format',
      'ascii',
    ],
  ];
  for (const tool of tools) {
    await run(process.execPath, tool, { cwd: root, timeout: 120_000 }).catch((error: { stdout?: string; stderr?: string }) => {
      faults.push(`${name}: ${tool[0]}\n${error.stdout ?? ''}${error.stderr ?? ''}`);
    });
  }
  return faults;
}

try {
  const waiting = await packAll(root, directory);
  const faults: string[] = [];
  const lane = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) faults.push(...(await faultsOf(next)));
  };
  await Promise.all([lane(), lane()]);
  for (const fault of faults) console.error(fault);
  process.exitCode = faults.length > 0 ? 1 : 0;
} finally {
  await rm(directory, { recursive: true });
}
