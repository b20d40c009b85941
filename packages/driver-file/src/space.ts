import { open, statfs, type FileHandle } from 'node:fs/promises';
import { dataRuns, punchHole, reserveSpace, ScoriaError, type PluginCall } from '@scoria/core';
import { statIfThere } from './durable-file.ts';

/** Space freed in one call, so that an abort is seen soon. */
const punchPiece = 256 * 1024 * 1024;

/** Makes a file larger and reserves the new part, sizes in bytes. Fails with `device-no-space`, and the file is as before. */
export async function growThick(file: FileHandle, directory: string, present: number, size: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  // Some file systems fill up before they notice that it does not fit.
  if (bavail * bsize < size - present) {
    throw new ScoriaError(
      'device-no-space',
      `The file system of ${directory} has ${bavail * bsize} bytes left, not ${size - present}`,
    );
  }
  try {
    if (await reserveSpace(file.fd, present, size - present)) return;
  } catch (error) {
    await file.truncate(present);
    throw error;
  }
  throw cannotReserve();
}

/** Reserves space for the holes of a file; its content stays. */
export async function reserveWhole(file: FileHandle, size: number): Promise<void> {
  if (!(await reserveSpace(file.fd, 0, size))) throw cannotReserve();
}

function cannotReserve(): ScoriaError {
  return new ScoriaError('backend-failed', 'The file system of the backend cannot reserve space for thick volumes', {
    remedy: 'Set "provisioning" of the backend to "thin", or use ext4 or XFS.',
  });
}

/** Frees a large file's space in pieces, where the file system can: unlink(2) would hold it up and cannot be stopped. */
export async function freeInPieces(path: string, call: PluginCall): Promise<void> {
  const found = await statIfThere(path);
  if (!found || found.size <= punchPiece) return;
  const file = await open(path, 'r+');
  try {
    for await (const { start, end } of dataRuns(file.fd, 0, found.size)) {
      for (let at = start; at < end; at += punchPiece) {
        call.signal.throwIfAborted();
        if (!(await punchHole(file.fd, at, Math.min(punchPiece, end - at)))) return;
        call.progress(Math.min(at + punchPiece, end), found.size);
      }
    }
  } finally {
    await file.close();
  }
}
