import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ScoriaError, type Exec, type PluginCall } from '@scoria/core';
import type { ScsiDisk } from './scsi-disks.ts';

const deadline = 30_000;

/** Maps of device-mapper that spread I/O over the paths to one volume (dm-multipath). They need no multipathd. */
export class MultipathMaps {
  readonly #exec: Exec;
  readonly #sysfs: string;

  /** @param sysfs - where sysfs is mounted. */
  constructor(exec: Exec, sysfs = '/sys') {
    this.#exec = exec;
    this.#sysfs = sysfs;
  }

  /** Makes a map over some paths, or gives an existing one these paths and their present size. Returns its device node. */
  async set(name: string, disks: readonly ScsiDisk[], call: PluginCall): Promise<string> {
    const sectors = Math.min(...(await Promise.all(disks.map((disk) => sectorsOf(disk)))));
    const paths = disks.map(({ number }) => `${number} 1`).join(' ');
    // The kernel opens no disk for writing that its target protects.
    const mode = (await Promise.all(disks.map(isReadOnly))).includes(true) ? ['--readonly'] : [];
    const table = `0 ${sectors} multipath 0 0 1 1 round-robin 0 ${disks.length} 1 ${paths}`;
    if (await this.#exists(name)) {
      await this.#dmsetup(['reload', name, ...mode, '--table', table], call);
      await this.#dmsetup(['resume', name], call);
    } else {
      await this.#dmsetup(['create', name, ...mode, '--table', table], call);
    }
    return join('/dev/mapper', name);
  }

  /** Lets paths that failed, and whose disks work again, take part. */
  async reinstate(name: string, call: PluginCall): Promise<void> {
    const status = await this.#dmsetup(['status', name], call);
    for (const [, number = ''] of status.matchAll(/ ([0-9]+:[0-9]+) F /g)) {
      const state = await readFile(join(this.#sysfs, 'dev/block', number, 'device/state'), 'utf8').catch(() => '');
      if (state.trim() === 'running') await this.#dmsetup(['message', name, '0', 'reinstate_path', number], call);
    }
  }

  /** Removes a map. Succeeds when there is none; `backend-busy` when somebody has it open. */
  async remove(name: string, call: PluginCall): Promise<void> {
    if (!(await this.#exists(name))) return;
    try {
      await this.#dmsetup(['remove', '--retry', name], call);
    } catch (error) {
      const { message } = ScoriaError.from(error);
      if (!/busy/i.test(message)) throw error;
      throw new ScoriaError('backend-busy', `Device /dev/mapper/${name} is open, so its volume cannot be disconnected`, {
        cause: error,
      });
    }
  }

  async #exists(name: string): Promise<boolean> {
    const blocks = join(this.#sysfs, 'block');
    for (const block of await readdir(blocks).catch(() => [])) {
      if (!block.startsWith('dm-')) continue;
      const found = await readFile(join(blocks, block, 'dm/name'), 'utf8').catch(() => '');
      if (found.trim() === name) return true;
    }
    return false;
  }

  async #dmsetup(args: readonly string[], { signal }: PluginCall): Promise<string> {
    const udevRuns = await access('/run/udev/control').then(
      () => true,
      () => false,
    );
    // Where no udev runs nobody else makes the nodes, or would answer that they are there (dmsetup(8)).
    const environment = udevRuns ? undefined : { DM_DISABLE_UDEV: '1' };
    return (await this.#exec.run({ program: 'dmsetup', args, deadline, signal, environment })).stdout;
  }
}

async function sectorsOf({ directory }: ScsiDisk): Promise<number> {
  return Number(await readFile(join(directory, 'size'), 'utf8'));
}

async function isReadOnly({ directory }: ScsiDisk): Promise<boolean> {
  return (await readFile(join(directory, 'ro'), 'utf8')).trim() === '1';
}
