import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ScoriaError, type DeviceLocator } from '@scoria/core';
import { uuidOf } from '../access-id.ts';
import { blockNodeNumber, isReadOnlyNode } from '../block-node.ts';
import { refusedWith, type ConfigTree } from './configfs.ts';

/** Whole blocks of a file, as LIO is told them. */
async function sizeOption(file: string, blockSize: number): Promise<string> {
  const { size } = await stat(file).catch((error: unknown) => {
    throw new ScoriaError('device-gone', `The file ${file} is gone`, { cause: error });
  });
  return `fd_dev_size=${size - (size % blockSize)}`;
}

/** How the kernel reaches a volume: `iblock` for block devices, `fileio` for files. */
type BackstoreKind = 'iblock' | 'fileio';
const kinds: readonly BackstoreKind[] = ['iblock', 'fileio'];

/** What the kernel counted of one volume. */
export interface BackstoreCounters {
  readonly volumeId: string;
  readonly commands: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

const namePrefix = 'scoria-';
const mebibyte = 1024 * 1024;
/** Longest path that the kernel keeps of a file (`FD_MAX_DEV_NAME`), the shorter one of both kinds. */
const longestPath = 255;

/** The volume of a backstore, by its path in the tree; `null` where that is none of ours. */
export function volumeOfBackstore(path: string): string | null {
  const name = basename(path);
  return name.startsWith(namePrefix) ? uuidOf(name.slice(namePrefix.length)) : null;
}

/**
 * The backstores of one transport: what LIO calls the devices behind its logical units. Each volume has one, which all its
 * accesses share, so that reservations hold across them. They live in storage objects of a number of our own, so that
 * nobody else's are touched.
 */
export class Backstores {
  readonly #tree: ConfigTree;
  readonly #number: number;

  /** @param owner - tells the backstores of transports on one host apart. */
  constructor(tree: ConfigTree, owner: string) {
    this.#tree = tree;
    this.#number = createHash('sha256').update(owner).digest().readUInt32BE() >>> 1;
  }

  /**
   * Makes the backstore of a volume unless it is in use already. One that no logical unit uses was left half-made by a
   * process that died, and is made anew. Callers see to it that nobody else does the same for this volume. Gives its
   * path in the tree. `transport-failed` when the volume is in use through another device, `backend-busy` when something
   * else on this host has the device.
   */
  async provide(volumeId: string, device: DeviceLocator): Promise<string> {
    const node = await blockNodeNumber(device.path);
    if (device.path.length > longestPath || !/^\/[^,\s]*$/.test(device.path)) {
      throw new ScoriaError(
        'not-supported',
        `LIO cannot open ${device.path}: it wants an absolute path of at most ${longestPath} characters without commas and blanks`,
      );
    }
    const kind = node === null ? 'fileio' : 'iblock';
    const path = this.#path(kind, volumeId);
    const inUse = await this.#claim(kind, volumeId);
    if (inUse !== null) {
      const opened = await this.#tree.read(join(inUse, 'udev_path'));
      if (opened === device.path) return inUse;
      throw new ScoriaError('transport-failed', `Volume ${volumeId} is exported through ${opened}, not ${device.path}`, {
        remedy: 'End the accesses of this volume first.',
      });
    }
    try {
      await (node === null ? this.#makeFile(path, device) : this.#makeBlock(path, device, node));
      await this.#describe(path, volumeId);
    } catch (error) {
      await this.#removeUnused(volumeId);
      throw error;
    }
    return path;
  }

  /** Removes the backstore of a volume unless a logical unit uses it. The device is free when it settles. */
  async release(volumeId: string): Promise<void> {
    await this.#removeUnused(volumeId);
  }

  /** Removes what holds the backstores, if there is none left. */
  async removeAdapters(): Promise<void> {
    for (const kind of kinds) {
      try {
        await this.#tree.remove(this.#hostBusAdapter(kind));
      } catch (error) {
        if (!refusedWith(error, 'EBUSY', 'ENOTEMPTY')) throw error;
      }
    }
  }

  /** Tells LIO the size of a file that has grown; of a block device it knows by itself. */
  async resize(volumeId: string): Promise<void> {
    const path = this.#path('fileio', volumeId);
    const file = await this.#tree.read(join(path, 'udev_path'));
    if (file === null) return;
    const blockSize = Number(await this.#tree.read(join(path, 'attrib/block_size')));
    await this.#tree.write(join(path, 'control'), await sizeOption(file, blockSize));
  }

  /** The kernel's counters of all volumes; it counts bytes in whole MiB. */
  async counters(): Promise<readonly BackstoreCounters[]> {
    const volumes = await Promise.all(
      kinds.map(async (kind) => {
        const names = await this.#tree.list(this.#hostBusAdapter(kind));
        return names.filter((name) => name.startsWith(namePrefix)).map((name) => ({ kind, id: name.slice(namePrefix.length) }));
      }),
    );
    return Promise.all(
      volumes.flat().map(async ({ kind, id }) => {
        const read = async (counter: string): Promise<number> =>
          Number(await this.#tree.read(join(this.#path(kind, id), 'statistics/scsi_lu', counter)));
        const [commands, readMebibytes, writtenMebibytes] = await Promise.all(
          ['num_cmds', 'read_mbytes', 'write_mbytes'].map(read),
        );
        return {
          volumeId: id,
          commands: commands ?? 0,
          readBytes: (readMebibytes ?? 0) * mebibyte,
          writtenBytes: (writtenMebibytes ?? 0) * mebibyte,
        };
      }),
    );
  }

  #hostBusAdapter(kind: BackstoreKind): string {
    return `core/${kind}_${this.#number}`;
  }

  #path(kind: BackstoreKind, volumeId: string): string {
    return join(this.#hostBusAdapter(kind), namePrefix + volumeId);
  }

  /** Makes an empty backstore for a volume, or gives the path of the one that is in use. */
  async #claim(kind: BackstoreKind, volumeId: string): Promise<string | null> {
    const path = this.#path(kind, volumeId);
    const elsewhere = await this.#removeUnused(volumeId, kind === 'iblock' ? 'fileio' : 'iblock');
    if (elsewhere !== null) return elsewhere;
    try {
      if (await this.#tree.make(path)) return null;
    } catch (error) {
      if (!refusedWith(error, 'ENOENT')) throw error;
      await this.#tree.make(this.#hostBusAdapter(kind));
    }
    const inUse = await this.#removeUnused(volumeId, kind);
    if (inUse === null) await this.#tree.make(path);
    return inUse;
  }

  /** Path of the volume's backstore when it is in use. The kernel is the one who knows: it removes no backstore that is. */
  async #removeUnused(volumeId: string, ...those: readonly BackstoreKind[]): Promise<string | null> {
    for (const kind of those.length > 0 ? those : kinds) {
      const path = this.#path(kind, volumeId);
      try {
        await this.#tree.remove(path);
      } catch (error) {
        if (refusedWith(error, 'EBUSY')) return path;
        throw error;
      }
    }
    return null;
  }

  async #makeBlock(path: string, { path: node, blockSize }: DeviceLocator, number: string): Promise<void> {
    const readOnly = isReadOnlyNode(number);
    await this.#make(path, `udev_path=${node}${readOnly ? ',readonly=1' : ''}`, node);
    const physical = Number(await this.#tree.read(join(path, 'attrib/hw_block_size')));
    if (physical > blockSize) {
      throw new ScoriaError('not-supported', `${node} has blocks of ${physical} bytes and cannot be exported with ${blockSize}`);
    }
    await this.#tree.set(join(path, 'attrib/block_size'), String(blockSize));
    // A device that discards need not read as zeroes afterwards.
    await this.#discards(path, false);
  }

  /** The kernel opens the file with O_DSYNC: what it has acknowledged is on storage, and it reports no write cache. */
  async #makeFile(path: string, { path: file, blockSize }: DeviceLocator): Promise<void> {
    await this.#make(path, `fd_dev_name=${file},${await sizeOption(file, blockSize)}`, file);
    await this.#tree.set(join(path, 'attrib/block_size'), String(blockSize));
    await this.#discards(path, true);
  }

  async #make(path: string, control: string, device: string): Promise<void> {
    await this.#tree.set(join(path, 'control'), control);
    await this.#tree.set(join(path, 'udev_path'), device);
    try {
      await this.#tree.write(join(path, 'enable'), '1');
    } catch (error) {
      if (!refusedWith(error, 'EBUSY')) throw error;
      throw new ScoriaError('backend-busy', `${device} is in use by something else on this host`, { cause: error });
    }
  }

  /** UNMAP and WRITE SAME with UNMAP, where the device can. `zeroes`: what was unmapped reads as zeroes (SBC-3, LBPRZ). */
  async #discards(path: string, zeroes: boolean): Promise<void> {
    for (const attribute of ['emulate_tpu', 'emulate_tpws']) {
      try {
        await this.#tree.set(join(path, 'attrib', attribute), '1');
      } catch (error) {
        if (refusedWith(error, 'ENOSYS', 'EINVAL', 'EOPNOTSUPP')) return;
        throw error;
      }
    }
    await this.#tree.set(join(path, 'attrib/unmap_zeroes_data'), zeroes ? '1' : '0');
  }

  async #describe(path: string, volumeId: string): Promise<void> {
    await this.#tree.set(join(path, 'wwn/vendor_id'), 'SCORIA');
    await this.#tree.set(join(path, 'wwn/product_id'), 'Scoria');
    await this.#tree.set(join(path, 'wwn/vpd_unit_serial'), volumeId);
    // EXTENDED COPY names its source and target by designators: no tenant may name another's volume.
    await this.#tree.set(join(path, 'attrib/emulate_3pc'), '0');
  }
}
