import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ScoriaError } from '@scoria/core';

const accessKeyLength = 32;

/** The directory that holds all state of an instance, locked by this process until it closes it or dies. */
export class DataDirectory {
  /** Absolute. */
  readonly path: string;
  readonly #lock: DatabaseSync;

  private constructor(path: string, lock: DatabaseSync) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Makes the directory where it is missing, with mode 0700, and locks it. The lock is the kernel's, held on a file of its
   * own through SQLite: it falls with the process, however that ends. `data-directory-locked` when another has it.
   */
  static async open(directory: string): Promise<DataDirectory> {
    const path = resolve(directory);
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
      await chmod(path, 0o700);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ScoriaError('invalid-configuration', `The data directory ${path} cannot be used: ${reason}`, {
        cause: error,
        remedy: 'Name a directory that you may write to with --data-dir.',
      });
    }
    const lock = new DatabaseSync(join(path, 'lock'));
    try {
      lock.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    } catch (error) {
      lock.close();
      throw new ScoriaError('data-directory-locked', `Another instance uses the data directory ${path}.`, { cause: error });
    }
    return new DataDirectory(path, lock);
  }

  /** Path of a file in the directory. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** The key from which attachment secrets are derived; made at the first call, mode 0600. */
  async accessKey(): Promise<Uint8Array> {
    const file = this.file('access.key');
    try {
      const key = await readFile(file);
      if (key.length === accessKeyLength) return key;
      throw new ScoriaError('invalid-configuration', `${file} has ${key.length} bytes instead of ${accessKeyLength}.`, {
        remedy: 'Restore the file from a copy. Without it, present attachments must be made anew.',
      });
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    const key = randomBytes(accessKeyLength);
    await this.writePrivate('access.key', key);
    return key;
  }

  /** Writes a file that only its owner can read, whole or not at all. */
  async writePrivate(name: string, content: string | Uint8Array): Promise<void> {
    const temporary = this.file(`${name}.new`);
    await writeFile(temporary, content, { mode: 0o600, flush: true });
    await rename(temporary, this.file(name));
    const directory = await open(this.path, 'r');
    await directory.sync();
    await directory.close();
  }

  /** Content of a file, or `null` when there is none. */
  async read(name: string): Promise<string | null> {
    try {
      return await readFile(this.file(name), 'utf8');
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  /** Lets another instance have the directory. */
  close(): void {
    this.#lock.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
