import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A package as npm would publish it. */
export interface Packed {
  readonly name: string;
  /** Absolute path of the tarball. */
  readonly tarball: string;
  /** Paths inside the package. */
  readonly files: readonly string[];
}

interface PackReport {
  readonly name: string;
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** Packs every package of the workspace, as it is built now, into a directory. */
export async function packAll(root: string, directory: string): Promise<Packed[]> {
  const { stdout } = await promisify(execFile)(
    'npm',
    ['pack', '--workspaces', '--json', '--ignore-scripts', '--pack-destination', directory],
    { cwd: root, maxBuffer: 16_777_216, timeout: 60_000 },
  );
  const parsed = JSON.parse(stdout) as readonly PackReport[] | Readonly<Record<string, PackReport>>;
  return Object.values(parsed).map(({ name, filename, files }) => ({
    name,
    // Scoped names are reported with their slash by some versions of npm, while the file has a hyphen.
    tarball: join(directory, filename.replace('@', '').replace('/', '-')),
    files: files.map(({ path }) => path),
  }));
}
