import {
  silentLog,
  SystemExec,
  systemClock,
  systemRandom,
  type BackendObject,
  type Command,
  type CommandResult,
  type Exec,
  type PluginCall,
} from '@scoria/core';
import { LvmDriver, lvmConfigSchema } from '@scoria/driver-lvm';
import type { Section } from '../../bench/report.ts';
import { run } from '../../system/programs.ts';
import { volumeGroup } from '../fixtures/volume-group.ts';
import { comparison, comparisonHeader, costOf, type Cost } from './comparison.ts';

const mebibyte = 1024 ** 2;
const size = 32 * mebibyte;
const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

/** Counts the programs that it runs. */
class CountingExec implements Exec {
  readonly #exec = new SystemExec({ clock: systemClock, log: silentLog });
  count = 0;

  run(command: Command): Promise<CommandResult> {
    this.count++;
    return this.#exec.run(command);
  }

  lines(command: Command): AsyncIterable<string> {
    this.count++;
    return this.#exec.lines(command);
  }
}

/** A driver for one group, with what it needs. Drivers of one installation can share a group. */
export function driverFor(
  group: string,
  config: { readonly provisioning: 'thick' | 'thin' } & Readonly<Record<string, unknown>>,
  { exec = new CountingExec(), installationId = systemRandom.uuid() }: { exec?: Exec; installationId?: string } = {},
): LvmDriver {
  return new LvmDriver({
    config: lvmConfigSchema.parse({ volumeGroups: [group], ...config }),
    installationId,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    exec,
  });
}

let commands = 0;

/** Runs a bare command. */
async function lvm(program: string, ...args: readonly string[]): Promise<void> {
  commands++;
  await run(program, args, { must: true });
}

/** The commands that do by hand what a verb of the driver does, and lose no more than it. */
interface Bare {
  create(name: string): Promise<unknown>;
  snapshot(name: string, of: string): Promise<unknown>;
  removeSnapshot(name: string): Promise<unknown>;
  remove(name: string): Promise<unknown>;
}

/** What is erased is lost, so one looks first whether somebody has it open. */
const look = (group: string, name: string) =>
  lvm('dmsetup', 'info', '--columns', '--noheadings', '--options', 'open', `${group}-${name}`);
const remove = (group: string, name: string) => lvm('lvremove', '--yes', `${group}/${name}`);
const zero = (group: string, name: string) => lvm('blkdiscard', '--zeroout', `/dev/${group}/${name}`);

const bareThin = (group: string): Bare => {
  /** Gives the space back to the disks, too. */
  const discardAndRemove = async (name: string): Promise<void> => {
    await look(group, name);
    await lvm('blkdiscard', `/dev/${group}/${name}`);
    await remove(group, name);
  };
  return {
    create: (name) => lvm('lvcreate', '--yes', '--name', name, '--virtualsize', `${size}b`, '--thinpool', 'scoria-pool', group),
    snapshot: (name, of) => lvm('lvcreate', '--yes', '--snapshot', '--setactivationskip', 'n', '--name', name, `${group}/${of}`),
    removeSnapshot: discardAndRemove,
    remove: discardAndRemove,
  };
};

const bareThick = (group: string): Bare => ({
  create: async (name) => {
    await lvm('lvcreate', '--yes', '--name', name, '--size', `${size}b`, group);
    await zero(group, name);
  },
  snapshot: (name, of) => lvm('lvcreate', '--yes', '--snapshot', '--name', name, '--extents', '100%ORIGIN', `${group}/${of}`),
  removeSnapshot: async (name) => {
    await look(group, name);
    await lvm('lvconvert', '--yes', '--splitsnapshot', `${group}/${name}`);
    await zero(group, name);
    await remove(group, name);
  },
  remove: async (name) => {
    await look(group, name);
    await zero(group, name);
    await remove(group, name);
  },
});

/** Create, snapshot and delete, beside the same by bare commands in the same group, in turns. */
export async function measureVolumes(provisioning: 'thick' | 'thin', rounds: number): Promise<Section> {
  await using group = await volumeGroup({ name: provisioning });
  const exec = new CountingExec();
  const driver = driverFor(group.name, { provisioning }, { exec });
  await driver.check(call);
  const bare = provisioning === 'thin' ? bareThin(group.name) : bareThick(group.name);
  const steps = ['create', 'snapshot', 'delete the snapshot', 'delete'] as const;
  const ours = new Map<string, Cost[]>(steps.map((step) => [step, []]));
  const theirs = new Map<string, Cost[]>(steps.map((step) => [step, []]));
  const object = (): BackendObject => ({ placementId: systemRandom.uuid(), pool: group.name, backendRef: null, size });
  for (let round = 0; round < rounds; round++) {
    const [volume, snapshot] = [object(), object()];
    const works: Record<(typeof steps)[number], [() => Promise<unknown>, () => Promise<unknown>]> = {
      create: [() => driver.create(volume, call), () => bare.create('bare')],
      snapshot: [() => driver.createSnapshot(snapshot, volume, call), () => bare.snapshot('copy', 'bare')],
      'delete the snapshot': [() => driver.deleteSnapshot(snapshot, call), () => bare.removeSnapshot('copy')],
      delete: [() => driver.delete(volume, call), () => bare.remove('bare')],
    };
    for (const step of steps) {
      const [mine, byHand] = works[step];
      ours.get(step)?.push(await costOf(() => exec.count, mine));
      theirs.get(step)?.push(await costOf(() => commands, byHand));
    }
  }
  return {
    title: `Volumes of 32 MiB, ${provisioning}, beside bare commands of LVM`,
    header: comparisonHeader('commands'),
    rows: steps.map((what) => comparison({ what, ours: ours.get(what) ?? [], bare: theirs.get(what) ?? [] }, 1.2)),
    notes: [
      provisioning === 'thick'
        ? 'By hand, as by the driver, a volume is zeroed when it is made, and a volume and the space of a snapshot when they are ' +
          'deleted, after a look whether they are open. The driver zeroes without a program, and needs one to mark a volume as whole.'
        : 'Volumes are made in one thin pool, which is there before. By hand, as by the driver, what is deleted is discarded first, ' +
          'after a look whether it is open.',
    ],
  };
}
