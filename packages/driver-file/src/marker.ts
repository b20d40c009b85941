import { constants } from 'node:fs';
import { link, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ScoriaError, type Random } from '@scoria/core';
import { z } from 'zod';
import { errnoOf, syncDirectory } from './durable-file.ts';

/** Name of the file that says whose backend a directory is. */
export const markerName = 'scoria-backend.json';
const markerLimit = 64 * 1024;

const markerSchema = z.object({
  format: z.literal(1),
  backendId: z.uuid(),
  installationId: z.string().min(1).max(255),
  /** Logical block size with which its volumes were made: what guests have written depends on it. */
  blockSize: z.union([z.literal(512), z.literal(4096)]),
});
/** Content of the marker. */
export type Marker = z.infer<typeof markerSchema>;

/** Reads the marker of a directory, `undefined` when it has none. Fails with `backend-unavailable` when it is damaged. */
export async function readMarker(directory: string): Promise<Marker | undefined> {
  const path = join(directory, markerName);
  let text: string;
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(markerLimit), 0, markerLimit, 0);
      text = buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const damaged = (cause: unknown) =>
    new ScoriaError('backend-unavailable', `The marker ${path} of the backend is damaged`, {
      cause,
      remedy: 'Restore the marker file from a backup of the directory.',
    });
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw damaged(error);
  }
  const marker = markerSchema.safeParse(parsed);
  if (!marker.success) throw damaged(marker.error);
  return marker.data;
}

/** Marks a directory, unless somebody was faster, and returns the marker that it then has. */
export async function createMarker(
  directory: string,
  owner: { readonly installationId: string; readonly blockSize: 512 | 4096 },
  random: Random,
): Promise<Marker> {
  const path = join(directory, markerName);
  const temporary = `${path}.${random.uuid()}`;
  const { installationId, blockSize } = owner;
  const marker: Marker = { format: 1, backendId: random.uuid(), installationId, blockSize };
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(`${JSON.stringify(marker, undefined, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    // Unlike rename(2), link(2) never replaces what another process put there.
    await link(temporary, path);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  await syncDirectory(directory);
  return (await readMarker(directory)) ?? marker;
}
