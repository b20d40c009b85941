import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ScoriaError } from '@scoria/core/device';

/** Longest file that is looked at, bytes. */
const maxFileLength = 4096;

/**
 * Reads the secret by which the target proves itself: one line of 12 to 255 printable ASCII characters. RFC 7143, 9.2.1
 * asks for 96 bits or more. Rejects with `invalid-configuration`, also for a file that others may read.
 *
 * @param path - taken from `baseDirectory` when it is relative.
 */
export async function readMutualChapSecret(baseDirectory: string, path: string): Promise<string> {
  const file = resolve(baseDirectory, path);
  const fault = (what: string, cause?: unknown): ScoriaError =>
    new ScoriaError('invalid-configuration', `The secret file ${file} of mutualChap ${what}`, {
      remedy: `Write one line of 12 to 255 printable characters to ${file}, and give it the mode 0600.`,
      cause,
    });
  const handle = await open(file).catch((error: unknown) => {
    throw fault(`cannot be read: ${ScoriaError.from(error).message}`, error);
  });
  try {
    const { mode, size } = await handle.stat();
    if ((mode & 0o077) !== 0) throw fault('may be read by others than its owner');
    if (size > maxFileLength) throw fault('holds more than a secret');
    const secret = (await handle.readFile('utf8')).replace(/\r?\n$/, '');
    if (!/^[\x20-\x7e]{12,255}$/.test(secret)) throw fault('does not hold one line of 12 to 255 printable characters');
    return secret;
  } finally {
    await handle.close();
  }
}
