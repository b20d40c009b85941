import { createHash } from 'node:crypto';
import { lstat, mkdir } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { ScoriaError } from '@scoria/core/device';

/** Longest path of a UNIX socket that is safe everywhere, bytes; the kernel's limit is 107. */
const maxSocketPath = 100;

/**
 * Where the control socket of a transport is. Always the same for a base directory and a name, so that a control plane
 * that starts again finds the target process of its predecessor.
 */
export function controlSocketPath(baseDirectory: string, name: string): string {
  const file = `iscsi-${name.replaceAll(/[^A-Za-z0-9._-]/g, '_')}.sock`;
  const path = join(baseDirectory, 'run', file);
  if (Buffer.byteLength(path) <= maxSocketPath) return path;
  const hash = createHash('sha256').update(`${baseDirectory}\0${name}`).digest('hex').slice(0, 20);
  return join(tmpdir(), `scoria-${hash}`, 'iscsi.sock');
}

/** Makes the directory of a control socket, and sees to it that nobody else can reach into it. */
export async function prepareSocketDirectory(socketPath: string): Promise<void> {
  const directory = dirname(socketPath);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const found = await lstat(directory);
  if (!found.isDirectory() || found.uid !== userInfo().uid || (found.mode & 0o077) !== 0) {
    throw new ScoriaError('invalid-configuration', `${directory} must be a directory of mode 0700 of the user that runs Scoria`, {
      remedy: `Remove ${directory}, or give it to the user that runs Scoria with mode 0700.`,
    });
  }
}
