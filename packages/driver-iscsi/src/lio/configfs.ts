import { closeSync, constants, openSync, read, write, writeSync } from 'node:fs';
import { mkdir, readdir, readlink, rmdir, symlink, unlink } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ScoriaError } from '@scoria/core';

/**
 * A tree of directories by which a part of the kernel is configured (Linux, Documentation/filesystems/configfs.rst): a
 * directory is an object, a file an attribute of it, a link a use of one object by another. Paths are relative to the
 * root of the tree. What the kernel refuses is `transport-failed`, see {@link refusedWith}.
 */
export interface ConfigTree {
  /** Where the tree is, for messages and for the targets of links. */
  readonly root: string;
  /** Makes an object. `false` when it was there. */
  make(path: string): Promise<boolean>;
  /** Removes an object. `false` when there was none. */
  remove(path: string): Promise<boolean>;
  /** Makes the link `path` to `object`. `false` when there is a link of that name. */
  link(object: string, path: string): Promise<boolean>;
  /** Removes a link. `false` when there was none. */
  unlink(path: string): Promise<boolean>;
  /** Value of an attribute without the blanks around it, or `null` when its object is not there. */
  read(path: string): Promise<string | null>;
  /** What a link points to, as a path of the tree; `null` when there is none. */
  target(path: string): Promise<string | null>;
  /** Sets an attribute whose change may have to wait. The value is in no error. */
  write(path: string, value: string): Promise<void>;
  /** Sets an attribute that the kernel only notes. The value is in no error. */
  set(path: string, value: string): Promise<void>;
  /** Names of what is in a directory; none when it is not there. */
  list(path: string): Promise<readonly string[]>;
}

/** Whether an error says that the kernel refused something for this reason (errno(3), for example `EBUSY`). */
export const refusedWith = (error: unknown, ...reasons: readonly string[]): boolean =>
  error instanceof ScoriaError && reasons.some((reason) => error.details['errno'] === reason);

const errnoOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : 'unknown');

const readFrom = promisify(read);
const writeTo = promisify(write);
/** Longest value of an attribute (Linux, `SIMPLE_ATTR_SIZE` of configfs), bytes. */
const longestValue = 4096;

/** Opens an attribute, never makes one: it is there, or its object is not. No lock of the kernel's makes that wait. */
async function withAttribute(full: string, mode: number, work: (file: number) => unknown): Promise<void> {
  const file = openSync(full, mode);
  try {
    await work(file);
  } finally {
    closeSync(file);
  }
}

/**
 * The kernel's own tree. What may wait, until commands under way have ended for example, is done in libuv's pool; nothing
 * else is, because each way there and back takes its time.
 */
export class Configfs implements ConfigTree {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  make(path: string): Promise<boolean> {
    return this.#attempt('make', path, ['EEXIST'], (full) => mkdir(full));
  }

  remove(path: string): Promise<boolean> {
    return this.#attempt('remove', path, ['ENOENT'], (full) => rmdir(full));
  }

  link(object: string, path: string): Promise<boolean> {
    return this.#attempt('link', path, ['EEXIST'], (full) => symlink(join(this.root, object), full));
  }

  unlink(path: string): Promise<boolean> {
    return this.#attempt('unlink', path, ['ENOENT'], (full) => unlink(full));
  }

  async read(path: string): Promise<string | null> {
    let found: string | null = null;
    await this.#attempt('read', path, ['ENOENT'], (full) =>
      withAttribute(full, constants.O_RDONLY, async (file) => {
        const { buffer, bytesRead } = await readFrom(file, Buffer.allocUnsafe(longestValue), 0, longestValue, null);
        // The kernel may end items of a list with NUL.
        found = buffer.toString('latin1', 0, bytesRead).replaceAll('\0', '').trim();
      }),
    );
    return found;
  }

  async write(path: string, value: string): Promise<void> {
    await this.#attempt('write', path, [], (full) => withAttribute(full, constants.O_WRONLY, (file) => writeTo(file, value)));
  }

  async set(path: string, value: string): Promise<void> {
    await this.#attempt('write', path, [], (full) => withAttribute(full, constants.O_WRONLY, (file) => writeSync(file, value)));
  }

  async target(path: string): Promise<string | null> {
    let found: string | null = null;
    await this.#attempt('read', path, ['ENOENT'], async (full) => {
      found = relative(this.root, resolve(dirname(full), await readlink(full)));
    });
    return found;
  }

  async list(path: string): Promise<readonly string[]> {
    let found: readonly string[] = [];
    await this.#attempt('list', path, ['ENOENT'], async (full) => void (found = await readdir(full)));
    return found;
  }

  /** `false` when the call fails for one of the `expected` reasons. */
  async #attempt(
    verb: string,
    path: string,
    expected: readonly string[],
    call: (full: string) => Promise<void>,
  ): Promise<boolean> {
    const full = join(this.root, path);
    try {
      await call(full);
      return true;
    } catch (error) {
      const errno = errnoOf(error);
      if (expected.includes(errno)) return false;
      throw new ScoriaError('transport-failed', `The kernel refuses to ${verb} ${full}: ${errno}`, {
        details: { errno },
        cause: error,
        ...(['EACCES', 'EPERM'].includes(errno) && { remedy: 'Run the service as root: LIO is configured by root alone.' }),
      });
    }
  }
}
