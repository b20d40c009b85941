import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BackendState,
  type BlockStorage,
  type BlockStorageOptions,
  defaultReconciliationSettings,
  findingStates,
  type Plugin,
  type PluginCall,
  type PoolReport,
  ScoriaError,
  type Store,
  silentLog,
  systemRandom,
} from '@scoria/core';
import { MemoryBackend, MemoryObject } from '@scoria/driver-memory';
import capabilitiesFilter from '@scoria/scheduler-weighers/capabilities-filter';
import { createSqliteStore } from '@scoria/store-sql';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../packages/core/test/manual-clock.ts';
import { caller, memoryInstance } from './instance.ts';
import { RecordingTransport, recordingTransport } from './recording-transport.ts';
import { scriptedDriver, untilAborted } from './scripted-driver.ts';

const mib = 2 ** 20;
const root = caller('root', true);
const interval = 10_000;
const startPatience = 7_000;
/** Time that core gives a driver to answer. */
const patience = 60_000;
const sweep = 5_000;
const host1 = { initiator: 'iqn.2026-11.test:host1', host: 'host1' };
const eventually = (expectation: () => Promise<void>) => vi.waitFor(expectation, { timeout: 10_000, interval: 5 });
const never = () => new Promise<never>(() => {});

/** What a backend does before it answers. */
type Answer = (verb: 'check' | 'pools' | 'list' | 'locate', call: PluginCall) => Promise<void> | void;

function answering(
  backend: MemoryBackend,
  answer: Answer,
  tell: (reports: readonly PoolReport[]) => readonly PoolReport[],
): Plugin<'driver'> {
  const plugin = scriptedDriver(backend, () => {});
  return {
    ...plugin,
    create: (context) => {
      const driver = plugin.create(context);
      const check: typeof driver.check = async (call) => {
        await answer('check', call);
        return driver.check(call);
      };
      const pools: typeof driver.pools = async (call) => {
        await answer('pools', call);
        return tell(await driver.pools(call));
      };
      const list: typeof driver.list = async function* (call) {
        await answer('list', call);
        yield* driver.list(call);
      };
      const locate: typeof driver.locate = async (object, call) => {
        await answer('locate', call);
        return driver.locate(object, call);
      };
      return { ...driver, check, pools, list, locate };
    },
  };
}

const damaged = () => {
  throw new ScoriaError('backend-failed', 'Volume group fast lacks 1 of its physical volumes', {
    remedy: 'Bring the disk back.',
  });
};

describe('a backend in trouble', () => {
  let directory: string;
  let clock: ManualClock;
  let transport: RecordingTransport;
  let arrays: Record<'sound' | 'weak', MemoryBackend>;
  /** What `weak` does. */
  let answer: Answer;
  /** What `weak` says of its pools. */
  let tell: (reports: readonly PoolReport[]) => readonly PoolReport[];
  let store: Store;
  let storage: BlockStorage;
  let running = false;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'scoria-backends-'));
    clock = new ManualClock();
    transport = new RecordingTransport();
    arrays = {
      sound: new MemoryBackend({ backendId: systemRandom.uuid() }),
      weak: new MemoryBackend({ backendId: systemRandom.uuid() }),
    };
    answer = () => {};
    tell = (reports) => reports;
  });
  afterEach(async () => {
    await stop();
    rmSync(directory, { recursive: true });
  });

  /** A start of the service on what an earlier one left. */
  async function start(options: Partial<BlockStorageOptions> = {}): Promise<void> {
    transport.exports.clear();
    store = createSqliteStore({ path: join(directory, 'scoria.db') });
    storage = await memoryInstance({
      store,
      clock,
      plugins: {
        backends: {
          sound: { plugin: scriptedDriver(arrays.sound, () => {}), transport: 'wire' },
          weak: {
            plugin: answering(
              arrays.weak,
              (verb, call) => answer(verb, call),
              (reports) => tell(reports),
            ),
            transport: 'wire',
          },
        },
        transports: { wire: { plugin: recordingTransport(transport) } },
        filters: [{ plugin: capabilitiesFilter }],
      },
      worker: { retryPauses: [], drain: 0, sweep },
      settings: { host: 'host', reportInterval: interval, startPatience },
      ...options,
    });
    running = true;
  }
  /** A start that `weak` keeps waiting until it loses patience. */
  async function startWithoutWeak(): Promise<void> {
    clock.advance(1);
    const starting = start();
    await eventually(async () => expect((await seen()).get('sound')).toBe(clock.now()));
    clock.advance(startPatience);
    await starting;
  }
  async function stop(): Promise<void> {
    if (running) await storage.stop();
    running = false;
  }
  /** When the store last heard of each backend. */
  const seen = async () => new Map((await store.reading.backends.list()).map(({ name, reportedAt }) => [name, reportedAt]));
  const states = async () => new Map((await storage.backends.list(root)).map((state) => [state.name, state]));
  async function weak(): Promise<BackendState> {
    const found = (await states()).get('weak');
    if (!found) throw new Error('the backend is not told of');
    return found;
  }
  async function serviceOf(name: string) {
    return (await storage.services.list(root)).find(({ host }) => host === `host@${name}`);
  }
  /** Lets one interval pass, and waits for the report of `sound`. */
  async function nextReport(): Promise<void> {
    clock.advance(interval);
    await eventually(async () => expect((await seen()).get('sound')).toBe(clock.now()));
  }
  async function volume(name: string): Promise<string> {
    const made = await storage.volumes.create(root, { size: mib, volumeType: name });
    await storage.operations.wait(made.operationId, patience);
    return made.volume.id;
  }
  async function types(): Promise<void> {
    for (const name of ['sound', 'weak']) {
      await storage.volumeTypes.create(root, { name, extraSpecs: { volume_backend_name: name } });
    }
  }

  it('that never answers keeps neither the start nor the reports of others waiting, and is told to be down', async () => {
    answer = never;
    await startWithoutWeak();
    const began = clock.now() - startPatience;
    expect((await states()).get('sound')).toMatchObject({ state: 'up', fault: null, since: began });
    expect(await weak()).toMatchObject({
      host: 'host@weak',
      id: null,
      state: 'down',
      fault: { code: 'backend-unavailable', message: expect.stringContaining('has not answered') },
      since: began,
      reportedAt: null,
      pools: [],
    });
    for (let count = 0; count < 3; count += 1) await nextReport();
    expect(await volume('__DEFAULT__')).toEqual(expect.any(String));

    // Its deadline, and the next try.
    clock.advance(began + patience - clock.now());
    const hung = { fault: { code: 'deadline-exceeded' }, since: began, reportedAt: began + patience };
    await eventually(async () => expect(await weak()).toMatchObject(hung));
    answer = () => {};
    clock.advance(interval);
    await eventually(async () => expect(await weak()).toMatchObject({ state: 'up', fault: null, since: clock.now() }));
    expect((await weak()).id).toBe(arrays.weak.backendId);
  });

  it('whose storage was never read is seen to be down as a service, and can be disabled before it comes', async () => {
    answer = damaged;
    await start();
    expect(await serviceOf('weak')).toMatchObject({ binary: 'cinder-volume', state: 'down' });
    expect(await serviceOf('sound')).toMatchObject({ binary: 'cinder-volume', state: 'up' });
    await storage.services.setEnabled(root, 'cinder-volume', 'host@weak', false, 'disks on their way');
    expect(await weak()).toMatchObject({ enabled: false, disabledReason: 'disks on their way' });
    answer = () => {};
    await nextReport();
    await eventually(async () => expect((await weak()).state).toBe('up'));
    expect(await weak()).toMatchObject({ enabled: false, disabledReason: 'disks on their way' });
    expect(await serviceOf('weak')).toMatchObject({ state: 'up', enabled: false });
  });

  it("is told in its driver's words while it lasts, also after a restart, and no longer", async () => {
    await start();
    await types();
    const id = await volume('weak');
    await nextReport();
    answer = damaged;
    clock.advance(interval);
    const began = clock.now();
    const fault = {
      code: 'backend-failed',
      message: 'Volume group fast lacks 1 of its physical volumes',
      remedy: 'Bring the disk back.',
    };
    const down = { id: arrays.weak.backendId, state: 'down', fault, since: began };
    await eventually(async () => expect(await weak()).toMatchObject(down));
    // The volumes that it concerns are counted, though no pool is reported.
    expect((await weak()).pools).toEqual([{ name: 'pool', total: null, free: null, claimed: mib, placements: 1, fault: null }]);
    expect(await serviceOf('weak')).toMatchObject({ state: 'down' });
    await stop();

    // Another process, which does not serve it.
    clock.advance(interval);
    await start({ worker: { roles: ['scheduler'] } });
    expect(await weak()).toMatchObject({ ...down, holdsLimits: false });
    await stop();
    await start();
    expect(await weak()).toMatchObject(down);
    answer = () => {};
    clock.advance(interval);
    await eventually(async () => expect(await weak()).toMatchObject({ state: 'up', fault: null, since: clock.now() }));
    expect((await weak()).pools).toMatchObject([{ name: 'pool', total: expect.any(Number), placements: 1 }]);
    expect((await serviceOf('weak'))?.state).toBe('up');
    await storage.operations.wait((await storage.volumes.delete(root, id)).operationId, patience);
  });

  it('takes no work meanwhile, and goes on with it when it is back', async () => {
    await start();
    await types();
    const id = await volume('weak');
    answer = damaged;
    await nextReport();
    await eventually(async () => expect((await weak()).state).toBe('down'));
    const { operationId } = await storage.volumes.delete(root, id);
    await nextReport();
    expect(await storage.operations.get(root, operationId)).toMatchObject({ status: 'running', attempts: 0 });
    answer = () => {};
    await nextReport();
    await eventually(async () => expect((await weak()).state).toBe('up'));
    clock.advance(sweep);
    await storage.operations.wait(operationId, patience);
    expect(arrays.weak.objects.size).toBe(0);
  });

  it('that comes late has its accesses published before it is in service, and its work goes on', async () => {
    await start();
    await types();
    const attached = await volume('weak');
    await storage.attachments.create(root, { volumeId: attached, connector: host1 });
    const exports = [...transport.exports.keys()];
    expect(exports).toHaveLength(1);
    const doomed = await volume('weak');
    await stop();

    const ready = Promise.withResolvers<void>();
    answer = () => ready.promise;
    await startWithoutWeak();
    // Nothing is placed there, however short ago it was well.
    await expect(volume('weak')).rejects.toMatchObject({
      code: 'no-valid-backend',
      message: expect.stringContaining('weak has not answered'),
    });
    const { operationId } = await storage.volumes.delete(root, doomed);
    await nextReport();
    expect([...transport.exports.keys()]).toEqual([]);
    ready.resolve();
    await eventually(async () => expect((await weak()).state).toBe('up'));
    expect([...transport.exports.keys()]).toEqual(exports);
    clock.advance(sweep);
    await storage.operations.wait(operationId, patience);
    expect(arrays.weak.objects.size).toBe(1);
  });

  it('that comes late leaves alone what was published meanwhile for others of its transport', async () => {
    await start();
    await types();
    const attached = await volume('weak');
    await storage.attachments.create(root, { volumeId: attached, connector: host1 });
    const other = await volume('sound');
    await stop();

    const [asked, ready] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const realExport = transport.export.bind(transport);
    transport.export = async (request) => {
      if (request.volumeId === attached) {
        asked.resolve();
        await ready.promise;
      }
      return realExport(request);
    };
    await startWithoutWeak();
    await asked.promise;
    await storage.attachments.create(root, { volumeId: other, connector: host1 });
    ready.resolve();
    await eventually(async () => expect((await weak()).state).toBe('up'));
    expect([...transport.exports.values()].map(({ volumeId }) => volumeId).toSorted()).toEqual([attached, other].toSorted());
  });

  describe('that comes late while a volume moves away', () => {
    let attached: string;
    let placementId: string;
    const ready = () => eventually(async () => expect((await weak()).state).toBe('up'));

    /** Starts anew; the books name another place for the volume while its old one is being published. @param there - whether it is there. */
    async function moveMeanwhile(there: boolean): Promise<void> {
      await start();
      await types();
      attached = await volume('weak');
      await storage.attachments.create(root, { volumeId: attached, connector: host1 });
      await stop();
      const come = Promise.withResolvers<void>();
      answer = () => come.promise;
      await startWithoutWeak();
      placementId = systemRandom.uuid();
      const { backendId, pools, objects } = arrays.sound;
      const [pool] = [...pools.values()];
      if (there) objects.set(placementId, new MemoryObject({ kind: 'volume', placementId, size: mib }, pool!));
      const realExport = transport.export.bind(transport);
      transport.export = async (request) => {
        transport.export = realExport;
        await realExport(request);
        const now = clock.now();
        await store.transaction(async ({ placements, volumes, accesses }) => {
          const { placementId: old } = await volumes.get('every-project', attached);
          const { id: _, ...before } = await placements.get(old ?? '');
          await placements.insert({ ...before, id: placementId, backendId, backendRef: placementId, createdAt: now });
          await volumes.update('every-project', attached, { placementId }, now);
          await accesses.movePlacement(attached, placementId);
        });
      };
      come.resolve();
    }

    it('has its accesses published at the new place', async () => {
      await moveMeanwhile(true);
      await ready();
      const published = [...transport.exports.values()];
      expect(published).toMatchObject([{ volumeId: attached, device: { path: expect.stringContaining(placementId) } }]);
    });

    it('has nothing published at the old place when the new one cannot be', async () => {
      await moveMeanwhile(false);
      await ready();
      expect([...transport.exports.keys()]).toEqual([]);
    });
  });

  it('is told by an audit, which has the others all the same', async () => {
    await start();
    const well = { backend: 'sound', unknown: [], missing: [], failure: null };
    const audit = async () => (await storage.audits.run(root)).backends;
    expect(await audit()).toEqual([well, { ...well, backend: 'weak' }]);

    const asked = Promise.withResolvers<void>();
    answer = (verb) => {
      if (verb !== 'list') return undefined;
      asked.resolve();
      return never();
    };
    const hanging = audit();
    await asked.promise;
    for (let count = 0; count < 12; count += 1) await nextReport();
    const unknown = { backend: 'weak', unknown: null, missing: null };
    expect(await hanging).toMatchObject([well, { ...unknown, failure: { code: 'deadline-exceeded' } }]);

    answer = damaged;
    await nextReport();
    await eventually(async () => expect(await weak()).toMatchObject({ fault: { code: 'backend-failed' } }));
    const { fault } = await weak();
    expect(await audit()).toEqual([well, { ...unknown, failure: fault }]);
  });

  it('is not waited for by an audit that nobody wants any more', async () => {
    await start();
    answer = (verb) => (verb === 'list' ? never() : undefined);
    transport.list = never;
    const leaving = new AbortController();
    const audit = storage.audits.run(root, leaving.signal);
    leaving.abort(new Error('the caller has gone'));
    await expect(audit).rejects.toThrow('the caller has gone');
  });

  it('whose listing hangs keeps the reconciler from no other one', async () => {
    await start();
    const [scopeOfSound, scopeOfWeak] = [arrays.sound, arrays.weak].map(({ backendId }) => `backend/${backendId}`);
    const [pool] = arrays.sound.pools.values();
    const placementId = systemRandom.uuid();
    if (pool) arrays.sound.objects.set(placementId, new MemoryObject({ kind: 'volume', placementId, size: mib }, pool));
    let listings = 0;
    answer = (verb) => {
      if (verb !== 'list') return undefined;
      listings += 1;
      return never();
    };
    // In steps, as no driver is to lose patience.
    const tick = async () => {
      for (let passed = 0; passed < 5 * 60_000; passed += interval) await nextReport();
    };
    const seenTimes = async () => (await storage.reconciler.findings(root)).map(({ kind, passes }) => [kind, passes]);
    clock.advance(defaultReconciliationSettings.firstRun);
    await eventually(async () => expect(await seenTimes()).toEqual([['unknown-object', 1]]));
    await tick();
    await eventually(async () => expect(await seenTimes()).toEqual([['unknown-object', 2]]));
    const results = async () => {
      const run = await storage.reconciler.lastRun(root);
      return run?.passes.map(({ scope, result }) => [scope, result]);
    };
    await eventually(async () =>
      expect(await results()).toEqual([
        [scopeOfSound, 'done'],
        [scopeOfWeak, 'left'],
        [expect.stringMatching(/^transport/), 'done'],
        ['catalogue', 'done'],
      ]),
    );
    expect(listings).toBe(1);

    const last = clock.now();
    answer = () => {};
    // The listing is given up.
    for (let passed = 0; passed < 3 * 60_000; passed += interval) await nextReport();
    await eventually(async () => expect(await results()).toContainEqual([scopeOfWeak, 'failed']));
    expect((await storage.reconciler.lastRun(root))?.startedAt).toBe(last);
    const evidence = { backend: 'weak', code: 'deadline-exceeded' };
    expect(await storage.reconciler.findings(root, { kind: 'unlisted-backend' })).toMatchObject([{ state: 'open', evidence }]);
    await tick();
    await eventually(async () => expect(await results()).toContainEqual([scopeOfWeak, 'done']));
    expect(await storage.reconciler.findings(root, { kind: 'unlisted-backend' })).toEqual([]);
  });

  it('comes into service also when its transport cannot end what it has published for nobody', async () => {
    const accessId = systemRandom.uuid();
    const list = transport.list.bind(transport);
    const stray = { accessId, volumeId: systemRandom.uuid(), readOnly: false, complete: true, sessions: [] };
    transport.list = async () => [...(await list()), stray];
    const asked: string[] = [];
    transport.unexport = async (id) => {
      asked.push(id);
      throw new ScoriaError('transport-failed', 'The session does not end.');
    };
    await start();
    expect([...(await states()).values()].map(({ state }) => state)).toEqual(['up', 'up']);
    expect(new Set(asked)).toEqual(new Set([accessId]));
  });

  it('that has lost a pool says so to who wants more of it', async () => {
    await start();
    await types();
    const id = await volume('weak');
    tell = () => [];
    await nextReport();
    await eventually(async () => expect((await weak()).pools).toMatchObject([{ total: null, placements: 1 }]));
    const { operationId } = await storage.volumes.extend(root, id, 2 * mib);
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({
      code: 'no-valid-backend',
      message: expect.stringContaining('host@weak#pool: its backend does not report it (service)'),
    });
  });

  it('whose look is broken off by a stop has its findings unchanged', async () => {
    await start();
    await types();
    await volume('weak');
    arrays.weak.objects.clear();
    const findings = () => storage.reconciler.findings(root, { kind: 'missing-object', states: findingStates });
    await storage.reconciler.run(root);
    expect(await findings()).toMatchObject([{ state: 'open' }]);
    const asked = Promise.withResolvers<void>();
    answer = (verb, call) => {
      if (verb !== 'locate') return undefined;
      asked.resolve();
      return untilAborted(call);
    };
    const broken = storage.reconciler.run(root);
    await asked.promise;
    await Promise.all([stop(), expect(broken).rejects.toMatchObject({ message: 'The service is stopping.' })]);
    answer = () => {};
    await start();
    expect(await findings()).toMatchObject([{ state: 'open' }]);
  });

  it('that is the storage of another one is refused, however both begin at once', async () => {
    arrays.weak = arrays.sound;
    await start();
    const told = [...(await states()).values()];
    expect(told.map(({ state }) => state).toSorted()).toEqual(['down', 'up']);
    expect(told.find(({ state }) => state === 'down')?.fault).toMatchObject({ code: 'invalid-configuration' });
  });

  it('of which nobody has told for long is down, and the last sign of life is told', async () => {
    await start();
    await stop();
    clock.advance(7 * interval);
    await start({ worker: { roles: ['scheduler'] } });
    expect(await weak()).toMatchObject({
      state: 'down',
      fault: { code: 'backend-unavailable', message: expect.stringContaining('host@weak for 70 s') },
      since: 0,
      reportedAt: 0,
    });
    expect(await storage.pools.list(root)).toEqual([]);
    expect(await storage.pools.availabilityZones()).toEqual([{ name: 'nova', available: false }]);
  });

  it('is audited also while an access loses its placement', async () => {
    await start();
    await types();
    const volumeId = await volume('weak');
    await storage.attachments.create(root, { volumeId, connector: host1 });
    const [access] = await store.reading.accesses.ofVolume(volumeId);
    transport.exports.clear();
    expect((await storage.audits.run(root)).transports).toMatchObject([{ failure: null, missing: [access?.id] }]);
    await store.transaction(({ placements }) => placements.remove(access?.placementId ?? ''));
    expect((await storage.audits.run(root)).transports).toMatchObject([{ failure: null, missing: [] }]);
  });

  describe('with one pool in trouble', () => {
    const fault = {
      code: 'backend-unavailable' as const,
      message: 'Volume group slow lacks 1 of its physical volumes',
      remedy: 'Bring the disk back.',
    };
    const slow = async () => (await weak()).pools.find(({ name }) => name === 'slow');
    let told: [level: string, message: string, fields: object][];
    const tellSlow = (trouble: PoolReport['fault']) => {
      tell = (reports) => reports.map((report) => (report.name === 'slow' ? { ...report, fault: trouble } : report));
    };

    beforeEach(() => {
      const pools = ['slow', 'fast'].map((name) => ({ name, total: 2 ** 30, thin: true, maxOverSubscription: 2, reserved: 0 }));
      arrays.weak = new MemoryBackend({ backendId: systemRandom.uuid(), pools });
      told = [];
    });
    const startTelling = () =>
      start({
        log: {
          ...silentLog,
          error: (fields, message) => void told.push(['error', message, fields]),
          info: (fields, message) => void told.push(['info', message, fields]),
        },
      });
    const toldOfPools = () => told.filter(([, message]) => message.startsWith('pool'));

    it('tells why, since when and what to do, also after a restart, and once in the log', async () => {
      await startTelling();
      expect(await slow()).toMatchObject({ fault: null, total: 2 ** 30 });
      tellSlow(fault);
      await nextReport();
      const since = clock.now();
      const out = { name: 'slow', total: null, free: null, claimed: 0, placements: 0, fault: { ...fault, since } };
      await eventually(async () => expect(await slow()).toEqual(out));
      expect(await weak()).toMatchObject({ state: 'up', fault: null });
      for (let count = 0; count < 3; count += 1) await nextReport();
      await eventually(async () => expect((await weak()).reportedAt).toBe(clock.now()));
      const pool = { backend: 'weak', pool: 'slow' };
      expect(toldOfPools()).toEqual([['error', 'pool out of service', { ...pool, ...fault, since }]]);
      await stop();

      await startTelling();
      expect(await slow()).toEqual(out);
      tellSlow(undefined);
      await nextReport();
      await eventually(async () => expect(await slow()).toMatchObject({ fault: null, total: 2 ** 30 }));
      expect(toldOfPools().at(-1)).toEqual(['info', 'pool in service', pool]);
    });

    it('places nothing there, and says why; the other pools take volumes', async () => {
      tellSlow(fault);
      await start();
      await types();
      for (let count = 0; count < 4; count += 1) await volume('weak');
      expect((await weak()).pools).toMatchObject([
        { name: 'slow', placements: 0 },
        { name: 'fast', placements: 4 },
      ]);
      await storage.services.setEnabled(root, 'cinder-volume', 'host@sound', false);
      const refused = {
        code: 'no-valid-backend',
        message: expect.stringContaining('host@weak#slow: Volume group slow lacks 1 of its physical volumes (service)'),
      };
      tell = (reports) => reports.map((report) => ({ ...report, fault }));
      await nextReport();
      await eventually(async () => expect((await weak()).reportedAt).toBe(clock.now()));
      await expect(storage.operations.plan(root, (dry) => storage.volumes.create(dry, { size: mib }))).rejects.toMatchObject(
        refused,
      );
      await expect(volume('weak')).rejects.toMatchObject(refused);
    });
  });

  it('is for administrators alone to see', async () => {
    await start();
    await expect(storage.backends.list(caller('alice'))).rejects.toMatchObject({ code: 'not-permitted' });
  });

  it('is what the store is not: a store that fails takes no backend out of service', async () => {
    const told: string[] = [];
    await start({ log: { ...silentLog, error: (_fields, message) => void told.push(message) } });
    await types();
    await storage.attachments.create(root, { volumeId: await volume('weak'), connector: host1 });
    const since = (await weak()).since;
    transport.exports.clear();
    const failing = vi.spyOn(store, 'transaction').mockRejectedValue(new Error('The disk of the database is full.'));
    clock.advance(interval);
    await eventually(async () => expect(told.filter((each) => each === 'a report could not be noted')).toHaveLength(2));
    failing.mockRestore();
    await nextReport();
    await eventually(async () =>
      expect(await weak()).toMatchObject({ state: 'up', fault: null, since, reportedAt: clock.now() }),
    );
    expect(told).not.toContain('backend out of service; it is tried again');
    // It did not have to come back.
    expect(transport.exports.size).toBe(0);
  });

  it('is not waited for when the service stops', async () => {
    answer = never;
    await startWithoutWeak();
    const before = clock.now();
    await stop();
    expect(clock.now()).toBe(before);
  });
});
