import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, open, opendir, rename, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ScoriaError, type ManageableObject, type PluginCall } from '@scoria/core';
import { errnoOf, fileError, statIfThere, syncDirectory } from './durable-file.ts';

/** Names that files can be taken over by: no path, and not hidden. */
const fileName = /^[^./\0][^/\0]{0,254}$/;

/** What an {@link ImportFolder} is made of. */
export interface ImportFolderOptions {
  /** Directory of the backend, absolute. */
  readonly directory: string;
  readonly pool: string;
  /** Logical block size of the volumes, bytes. */
  readonly blockSize: number;
}

/** The folder `import/` of a backend: regular files in it can become volumes, and volumes that are let go come to lie there. */
export class ImportFolder {
  readonly #folder: string;
  readonly #options: ImportFolderOptions;

  constructor(options: ImportFolderOptions) {
    this.#folder = join(options.directory, 'import');
    this.#options = options;
  }

  /** Makes the folder when there is none. */
  async make(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
  }

  /** Everything in the folder, with the reason where it cannot be taken over. */
  async *list(call: PluginCall): AsyncGenerator<ManageableObject> {
    try {
      for await (const { name } of await opendir(this.#folder)) {
        call.signal.throwIfAborted();
        if (!fileName.test(name)) continue;
        const found = await lstat(join(this.#folder, name)).catch(nothingFor('ENOENT'));
        if (!found) continue;
        const refusal = this.#refusal(found);
        yield { reference: name, pool: this.#options.pool, size: found.size, placementId: null, refusal };
      }
    } catch (error) {
      if (call.signal.aborted) throw error;
      throw fileError('list', this.#folder, error);
    }
  }

  /**
   * Moves a file to another path of the same file system, durably. Returns its size in bytes. `not-found` when there is
   * none, `conflict` when it cannot be a volume.
   *
   * @param prepare - called with the open file before it is moved.
   */
  async take(name: string, path: string, prepare: (file: FileHandle, size: number) => Promise<void>): Promise<number> {
    const from = join(this.#folder, name);
    const missing = () => new ScoriaError('not-found', `Directory ${this.#folder} has no file ${name} to take over`);
    if (!fileName.test(name)) throw missing();
    // Opening a pipe would wait for its other end.
    const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = await open(from, flags).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') throw missing();
      if (['ELOOP', 'EISDIR', 'ENXIO'].includes(errnoOf(error) ?? '')) throw refused(from, notRegular);
      throw error;
    });
    try {
      const found = await file.stat();
      const refusal = this.#refusal(found);
      if (refusal !== null) throw refused(from, refusal);
      await prepare(file, found.size);
      await file.chmod(0o600);
      await file.sync();
      await rename(from, path);
      await this.#synced(path);
      return found.size;
    } finally {
      await file.close();
    }
  }

  /** Moves a volume into the folder, durably. Does nothing when it is gone from its path. */
  async putBack(path: string, name: string): Promise<void> {
    const to = join(this.#folder, name);
    if (await statIfThere(path)) {
      if (await statIfThere(to)) throw new ScoriaError('conflict', `There is a file ${to} already; move it away first`);
      await rename(path, to);
    }
    // Also when it is gone: the call that moved it may have ended before this.
    await this.#synced(path);
  }

  async #synced(path: string): Promise<void> {
    await syncDirectory(dirname(path));
    await syncDirectory(this.#folder);
  }

  #refusal(found: Stats): string | null {
    const { blockSize } = this.#options;
    if (!found.isFile()) return notRegular;
    if (found.nlink > 1) return 'It has a second name (hard link), by which it could still be written to.';
    if (found.size === 0) return 'It is empty.';
    if (found.size % blockSize !== 0) return `Its ${found.size} bytes are no multiple of ${blockSize}.`;
    return null;
  }
}

const notRegular = 'It is not a regular file.';

function refused(path: string, refusal: string): ScoriaError {
  return new ScoriaError('conflict', `${path} cannot be taken over. ${refusal}`);
}

function nothingFor(code: string): (error: unknown) => undefined {
  return (error) => {
    if (errnoOf(error) !== code) throw error;
    return undefined;
  };
}
