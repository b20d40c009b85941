import {
  type BlockStorage,
  type Clock,
  defaultReconciliationSettings,
  type ReconciliationReport,
  type ReconciliationSettings,
  type Store,
  systemClock,
  systemRandom,
  ScoriaError,
} from '@scoria/core';
import { MemoryBackend, MemoryObject, memoryDriver } from '@scoria/driver-memory';
import capabilitiesFilter from '@scoria/scheduler-weighers/capabilities-filter';
import { createSqliteStore } from '@scoria/store-sql';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { caller, memoryInstance } from './instance.ts';
import { MirroringTransport } from './mirroring-transport.ts';
import { recordingTransport } from './recording-transport.ts';
import { scriptedDriver, untilAborted, type Script } from './scripted-driver.ts';

const mib = 2 ** 20;
const minute = 60_000;
const hour = 60 * minute;
const alice = caller('alice');
const root = caller('root', true);
const patience = 10_000;
const host1 = { initiator: 'iqn.2026-11.test:host1', host: 'host1' };

/** The machine's clock, whose wall time a test moves on. */
class MovedClock implements Clock {
  ahead = 0;
  now = () => systemClock.now() + this.ahead;
  monotonic = () => systemClock.monotonic();
  sleep = (ms: number, signal?: AbortSignal) => systemClock.sleep(ms, signal);
  timer = (ms: number, fn: () => void) => systemClock.timer(ms, fn);
}

describe('the reconciler', () => {
  let storage: BlockStorage;
  let store: Store;
  let clock: MovedClock;
  let transport: MirroringTransport;
  let arrays: Record<'old' | 'new', MemoryBackend>;
  let script: Script;
  /** Number of objects after which a listing of `old` breaks off. */
  let breaksAfter: number | null;
  /** What `old` says that it is, when it does not tell the truth. */
  let claims: string | null;
  /** Placements that listings of `old` leave out. */
  const hidden = new Set<string>();

  async function start(settings: Partial<ReconciliationSettings> = {}) {
    arrays = {
      old: new MemoryBackend({ backendId: systemRandom.uuid() }),
      new: new MemoryBackend({ backendId: systemRandom.uuid() }),
    };
    const both = memoryDriver({ backend: (name) => arrays[name === 'old' ? 'old' : 'new'] });
    transport = new MirroringTransport(both.devices['memory']!);
    const listed = (name: 'old' | 'new') => {
      const plugin = scriptedDriver(both, (verb, id, call) => script(verb, id, call));
      const create: typeof plugin.create = (context) => {
        const driver = plugin.create(context);
        async function* list(call: Parameters<typeof driver.list>[0]) {
          let count = 0;
          for await (const object of driver.list(call)) {
            if (name === 'old' && hidden.has(object.placementId)) continue;
            if (name === 'old' && breaksAfter !== null && count++ >= breaksAfter) throw new Error('connection lost');
            yield object;
          }
        }
        const check: typeof driver.check = async (call) =>
          name === 'old' && claims !== null ? { backendId: claims } : driver.check(call);
        return { ...driver, list, check };
      };
      return { ...plugin, create };
    };
    store = createSqliteStore({ path: ':memory:' });
    storage = await memoryInstance({
      store,
      clock,
      plugins: {
        backends: {
          old: { plugin: listed('old'), transport: 'wire' },
          new: { plugin: listed('new'), transport: 'wire' },
        },
        transports: { wire: { plugin: recordingTransport(transport) } },
        filters: [{ plugin: capabilitiesFilter }],
      },
      worker: { retryPauses: [1], drain: 0 },
      settings: { host: 'host', reconciliation: { ...defaultReconciliationSettings, interval: null, ...settings } },
    });
    for (const name of ['old', 'new']) {
      await storage.volumeTypes.create(root, { name, extraSpecs: { volume_backend_name: name } });
    }
  }

  beforeEach(async () => {
    clock = new MovedClock();
    script = () => {};
    breaksAfter = null;
    claims = null;
    hidden.clear();
    await start();
  });
  afterEach(() => storage.stop());

  async function volume(): Promise<string> {
    const made = await storage.volumes.create(alice, { size: mib, volumeType: 'old' });
    await storage.operations.wait(made.operationId, patience);
    return made.volume.id;
  }
  /** Runs, and waits for the operations that the run began. */
  async function run(): Promise<ReconciliationReport> {
    const report = await storage.reconciler.run(root);
    for (const { operationId, actedAt } of report.findings) {
      if (operationId !== null && actedAt !== null && actedAt >= report.run.startedAt)
        await storage.operations.wait(operationId, patience).catch(() => {});
    }
    return report;
  }
  async function runs(count: number, pause = 0): Promise<ReconciliationReport> {
    for (let index = 1; index < count; index += 1) {
      await run();
      clock.ahead += pause;
    }
    return run();
  }
  const kinds = async () => (await storage.reconciler.findings(root)).map(({ kind, state }) => `${kind} ${state}`);
  /** Bytes that are claimed of each pool. */
  const claimed = async () => (await storage.backends.list(root)).flatMap(({ pools }) => pools.map((pool) => pool.claimed));
  const ended = () => storage.reconciler.findings(root, { states: ['mended', 'gone'] });
  /** An object on a backend of which no placement tells. */
  function leave(array: MemoryBackend, placementId: string = systemRandom.uuid()): string {
    const [pool] = [...array.pools.values()];
    array.objects.set(placementId, new MemoryObject({ kind: 'volume', placementId, size: mib }, pool!));
    return placementId;
  }
  /** An object whose placement the store has removed. */
  async function leaveBehind(array: MemoryBackend): Promise<string> {
    const id = await volume();
    const [placementId] = [...array.objects.keys()];
    const { operationId } = await storage.volumes.delete(alice, id);
    await storage.operations.wait(operationId, patience);
    return leave(array, placementId);
  }

  it('has nothing to say of what is well, and removes nothing', async () => {
    const id = await volume();
    const { operationId } = await storage.snapshots.create(alice, { volumeId: id });
    await storage.operations.wait(operationId, patience);
    await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    const { run: last } = await runs(4, hour);
    expect(await storage.reconciler.findings(root)).toEqual([]);
    expect(last.passes.map(({ result }) => result)).toEqual(['done', 'done', 'done', 'done']);
    expect(await storage.reconciler.lastRun(root)).toEqual(last);
    expect(arrays.old.objects.size).toBe(2);
    await expect(storage.reconciler.run(alice)).rejects.toMatchObject({ code: 'not-permitted' });
  });

  describe('garbage on a backend', () => {
    it('is marked, and removed in a later pass', async () => {
      const id = await leaveBehind(arrays.old);
      await run();
      expect(await kinds()).toEqual(['unknown-object marked']);
      await runs(3, 2 * minute);
      expect(arrays.old.objects.has(id)).toBe(true);
      clock.ahead += 10 * minute;
      const { findings } = await run();
      expect(findings).toMatchObject([{ kind: 'unknown-object', subjectId: id, actions: 1, evidence: { remembered: true } }]);
      expect(arrays.old.objects.size).toBe(0);
      await run();
      expect(await kinds()).toEqual([]);
      expect(await ended()).toMatchObject([{ kind: 'unknown-object', state: 'mended' }]);
      expect(await claimed()).toEqual([0, 0]);
    });

    it('is not removed before three passes have seen it, however late they come', async () => {
      await leaveBehind(arrays.old);
      await runs(2, 1000 * hour);
      expect(arrays.old.objects.size).toBe(1);
      await run();
      expect(arrays.old.objects.size).toBe(0);
    });

    it('of which the store never knew stays for a week: the store may be an old copy', async () => {
      leave(arrays.old);
      await runs(5, 24 * hour);
      expect(arrays.old.objects.size).toBe(1);
      await runs(5, 24 * hour);
      expect(arrays.old.objects.size).toBe(0);
    });

    it('stays for good when it was to be taken over: a process that came back late may have done that', async () => {
      const { old } = arrays;
      let placementId = '';
      script = (verb, id) => {
        if (verb !== 'manage') return;
        placementId = id;
        throw new ScoriaError('not-supported', 'The array is asked too late.');
      };
      const { operationId } = await storage.managedVolumes.manage(root, {
        host: 'host@old',
        reference: 'theirs',
        volumeType: 'old',
      });
      await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'not-supported' });
      leave(old, placementId);
      await runs(5, 1000 * hour);
      expect(old.objects.has(placementId)).toBe(true);
      expect(await kinds()).toEqual(['unknown-object open']);
    });

    it('is never judged by a partial listing', async () => {
      const garbage = await leaveBehind(arrays.old);
      await volume();
      breaksAfter = 1;
      const { run: last } = await runs(5, hour);
      expect(last.passes.map(({ result }) => result)).toContain('failed');
      expect(await kinds()).toEqual(['unlisted-backend open']);
      expect(arrays.old.objects.size).toBe(2);
      breaksAfter = null;
      await run();
      expect(await kinds()).toEqual(['unknown-object marked']);
      breaksAfter = 1;
      await runs(5, hour);
      expect(arrays.old.objects.has(garbage)).toBe(true);
    });

    it('is left alone when the backend belongs to another installation', async () => {
      await leaveBehind(arrays.old);
      await runs(2, hour);
      const { installationId } = arrays.old;
      arrays.old.installationId = systemRandom.uuid();
      await runs(4, hour);
      expect(arrays.old.objects.size).toBe(1);
      expect((await kinds()).toSorted()).toEqual(['unknown-object marked', 'unlisted-backend open']);
      arrays.old.installationId = installationId;
      await run();
      expect(arrays.old.objects.size).toBe(0);
    });

    it('is left alone when the backend has become another one', async () => {
      await leaveBehind(arrays.old);
      await runs(2, hour);
      claims = systemRandom.uuid();
      await runs(4, hour);
      expect(arrays.old.objects.size).toBe(1);
      expect((await kinds()).toSorted()).toEqual(['unknown-object marked', 'unlisted-backend open']);
    });

    it('is not removed while an operation runs that began before it was seen', async () => {
      const garbage = await leaveBehind(arrays.old);
      const go = Promise.withResolvers<void>();
      script = (verb) => (verb === 'create' ? go.promise : undefined);
      const { operationId } = await storage.volumes.create(alice, { size: mib, volumeType: 'old' });
      await runs(4, hour);
      expect(arrays.old.objects.has(garbage)).toBe(true);
      go.resolve();
      await storage.operations.wait(operationId, patience);
      await run();
      expect(arrays.old.objects.has(garbage)).toBe(false);
    });

    it('is never a volume that is being made', async () => {
      const made = Promise.withResolvers<void>();
      script = async (verb, placementId, call) => {
        if (verb !== 'create') return;
        leave(arrays.old, placementId);
        made.resolve();
        await untilAborted(call);
      };
      const { operationId } = await storage.volumes.create(alice, { size: mib, volumeType: 'old' });
      await made.promise;
      await runs(5, 100 * hour);
      expect(await kinds()).toEqual([]);
      expect(arrays.old.objects.size).toBe(1);
      await storage.operations.cancel(alice, operationId);
    });
  });

  it('tells of an object that is gone, and deletes nothing', async () => {
    const id = await volume();
    arrays.old.objects.clear();
    await run();
    expect(await storage.reconciler.findings(root)).toMatchObject([
      {
        kind: 'missing-object',
        subjectKind: 'volume',
        subjectId: id,
        command: `openstack volume delete --force ${id}`,
        actions: 0,
      },
    ]);
    expect(await storage.volumes.get(alice, id)).toMatchObject({ status: 'available' });
  });

  it('ends no finding of an object that it did not ask for, there being too many', async () => {
    const id = await volume();
    arrays.old.objects.clear();
    await run();
    const { placementId } = await store.reading.volumes.get('every-project', id);
    const placement = await store.reading.placements.get(placementId ?? '');
    const found = await store.reading.volumes.get('every-project', id);
    // They come before it in the order in which they are asked for.
    await store.transaction(async ({ volumes, placements }) => {
      for (let count = 0; count < 200; count += 1) {
        const other = `00000000-0000-4000-8000-${String(count).padStart(12, '0')}`;
        await placements.insert({ ...placement, id: other, resourceId: other, backendRef: other });
        await volumes.insert({ ...found, id: other, placementId: other });
      }
    });
    await run();
    expect(await store.reading.reconciliation.count(['open'])).toBe(201);
    expect(await ended()).toEqual([]);
  });

  it('does not take an object for gone that a listing only left out', async () => {
    await volume();
    for (const id of arrays.old.objects.keys()) hidden.add(id);
    await runs(3, hour);
    expect(await kinds()).toEqual([]);
  });

  it('removes the copy that a move could not remove, and lets go of its mirror first', async () => {
    const id = await volume();
    transport.failing.add('endMirror target');
    const { operationId } = await storage.moves.migrate(root, id, 'host@new');
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'transport-failed' });
    await run();
    expect(arrays.old.objects.size).toBe(1);
    expect(await kinds()).toEqual(['stray-placement open']);
    transport.failing.clear();
    clock.ahead += hour;
    await run();
    expect(arrays.old.objects.size).toBe(0);
    expect(arrays.new.objects.size).toBe(1);
    await run();
    expect(await ended()).toMatchObject([{ kind: 'stray-placement', state: 'mended' }]);
    expect(await storage.volumes.get(alice, id)).toMatchObject({ hostString: 'host@new#pool' });
    expect((await claimed()).toSorted()).toEqual([0, mib]);
  });

  it('takes neither copy of a volume that is moving for a stray one', async () => {
    const id = await volume();
    const copying = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    transport.onCopy = async () => {
      copying.resolve();
      await go.promise;
    };
    const { operationId } = await storage.moves.migrate(root, id, 'host@new');
    await copying.promise;
    await runs(4, hour);
    expect(await kinds()).toEqual([]);
    go.resolve();
    await storage.operations.wait(operationId, patience);
  });

  describe('exports', () => {
    it('are made again when the target has lost them', async () => {
      const { id } = await storage.attachments.create(alice, { volumeId: await volume(), connector: host1 });
      transport.exports.clear();
      await run();
      expect(transport.exports.size).toBe(1);
      await run();
      expect(await ended()).toMatchObject([{ kind: 'unpublished-access', state: 'mended' }]);
      await storage.attachments.delete(alice, id);
      expect(transport.exports.size).toBe(0);
    });

    it('that are half made are completed, each alone', async () => {
      const attach = async () => storage.attachments.create(alice, { volumeId: await volume(), connector: host1 });
      for (const attached of [await attach(), await attach()]) expect(attached.status).toBe('attaching');
      const [accessId = ''] = transport.exports.keys();
      transport.halfMade.add(accessId);
      transport.calls.length = 0;
      await run();
      expect([...transport.halfMade]).toEqual([]);
      expect(transport.calls).toEqual(['export']);
      await run();
      expect(await ended()).toMatchObject([
        { kind: 'unpublished-access', subjectId: accessId, state: 'mended', evidence: { halfMade: true } },
      ]);
      expect(transport.calls).toEqual(['export']);
    });

    it.each([true, false])('end when they have no access, once they were seen twice (half made: %s)', async (halfMade) => {
      const accessId = systemRandom.uuid();
      if (halfMade) transport.halfMade.add(accessId);
      transport.exports.set(accessId, {
        accessId,
        volumeId: systemRandom.uuid(),
        device: { kind: 'memory', path: 'x', blockSize: 512 },
        readOnly: false,
        secret: '',
      });
      await run();
      expect(transport.exports.size).toBe(1);
      await run();
      expect(transport.exports.size).toBe(0);
      expect(transport.calls).toEqual(['unexport']);
    });

    it('end with their access when no attachment counts on it', async () => {
      const volumeId = await volume();
      await storage.attachments.create(alice, { volumeId, connector: host1 });
      for (const accessId of transport.exports.keys()) transport.halfMade.add(accessId);
      await store.transaction(async ({ attachments, volumes }) => {
        for (const { id } of await attachments.ofVolumes([volumeId])) await attachments.remove(id);
        await volumes.transition('every-project', volumeId, 'attachmentsChanged', 0, { to: 'available' });
      });
      transport.calls.length = 0;
      await run();
      expect(transport.calls).toEqual(['unexport']);
      expect(transport.exports.size).toBe(0);
      expect(await store.reading.accesses.all()).toEqual([]);
    });

    it('end also with an access that somebody began to end, and nobody counts on', async () => {
      const volumeId = await volume();
      await storage.attachments.create(alice, { volumeId, connector: host1 });
      await store.transaction(async ({ attachments, accesses, volumes }) => {
        for (const { id, accessId } of await attachments.ofVolumes([volumeId])) {
          await accesses.setState(accessId ?? '', 'ending');
          await attachments.remove(id);
        }
        await volumes.transition('every-project', volumeId, 'attachmentsChanged', 0, { to: 'available' });
      });
      await run();
      expect([transport.exports.size, await store.reading.accesses.all()]).toEqual([0, []]);
    });

    it('without a session are told after a day', async () => {
      const { id } = await storage.attachments.create(alice, { volumeId: await volume(), connector: host1 });
      await storage.attachments.complete(alice, id);
      await runs(2, 23 * hour);
      expect(await kinds()).toEqual([]);
      clock.ahead += 2 * hour;
      await run();
      expect(await kinds()).toEqual(['silent-attachment open']);
      expect(await storage.attachments.get(alice, id)).toMatchObject({ status: 'attached' });
    });

    it('without a session end after a day, with their attachment, where that is wanted', async () => {
      await storage.stop();
      await start({ endSilent: true });
      const { id } = await storage.attachments.create(alice, { volumeId: await volume(), connector: host1 });
      await run();
      expect(await storage.attachments.get(alice, id)).toMatchObject({ status: 'attaching' });
      clock.ahead += 25 * hour;
      await run();
      await expect(storage.attachments.get(alice, id)).rejects.toMatchObject({ code: 'not-found' });
      expect(transport.exports.size).toBe(0);
    });
  });

  it('ends a reservation that nobody completed', async () => {
    const id = await volume();
    const reserved = await storage.attachments.create(alice, { volumeId: id });
    const older = await volume();
    await storage.connections.reserve(alice, older);
    clock.ahead += 23 * hour;
    await run();
    expect(await storage.attachments.get(alice, reserved.id)).toMatchObject({ status: 'reserved' });
    clock.ahead += 2 * hour;
    await run();
    await expect(storage.attachments.get(alice, reserved.id)).rejects.toMatchObject({ code: 'not-found' });
    for (const each of [id, older]) expect(await storage.volumes.get(alice, each)).toMatchObject({ status: 'available' });
  });

  it('gives what is on its way to nowhere an end', async () => {
    const [deleting, moving] = [await volume(), await volume()];
    const { snapshot, operationId } = await storage.snapshots.create(alice, { volumeId: moving });
    await storage.operations.wait(operationId, patience);
    await store.transaction(async ({ volumes, snapshots }) => {
      await volumes.transition('every-project', deleting, 'delete', 0);
      await volumes.transition('every-project', moving, 'retype', 0);
      await snapshots.transition('every-project', snapshot.id, 'delete', 0);
    });
    await run();
    const statuses = await Promise.all([deleting, moving].map(async (id) => (await storage.volumes.get(alice, id)).status));
    expect(statuses).toEqual(['error_deleting', 'available']);
    expect(await storage.snapshots.get(alice, snapshot.id)).toMatchObject({ status: 'error_deleting' });
  });

  it('only looks in a dry run', async () => {
    const { id } = await storage.attachments.create(alice, { volumeId: await volume(), connector: host1 });
    transport.exports.clear();
    leave(arrays.new);
    const { findings, run: report } = await storage.reconciler.run(root, { dryRun: true });
    expect(findings.map(({ kind }) => kind).toSorted()).toEqual(['unknown-object', 'unpublished-access']);
    expect(report).toMatchObject({ findings: 2, actions: 0 });
    expect(transport.exports.size).toBe(0);
    expect(await storage.reconciler.findings(root, { states: ['open', 'marked', 'watched'] })).toEqual([]);
    expect(await storage.reconciler.lastRun(root)).toBeNull();
    expect(await storage.attachments.get(alice, id)).toMatchObject({ status: 'attaching' });
  });

  it('leaves to another instance what that is at', async () => {
    const scope = `backend/${arrays.old.backendId}`;
    await leaveBehind(arrays.old);
    const until = clock.now() + hour;
    await store.transaction(({ reconciliation }) => reconciliation.lease(scope, 'another', clock.now(), until));
    const { run: report } = await run();
    expect(report.passes.find((pass) => pass.scope === scope)).toMatchObject({ result: 'left' });
    expect(await kinds()).toEqual([]);
    clock.ahead += 2 * hour;
    await run();
    expect(await kinds()).toEqual(['unknown-object marked']);
  });

  it('runs by itself after a start', async () => {
    await storage.stop();
    await start({ interval: 20, firstRun: 1 });
    leave(arrays.new);
    await expect.poll(async () => (await storage.reconciler.findings(root))[0]?.passes ?? 0).toBeGreaterThan(1);
  });
});
