import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { ScoriaError } from '@scoria/core';

/** `major:minor` of a block device node, as sysfs and cgroups name it; `null` for a file. `device-gone` when there is nothing. */
export async function blockNodeNumber(path: string): Promise<string | null> {
  const found = await stat(path, { bigint: true }).catch((error: unknown) => {
    throw new ScoriaError('device-gone', `There is no ${path} to export`, { cause: error });
  });
  if (found.isFile()) return null;
  if (!found.isBlockDevice()) throw new ScoriaError('device-out-of-range', `${path} is neither a file nor a block device`);
  // glibc's encoding of dev_t, see makedev(3).
  const major = ((found.rdev >> 8n) & 0xfffn) | ((found.rdev >> 32n) & 0xfffff000n);
  const minor = (found.rdev & 0xffn) | ((found.rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** Whether the kernel refuses writes to a block device (sysfs, `ro`). It knows that without asking the device. */
export const isReadOnlyNode = (number: string): boolean => readFileSync(`/sys/dev/block/${number}/ro`, 'ascii').trim() === '1';
