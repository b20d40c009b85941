import { constants, open, readdir, readFile, realpath, writeFile, type FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ScoriaError } from '@scoria/core';

/** A session of the kernel's initiator. */
export interface KernelSession {
  /** Number by which iscsiadm knows it. */
  readonly id: string;
  readonly target: string;
  /** `host:port`, with brackets for an IPv6 address. */
  readonly portal: string;
  /** Directory in sysfs. */
  readonly directory: string;
}

/** A disk that a session brought. */
export interface ScsiDisk {
  /** Device node. */
  readonly path: string;
  /** Directory in sysfs of the block device. */
  readonly directory: string;
  /** `major:minor`. */
  readonly number: string;
  /** Bytes. */
  readonly blockSize: 512 | 4096;
}

/** What the kernel's initiator has, as sysfs tells it. */
export class ScsiDisks {
  readonly #sysfs: string;

  /** @param sysfs - where sysfs is mounted. */
  constructor(sysfs = '/sys') {
    this.#sysfs = sysfs;
  }

  /** Sessions with targets that are wanted. */
  async sessions(wanted: (target: string) => boolean): Promise<readonly KernelSession[]> {
    const classes = join(this.#sysfs, 'class');
    const found: KernelSession[] = [];
    for (const name of await readdir(join(classes, 'iscsi_session')).catch(() => [])) {
      const id = name.slice('session'.length);
      const target = await read(join(classes, 'iscsi_session', name, 'targetname'));
      if (target === undefined || !wanted(target)) continue;
      const connection = join(classes, 'iscsi_connection', `connection${id}:0`);
      const host = (await read(join(connection, 'persistent_address'))) ?? '';
      const port = (await read(join(connection, 'persistent_port'))) ?? '';
      const directory = await realpath(join(classes, 'iscsi_session', name, 'device')).catch(() => null);
      // It has ended meanwhile.
      if (directory === null) continue;
      found.push({ id, target, portal: `${host.includes(':') ? `[${host}]` : host}:${port}`, directory });
    }
    return found;
  }

  /** The disk of a logical unit, once the kernel has found it. */
  async disk(session: KernelSession, lun: number): Promise<ScsiDisk | undefined> {
    for (const directory of await this.#units(session)) {
      if (!directory.endsWith(`:${lun}`)) continue;
      const [name] = await readdir(join(directory, 'block')).catch(() => []);
      if (name === undefined) continue;
      const block = join(directory, 'block', name);
      const number = await read(join(block, 'dev'));
      const size = Number(await read(join(block, 'queue/logical_block_size')));
      if (number === undefined || (size !== 512 && size !== 4096)) continue;
      return { path: join('/dev', basename(block)), directory: block, number, blockSize: size };
    }
    return undefined;
  }

  /** Has the kernel look for a logical unit that it does not know. */
  async scan(session: KernelSession, lun: number): Promise<void> {
    const host = /\/(host[0-9]+)\//.exec(session.directory)?.[1];
    if (host !== undefined) await writeFile(join(this.#sysfs, 'class/scsi_host', host, 'scan'), `0 0 ${lun}`).catch(() => {});
  }

  /**
   * Unit serial number without padding (SPC-4, 7.8.15): the page is a header of four bytes and the number. `device-gone`
   * where the target tells none.
   */
  async serial(disk: ScsiDisk): Promise<string> {
    try {
      const page = await readFile(join(disk.directory, 'device/vpd_pg80'));
      // LIO counts the zero byte that ends its string.
      return page
        .toString('latin1', 4, 4 + page.readUInt16BE(2))
        .replaceAll('\0', ' ')
        .trim();
    } catch (error) {
      throw new ScoriaError('device-gone', `Disk ${disk.path} tells no serial number`, { cause: error });
    }
  }

  /** Has the kernel ask for size and serial number again; it keeps both. */
  async rescan(disk: ScsiDisk): Promise<void> {
    await writeFile(join(disk.directory, 'device/rescan'), '1');
  }

  /** Writes out what is cached of all disks of a session, then removes them. `backend-busy` when something uses one. */
  async removeAll(session: KernelSession): Promise<void> {
    const units = await this.#units(session);
    for (const directory of units) {
      const [name] = await readdir(join(directory, 'block')).catch(() => []);
      if (name !== undefined) await flush(join('/dev', name));
    }
    for (const directory of units) await writeFile(join(directory, 'delete'), '1').catch(() => {});
  }

  async #units({ directory }: KernelSession): Promise<readonly string[]> {
    const targets = (await readdir(directory).catch(() => [])).filter((name) => /^target[0-9:]+$/.test(name));
    const units = targets.map(async (target) =>
      (await readdir(join(directory, target)).catch(() => []))
        .filter((name) => /^[0-9]+(:[0-9]+){3}$/.test(name))
        .map((name) => join(directory, target, name)),
    );
    return (await Promise.all(units)).flat();
  }
}

/**
 * Writes out what is cached of a disk that nothing on this host has for itself: no file system, no map, no other who opened
 * it exclusively. One whose target is gone cannot be written to; that is told to whoever wrote.
 */
async function flush(path: string): Promise<void> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_EXCL);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EBUSY')) return;
    throw new ScoriaError('backend-busy', `Disk ${path} is in use on this host, so its volume cannot be disconnected`, {
      cause: error,
      remedy: 'Unmount it, or remove what lies on it, then disconnect again.',
    });
  }
  await file.datasync().catch(() => {});
  await file.close();
}

async function read(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}
