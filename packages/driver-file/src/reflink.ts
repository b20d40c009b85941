import { constants } from 'node:fs';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { errnoOf } from './durable-file.ts';

/** These say that the file system cannot share blocks, not that something is wrong (ioctl_ficlone(2)). */
const unsupported: ReadonlySet<string | undefined> = new Set([
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'ENOTTY',
  'EINVAL',
  'EXDEV',
  'EBADF',
]);

const attempts = 10;

/**
 * Tries whether a file can become another one by sharing its blocks. Both paths must be free names that stand for
 * temporary files; they are gone afterwards.
 */
export async function canReflink(from: string, to: string): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      await writeFile(from, Buffer.alloc(4096, 1), { mode: 0o600 });
      await rm(to, { force: true });
      await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE);
      return true;
    } catch (error) {
      const reason = errnoOf(error);
      if (unsupported.has(reason)) return false;
      // Another process that starts on the same directory takes temporary files for leftovers of a crash.
      if (reason !== 'ENOENT' || attempt === attempts) throw error;
    } finally {
      await rm(from, { force: true });
      await rm(to, { force: true });
    }
  }
}
