import { silentLog, systemRandom, type AnyVolumeDriver, type Command, type Exec } from '@scoria/core';
import plugin from '@scoria/driver-lvm';
import { beforeEach, describe, expect, test } from 'vitest';
import { call, LvmBench, request } from './lvm-bench.ts';
import { ManualClock } from './manual-clock.ts';
import { ModelledLvm } from './modelled-lvm.ts';

/** The group of a command: by its name, `group/volume`, or the name of a device-mapper device. */
const isAbout = (group: string, { args }: Command): boolean =>
  args.some((arg) => arg === group || arg.startsWith(`${group}/`) || arg.startsWith(`${group}-`));

/** A backend of two volume groups, one of which comes and goes. */
class TwoGroups {
  readonly sound = new ModelledLvm();
  readonly weak = new ModelledLvm();
  readonly told: string[] = [];
  readonly installationId = systemRandom.uuid();
  readonly #exec: Exec = {
    run: (command) => this.#about(command).run(command),
    lines: (command) => this.#about(command).lines(command),
  };

  constructor() {
    this.sound.group = 'sound';
    this.weak.group = 'weak';
  }

  start(): AnyVolumeDriver {
    return plugin.create({
      name: 'lvm',
      config: { volumeGroups: ['weak', 'sound'], thinPool: { name: 'pool' } },
      ...{ baseDirectory: '/', clock: new ManualClock(), exec: this.#exec, random: systemRandom },
      log: { ...silentLog, error: (_fields, message) => void this.told.push(message) },
      installationId: this.installationId,
    });
  }

  async checked(): Promise<AnyVolumeDriver> {
    const driver = this.start();
    await driver.check(call);
    return driver;
  }

  /** The group is gone, as with a cable. */
  loseWeak(): void {
    this.weak.instead = (verb) =>
      verb === 'dmsetup'
        ? { exitCode: 1, stdout: '', stderr: 'Device does not exist.' }
        : { exitCode: 5, stdout: '', stderr: '  Volume group "weak" not found\n  Cannot process volume group weak\n' };
  }

  findWeak(): void {
    this.weak.instead = () => undefined;
  }

  #about(command: Command): ModelledLvm {
    return isAbout('weak', command) ? this.weak : this.sound;
  }
}

const gone = expect.stringMatching(/^backend-unavailable: .*weak/s);

/** What a driver tells of its pools, in short. */
async function pools(driver: AnyVolumeDriver) {
  const reports = await driver.pools(call);
  return reports.map(({ name, fault, total, free }) => ({
    name,
    fault: fault ? `${fault.code}: ${fault.message}` : null,
    total,
    free,
  }));
}
const room = expect.toSatisfy((free: number) => free > 0);

describe('a group that fails', () => {
  let groups: TwoGroups;
  beforeEach(() => {
    groups = new TwoGroups();
  });

  test('keeps no other one from being used, and its pool says what is wrong with it', async () => {
    groups.loseWeak();
    const driver = await groups.checked();
    expect(await pools(driver)).toMatchObject([
      { name: 'weak', fault: gone, total: 0, free: 0 },
      { name: 'sound', free: room },
    ]);
    await driver.create({ ...request(), pool: 'sound' }, call);
    await expect(driver.create({ ...request(), pool: 'weak' }, call)).rejects.toMatchObject({ code: 'backend-unavailable' });
    // A part of the list would look as if the rest were gone.
    await expect(driver.list(call)[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'backend-unavailable' });
    expect(groups.told).toEqual([]);
  });

  test('at the first check is marked and prepared when it comes', async () => {
    groups.loseWeak();
    const driver = groups.start();
    const { backendId } = await driver.check(call);
    groups.findWeak();
    expect(await pools(driver)).toMatchObject([
      { name: 'weak', fault: null, free: room },
      { name: 'sound', free: room },
    ]);
    expect([...groups.weak.groupTags]).toContain(`scoria.backend=${backendId}`);
    expect([...groups.weak.volumes.keys()]).toEqual(['pool']);
    await driver.create({ ...request(), pool: 'weak' }, call);
  });

  test.each(['at the first check', 'later'])('%s has its volumes activated when it is back', async (when) => {
    let driver = await groups.checked();
    await driver.create({ ...request(), pool: 'weak' }, call);
    const volume = [...groups.weak.volumes.values()].find(({ name }) => name.startsWith('volume-'));
    groups.loseWeak();
    if (when === 'at the first check') driver = await groups.checked();
    expect((await pools(driver))[0]).toMatchObject({ fault: gone });
    for (const each of groups.weak.volumes.values()) each.active = false;
    groups.findWeak();
    expect((await pools(driver))[0]).toMatchObject({ fault: null, free: room });
    expect(volume?.active).toBe(true);
  });

  test('costs the others nothing: they are not brought up again', async () => {
    groups.loseWeak();
    const driver = await groups.checked();
    await pools(driver);
    groups.sound.counted();
    await pools(driver);
    expect(groups.sound.counted()).toHaveLength(1);
  });

  test('because it lacks a disk is not touched, and comes back with its disk', async () => {
    groups.weak.missing = 1;
    const driver = await groups.checked();
    const fault = 'backend-unavailable: Volume group weak lacks 1 of its physical volumes';
    expect((await pools(driver))[0]).toMatchObject({ name: 'weak', fault, free: 0 });
    expect([...groups.weak.groupTags]).toEqual([]);
    groups.weak.missing = 0;
    expect((await pools(driver))[0]).toMatchObject({ name: 'weak', fault: null, free: room });
    expect([...groups.weak.volumes.keys()]).toEqual(['pool']);
  });

  test('because it is another backend is left alone', async () => {
    const other = systemRandom.uuid();
    groups.loseWeak();
    const driver = await groups.checked();
    groups.findWeak();
    for (const tag of [`scoria.backend=${other}`, `scoria.installation=${groups.installationId}`]) groups.weak.groupTags.add(tag);
    const fault = expect.stringContaining(`foreign-backend: Volume group weak is backend ${other}`);
    expect((await pools(driver))[0]).toMatchObject({ fault, free: 0 });
    expect([...groups.weak.volumes.keys()]).toEqual([]);
    expect(groups.weak.groupTags.size).toBe(2);
  });

  test('is an error of the whole backend when it is the only one', async () => {
    const bench = new LvmBench();
    const driver = await bench.checked();
    bench.lvm.group = 'elsewhere';
    await expect(driver.pools(call)).rejects.toMatchObject({ code: 'backend-unavailable' });
  });
});
