import { constants, type Stats } from 'node:fs';
import { copyFile, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { deviceError, ScoriaError } from '@scoria/core';

/** The `code` of an error of the operating system. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Makes the error of a verb of what the file system threw. Errors of ours pass. */
export function fileError(action: string, path: string, error: unknown): ScoriaError {
  if (error instanceof ScoriaError) return error;
  const reason = errnoOf(error);
  const message = `Cannot ${action} ${path}: ${reason ?? String(error)}`;
  const known = deviceError(path, action, error).code;
  if (known === 'device-no-space') return new ScoriaError(known, message, { cause: error });
  if (known === 'device-not-permitted') {
    const remedy = 'Give the service read and write access to the directory of the backend.';
    return new ScoriaError('backend-unavailable', message, { cause: error, remedy });
  }
  return new ScoriaError(known === 'device-gone' ? 'backend-unavailable' : 'backend-failed', message, { cause: error });
}

/** What stat(2) tells, or `undefined` when there is nothing. */
export async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Puts the entries of a directory on stable storage. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Makes a file appear under its name at once and complete, on stable storage: under a temporary name first, then renamed
 * over whatever has the name. `temporary` must be in the same directory; it is removed when `fill` fails.
 */
export async function writeDurably(path: string, temporary: string, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  await rm(temporary, { force: true });
  await finishDurably(path, temporary, constants.O_CREAT | constants.O_EXCL, fill);
}

/** Like {@link writeDurably} for a copy of `source` that shares its blocks; fails where the file system cannot share. */
export async function reflinkDurably(
  source: string,
  path: string,
  temporary: string,
  fill: (file: FileHandle) => Promise<void>,
): Promise<void> {
  await rm(temporary, { force: true });
  await copyFile(source, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
  await finishDurably(path, temporary, 0, fill);
}

async function finishDurably(
  path: string,
  temporary: string,
  flags: number,
  fill: (file: FileHandle) => Promise<void>,
): Promise<void> {
  try {
    const file = await open(temporary, constants.O_RDWR | constants.O_NOFOLLOW | flags, 0o600);
    try {
      await fill(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}
