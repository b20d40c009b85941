import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { ScoriaError, type BackendObject, type ListedObject } from '@scoria/core';
import { errnoOf, fileError, statIfThere } from './durable-file.ts';

/** What a file holds. */
export type Kind = ListedObject['kind'];

const folders: Readonly<Record<Kind, string>> = { volume: 'volumes', snapshot: 'snapshots' };
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ownReference = /^(volumes|snapshots)\/[0-9a-f-]{36}$/;

/** What the names of files begin with that are being made. */
export const temporaryPrefix = '.new-';

/** Whether a name of a file is that of a complete volume or snapshot. */
export function isPlacementId(name: string): boolean {
  return uuid.test(name);
}

/** Whether a text is what {@link referenceOf} gives. */
export function isOwnReference(text: string): boolean {
  return ownReference.test(text);
}

/** How the driver refers to an object: its path below the directory of the backend. */
export function referenceOf(kind: Kind, placementId: string): string {
  return `${folders[kind]}/${placementId}`;
}

/** Names in a folder; none when there is no such folder. */
export async function* namesIn(folder: string): AsyncGenerator<string> {
  try {
    for await (const entry of await opendir(folder)) yield entry.name;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw fileError('list', folder, error);
  }
}

/** Where the files of volumes and snapshots lie below the directory of a backend. */
export class ObjectFiles {
  readonly #directory: string;

  /** @param directory - absolute. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  folder(kind: Kind): string {
    return join(this.#directory, folders[kind]);
  }

  /** Path under which an object is made. */
  temporary(kind: Kind, placementId: string): string {
    return join(this.folder(kind), `${temporaryPrefix}${placementId}`);
  }

  path(kind: Kind, placementId: string): string {
    if (!uuid.test(placementId))
      throw new ScoriaError('internal', `A placement id must be a lower-case UUID, not "${placementId}"`);
    return join(this.folder(kind), placementId);
  }

  /** Path of an object that must be there, else `backend-object-missing`. */
  async find({ backendRef, placementId }: BackendObject): Promise<string> {
    if (backendRef !== null && !ownReference.test(backendRef)) {
      throw new ScoriaError('internal', `"${backendRef}" is no reference of this driver`);
    }
    const candidates = backendRef
      ? [join(this.#directory, backendRef)]
      : [this.path('volume', placementId), this.path('snapshot', placementId)];
    for (const path of candidates) {
      const found = await statIfThere(path).catch((error: unknown) => {
        throw fileError('look at', path, error);
      });
      if (found?.isFile()) return path;
    }
    throw new ScoriaError('backend-object-missing', `Directory ${this.#directory} has no ${backendRef ?? placementId}`);
  }
}
