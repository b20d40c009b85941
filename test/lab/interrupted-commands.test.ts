import { open } from 'node:fs/promises';
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
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../system/programs.ts';
import { volumeGroup, type VolumeGroup } from './fixtures/volume-group.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const size = 8 * 1024 ** 2;
/** First arguments of commands that change nothing. */
const reports = new Set(['lvs', 'vgs', 'pvs', 'fullreport', 'info']);
const system = new SystemExec({ clock: systemClock, log: silentLog });

/** Programs of a process that dies when the n-th of them that changes something has ended: nobody hears of it. */
class MortalExec implements Exec {
  #dies = Number.POSITIVE_INFINITY;
  readonly #died = Promise.withResolvers<'died'>();
  changes = 0;

  /** Lets the process die after further changes. Settles when it has. */
  dieAfter(changes: number): Promise<'died'> {
    this.#dies = this.changes + changes;
    return this.#died.promise;
  }

  async run(command: Command): Promise<CommandResult> {
    const never = new Promise<never>(() => {});
    if (this.changes >= this.#dies) return never;
    const result = await system.run(command);
    if (!reports.has(command.args[0] ?? '')) this.changes++;
    if (this.changes < this.#dies) return result;
    this.#died.resolve('died');
    return never;
  }

  lines(command: Command): AsyncIterable<string> {
    return system.lines(command);
  }
}

/** What a verb needs and leaves. */
interface Verb {
  readonly name: string;
  /** Default: both. */
  readonly layout?: 'thin' | 'thick';
  /** Makes what the verb works on. */
  prepare(world: World): Promise<void>;
  work(driver: LvmDriver, world: World): Promise<unknown>;
  /** Tells the objects that are there afterwards, by their first byte; `undefined` where core would copy. */
  left(world: World, result: unknown): ReadonlyMap<BackendObject, number | undefined>;
}

/** The objects of one run. */
interface World {
  readonly driver: LvmDriver;
  readonly volume: BackendObject;
  readonly snapshot: BackendObject;
  readonly copy: BackendObject;
}

async function fill(driver: LvmDriver, object: BackendObject, byte: number): Promise<void> {
  await using file = await open((await driver.locate(object, call)).path, 'r+');
  await file.write(Buffer.alloc(size, byte), 0, size, 0);
  await file.sync();
}

const filledWith = (result: unknown, byte: number) =>
  typeof result === 'object' && result !== null && 'filled' in result && result.filled === true ? byte : undefined;

async function snapshotted({ driver, volume, snapshot }: World): Promise<void> {
  await driver.create(volume, call);
  await fill(driver, volume, 1);
  await driver.createSnapshot(snapshot, volume, call);
  await fill(driver, volume, 2);
}

const verbs: readonly Verb[] = [
  {
    name: 'create',
    prepare: async () => {},
    work: (driver, { volume }) => driver.create(volume, call),
    left: ({ volume }) => new Map([[volume, 0]]),
  },
  {
    name: 'createSnapshot',
    prepare: async ({ driver, volume }) => {
      await driver.create(volume, call);
      await fill(driver, volume, 1);
    },
    work: (driver, { volume, snapshot }) => driver.createSnapshot(snapshot, volume, call),
    left: ({ volume, snapshot }, result) =>
      new Map([
        [volume, 1],
        [snapshot, filledWith(result, 1)],
      ]),
  },
  {
    name: 'createFromSnapshot',
    prepare: snapshotted,
    work: (driver, { copy, snapshot }) => driver.createFromSnapshot(copy, snapshot, call),
    left: ({ volume, snapshot, copy }, result) =>
      new Map([
        [volume, 2],
        [snapshot, 1],
        [copy, filledWith(result, 1)],
      ]),
  },
  {
    name: 'revert',
    // Thick volumes are reverted by core.
    layout: 'thin',
    prepare: snapshotted,
    work: (driver, { volume, snapshot }) => driver.revert(volume, snapshot, call),
    left: ({ volume, snapshot }, result) => {
      const done = typeof result === 'object' && result !== null && 'done' in result && result.done === true;
      return new Map([
        [volume, done ? 1 : undefined],
        [snapshot, 1],
      ]);
    },
  },
  {
    name: 'extend',
    prepare: async ({ driver, volume }) => {
      await driver.create(volume, call);
      await fill(driver, volume, 1);
    },
    work: (driver, { volume }) => driver.extend(volume, 2 * size, call),
    left: ({ volume }) => new Map([[volume, 1]]),
  },
  {
    name: 'deleteSnapshot',
    prepare: snapshotted,
    work: (driver, { snapshot }) => driver.deleteSnapshot(snapshot, call),
    left: ({ volume }) => new Map([[volume, 2]]),
  },
  {
    name: 'delete',
    prepare: async ({ driver, volume }) => {
      await driver.create(volume, call);
      await fill(driver, volume, 1);
    },
    work: (driver, { volume }) => driver.delete(volume, call),
    left: () => new Map(),
  },
];

// Minutes: for `LAB_LONG=1`.
describe.runIf(process.env['LAB_LONG'] === '1').each(['thin', 'thick'] as const)(
  '%s volumes, when the service dies after any command',
  (provisioning) => {
    let group: VolumeGroup;
    const installationId = systemRandom.uuid();
    beforeAll(async () => {
      group = await volumeGroup({ name: provisioning });
    });
    afterAll(() => group[Symbol.asyncDispose]());
    // What a failed test has left would fail the next one.
    afterEach(async () => {
      const { stdout } = await run('lvs', ['--noheadings', '--options', 'lv_name', '--select', 'lv_tags=scoria', group.name], {
        must: true,
      });
      const left = stdout
        .split('\n')
        .map((line) => line.trim())
        .filter((name) => name !== '' && name !== 'scoria-pool');
      if (left.length > 0) await run('lvremove', ['--yes', '--force', ...left.map((name) => `${group.name}/${name}`)]);
    });

    async function started(exec: Exec): Promise<LvmDriver> {
      const config = lvmConfigSchema.parse({ volumeGroups: [group.name], provisioning, thinPool: { size: 256 * 1024 ** 2 } });
      const driver = new LvmDriver({ config, installationId, clock: systemClock, random: systemRandom, log: silentLog, exec });
      await driver.check(call);
      return driver;
    }

    const object = (): BackendObject => ({ placementId: systemRandom.uuid(), pool: group.name, backendRef: null, size });

    /** Does a verb, lets the process die after a number of changes, and does it again in the next one. */
    async function interrupted(verb: Verb, dies: number): Promise<void> {
      const world: World = { driver: await started(system), volume: object(), snapshot: object(), copy: object() };
      await verb.prepare(world);
      const exec = new MortalExec();
      const driver = await started(exec);
      const died = exec.dieAfter(dies);
      expect(await Promise.race([verb.work(driver, world).then(() => 'done'), died])).toBe('died');
      await afterwards(verb, world);
    }

    /** The next process repeats the verb, finds everything as it should be, and can remove it. */
    async function afterwards(verb: Verb, world: World): Promise<void> {
      const driver = await started(system);
      const result = await verb.work(driver, world);
      const left = verb.left(world, result);
      const listed = new Set<string>();
      for await (const { placementId } of driver.list(call)) listed.add(placementId);
      expect(listed).toEqual(new Set([...left.keys()].map(({ placementId }) => placementId)));
      for (const [each, byte] of left) {
        if (byte === undefined) continue;
        await using file = await open((await driver.locate(each, call)).path, 'r');
        const { buffer } = await file.read(Buffer.alloc(size), 0, size, 0);
        expect(buffer.equals(Buffer.alloc(size, byte))).toBe(true);
      }
      if (left.has(world.copy)) await driver.delete(world.copy, call);
      if (left.has(world.snapshot)) await driver.deleteSnapshot(world.snapshot, call);
      if (left.has(world.volume)) await driver.delete(world.volume, call);
      const { stdout } = await run('lvs', ['--noheadings', '--options', 'lv_name', group.name], { must: true });
      expect(stdout.trim()).toBe(provisioning === 'thin' ? 'scoria-pool' : '');
    }

    const possible = verbs.filter(({ layout = provisioning }) => layout === provisioning);
    test.each(possible)(
      '$name is done by the next process',
      async (verb) => {
        const exec = new MortalExec();
        const driver = await started(exec);
        const world: World = { driver, volume: object(), snapshot: object(), copy: object() };
        await verb.prepare(world);
        const before = exec.changes;
        await verb.work(driver, world);
        const changes = exec.changes - before;
        expect(changes).toBeGreaterThan(0);
        await afterwards(verb, world);
        for (let dies = 1; dies <= changes; dies++) await interrupted(verb, dies);
      },
      300_000,
    );
  },
);
