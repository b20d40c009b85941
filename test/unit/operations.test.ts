import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BlockStorage,
  type BlockStorageOptions,
  type Clock,
  definePlugin,
  ScoriaError,
  type Store,
  systemClock,
  systemRandom,
} from '@scoria/core';
import { MemoryBackend } from '@scoria/driver-memory';
import capabilitiesFilter from '@scoria/scheduler-weighers/capabilities-filter';
import { createSqliteStore } from '@scoria/store-sql';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { caller, memoryInstance } from './instance.ts';
import { scriptedDriver, type Script, untilAborted } from './scripted-driver.ts';

const mib = 2 ** 20;
const alice = caller('alice');
const patience = 10_000;
const impatient = { retryPauses: [1, 1], busyPause: 5, sweep: 20, drain: 0 };

describe('durable operations', () => {
  let directory: string;
  let backend: MemoryBackend;
  const running: BlockStorage[] = [];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'scoria-operations-'));
    backend = new MemoryBackend({ backendId: systemRandom.uuid() });
  });
  afterEach(async () => {
    for (const storage of running.splice(0)) await storage.stop();
    rmSync(directory, { recursive: true });
  });

  async function start(script: Script, options: Partial<BlockStorageOptions> = {}): Promise<BlockStorage> {
    const storage = await memoryInstance({
      store: createSqliteStore({ path: join(directory, 'scoria.db') }),
      plugins: { backends: { memory: { plugin: scriptedDriver(backend, script) } } },
      worker: impatient,
      ...options,
    });
    running.push(storage);
    return storage;
  }
  const objects = () => [...backend.objects.keys()];

  it('undoes what failed for good, and tells the user why', async () => {
    const storage = await start((verb) => {
      if (verb === 'create') throw new ScoriaError('device-no-space', 'The array is full.');
    });
    const { volume, operationId } = await storage.volumes.create(alice, { size: mib });
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'device-no-space' });
    expect(await storage.volumes.get(alice, volume.id)).toMatchObject({ status: 'error', placementId: null });
    expect(objects()).toEqual([]);
    const [message] = await storage.messages.list(alice, {});
    expect(message).toMatchObject({
      resourceId: volume.id,
      code: 'device-no-space',
      text: expect.stringContaining('The array is full.'),
    });
    expect(await storage.messages.list(caller('bob'), {})).toEqual([]);
    await storage.operations.wait((await storage.volumes.delete(alice, volume.id)).operationId, patience);
  });

  it('tries again what may pass', async () => {
    let attempts = 0;
    const storage = await start((verb) => {
      attempts += verb === 'create' ? 1 : 0;
      if (verb === 'create' && attempts < 3) throw new ScoriaError('backend-unavailable', 'The array is restarting.');
    });
    const { operationId } = await storage.volumes.create(alice, { size: mib });
    expect(await storage.operations.wait(operationId, patience)).toMatchObject({ status: 'succeeded' });
    expect(attempts).toBe(3);
    expect((await storage.operations.journal(alice, operationId)).map(({ step, event }) => `${step} ${event}`)).toEqual([
      'place done',
      'create start',
      'create failed',
      'create start',
      'create failed',
      'create start',
      'create done',
      'finish done',
      ' ended',
    ]);
  });

  it('takes an error without a code as the backend’s', async () => {
    const storage = await start((verb) => {
      if (verb === 'create') throw new TypeError('undefined is not a function');
    });
    const { operationId } = await storage.volumes.create(alice, { size: mib });
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'backend-failed' });
  });

  it('cancels, and leaves nothing', async () => {
    const reached = Promise.withResolvers<void>();
    const storage = await start(async (verb, _id, call) => {
      if (verb !== 'create') return;
      reached.resolve();
      await untilAborted(call);
    });
    const { volume, operationId } = await storage.volumes.create(alice, { size: mib });
    await reached.promise;
    await storage.operations.cancel(alice, operationId);
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'cancelled' });
    await expect(storage.volumes.get(alice, volume.id)).rejects.toMatchObject({ code: 'not-found' });
    expect(objects()).toEqual([]);
    expect(await storage.messages.list(alice, {})).toEqual([]);
    await expect(storage.operations.cancel(alice, operationId)).rejects.toMatchObject({ code: 'invalid-state' });
  });

  it('goes on where a stopped instance was interrupted', async () => {
    const reached = Promise.withResolvers<string>();
    const first = await start(async (verb, id, call) => {
      if (verb !== 'create') return;
      reached.resolve(id);
      await untilAborted(call);
    });
    const { volume, operationId } = await first.volumes.create(alice, { size: mib });
    const placementId = await reached.promise;
    await running.pop()?.stop();
    const second = await start(() => {});
    expect(await second.operations.wait(operationId, patience)).toMatchObject({ status: 'succeeded' });
    expect(await second.volumes.get(alice, volume.id)).toMatchObject({ status: 'available', placementId });
    expect(objects()).toEqual([placementId]);
  });

  it('takes over from a worker that gives no sign of life, with a higher fencing token', async () => {
    const dead: Clock = { ...systemClock, timer: () => ({ [Symbol.dispose]: () => {} }), sleep: () => new Promise(() => {}) };
    const calls: { placementId: string; fence: number }[] = [];
    const stuck = Promise.withResolvers<void>();
    const late = Promise.withResolvers<void>();
    const store = createSqliteStore({ path: ':memory:' });
    await store.open();
    const shared: Store = {
      open: async () => {},
      close: async () => {},
      installationId: () => store.installationId(),
      reading: store.reading,
      transaction: (work) => store.transaction(work),
    };
    const first = await memoryInstance({
      store: shared,
      plugins: {
        backends: {
          memory: {
            plugin: scriptedDriver(backend, async (verb, placementId, { fence }) => {
              if (verb !== 'create') return;
              calls.push({ placementId, fence });
              stuck.resolve();
              await late.promise;
            }),
          },
        },
      },
      worker: { ...impatient, lease: 50 },
      clock: dead,
    });
    const { volume, operationId } = await first.volumes.create(alice, { size: mib });
    await stuck.promise;
    const takingOver: Script = (verb, placementId, { fence }) => void (verb === 'create' && calls.push({ placementId, fence }));
    const second = await start(takingOver, { store: shared });
    expect(await second.operations.wait(operationId, patience)).toMatchObject({ status: 'succeeded' });
    // The first wakes up after all: it must not move the volume any more.
    late.resolve();
    await second.operations.wait((await second.volumes.delete(alice, volume.id)).operationId, patience);
    await expect(second.volumes.get(alice, volume.id)).rejects.toMatchObject({ code: 'not-found' });
    expect(calls).toHaveLength(2);
    expect(calls[1]?.placementId).toBe(calls[0]?.placementId);
    expect(calls[1]?.fence).toBeGreaterThan(calls[0]?.fence ?? Infinity);
  });

  it('waits for the lease of a dead worker, unless it is alone on its store', async () => {
    const dead: Clock = { ...systemClock, timer: () => ({ [Symbol.dispose]: () => {} }), sleep: () => new Promise(() => {}) };
    const store = createSqliteStore({ path: ':memory:' });
    await store.open();
    const shared: Store = {
      open: async () => {},
      close: async () => {},
      installationId: () => store.installationId(),
      reading: store.reading,
      transaction: (work) => store.transaction(work),
    };
    const reached = Promise.withResolvers<void>();
    const first = await memoryInstance({
      store: shared,
      plugins: {
        backends: {
          memory: {
            plugin: scriptedDriver(backend, async (verb) => {
              if (verb !== 'create') return;
              reached.resolve();
              await new Promise(() => {});
            }),
          },
        },
      },
      clock: dead,
    });
    const { operationId } = await first.volumes.create(alice, { size: mib });
    await reached.promise;
    const second = await start(() => {}, { store: shared });
    expect(await second.operations.get(alice, operationId)).toMatchObject({ status: 'running', fence: 1 });
    await running.pop()?.stop();
    const third = await start(() => {}, { store: shared, worker: { ...impatient, alone: true } });
    expect(await third.operations.wait(operationId, patience)).toMatchObject({ status: 'succeeded', fence: 2 });
  });

  it('keeps a volume whose deletion failed, and deletes it later', async () => {
    let broken = true;
    const storage = await start((verb) => {
      if (verb === 'delete' && broken) throw new ScoriaError('backend-failed', 'The array refuses.');
    });
    const { volume, operationId } = await storage.volumes.create(alice, { size: mib });
    await storage.operations.wait(operationId, patience);
    const failing = await storage.volumes.delete(alice, volume.id);
    await expect(storage.operations.wait(failing.operationId, patience)).rejects.toMatchObject({ code: 'backend-failed' });
    expect(await storage.volumes.get(alice, volume.id)).toMatchObject({ status: 'error_deleting' });
    broken = false;
    await storage.operations.wait((await storage.volumes.delete(alice, volume.id)).operationId, patience);
    expect(objects()).toEqual([]);
  });

  it('deletes what somebody has open when it is free, says meanwhile who has it, and outlives a restart and other faults', async () => {
    let holder = 'somebody';
    let tries = 0;
    const script: Script = (verb) => {
      if (verb !== 'delete') return;
      tries += 1;
      if (tries === 12) throw new ScoriaError('backend-unavailable', 'The array is restarting.');
      if (holder !== '') throw new ScoriaError('backend-busy', `The volume is open in ${holder}.`);
    };
    const first = await start(script);
    const { volume, operationId } = await first.volumes.create(alice, { size: mib });
    await first.operations.wait(operationId, patience);
    const deletion = await first.volumes.delete(alice, volume.id);
    await vi.waitUntil(() => tries > 6, patience);
    await running.pop()?.stop();
    const second = await start(script, { worker: { ...impatient, alone: true } });
    await vi.waitUntil(() => tries > 15, patience);
    expect(await second.volumes.get(alice, volume.id)).toMatchObject({ status: 'deleting' });
    const failures = (await second.operations.journal(alice, deletion.operationId)).filter(({ event }) => event === 'failed');
    expect(failures[0]?.error?.message).toBe('The volume is open in somebody.');
    // It does not grow with the time that this takes.
    expect(failures.length).toBeLessThan(10);
    holder = '';
    expect(await second.operations.wait(deletion.operationId, patience)).toMatchObject({ status: 'succeeded' });
    expect(objects()).toEqual([]);
  });

  it('lets nobody change a volume that is being read', async () => {
    const reached = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const storage = await start(async (verb) => {
      if (verb !== 'clone') return;
      reached.resolve();
      await go.promise;
    });
    const source = await storage.volumes.create(alice, { size: mib });
    await storage.operations.wait(source.operationId, patience);
    const clone = await storage.volumes.create(alice, { sourceVolumeId: source.volume.id });
    await reached.promise;
    await expect(storage.volumes.delete(alice, source.volume.id)).rejects.toMatchObject({ code: 'invalid-state' });
    await expect(storage.volumes.extend(alice, source.volume.id, 2 * mib)).rejects.toMatchObject({ code: 'invalid-state' });
    expect(await storage.volumes.get(alice, source.volume.id)).toMatchObject({ status: 'available' });
    go.resolve();
    await storage.operations.wait(clone.operationId, patience);
    await storage.operations.wait((await storage.volumes.delete(alice, source.volume.id)).operationId, patience);
  });

  it('gives an extended volume its old size back when the backend refuses', async () => {
    const storage = await start((verb) => {
      if (verb === 'extend') throw new ScoriaError('device-no-space', 'The array is full.');
    });
    const { volume, operationId } = await storage.volumes.create(alice, { size: mib });
    await storage.operations.wait(operationId, patience);
    const extend = await storage.volumes.extend(alice, volume.id, 4 * mib);
    await expect(storage.operations.wait(extend.operationId, patience)).rejects.toMatchObject({ code: 'device-no-space' });
    expect(await storage.volumes.get(alice, volume.id)).toMatchObject({ status: 'available', size: mib });
    expect((await storage.pools.list(caller('root', true)))[0]).toMatchObject({ allocated: mib });
  });

  it('says pool by pool why nothing fits', async () => {
    const refusing = definePlugin({
      name: 'moon-filter',
      kind: 'pool-filter',
      api: '^1.0',
      config: z.strictObject({}),
      create: () => ({ verdict: () => ({ ok: false, reason: 'the moon is wrong' }) }),
    });
    const storage = await start(() => {}, {
      plugins: { backends: { memory: { plugin: scriptedDriver(backend, () => {}) } }, filters: [{ plugin: refusing }] },
    });
    const { volume, operationId } = await storage.volumes.create(alice, { size: mib });
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'no-valid-backend' });
    expect(await storage.volumes.get(alice, volume.id)).toMatchObject({ status: 'error' });
    const [message] = await storage.messages.list(alice, {});
    expect(message?.text).toContain('host@memory#pool: the moon is wrong (moon-filter)');
  });

  it('tells of progress, and hands events out in order', async () => {
    const go = Promise.withResolvers<void>();
    const storage = await start(async (verb, _id, call) => {
      if (verb !== 'create') return;
      call.progress(25, 100);
      await go.promise;
    });
    const seen: string[] = [];
    using _subscription = storage.events.subscribe(
      alice,
      (event) => void seen.push(`${event.sequence} ${event.name} ${event.payload['status'] ?? ''}`),
    );
    const { operationId } = await storage.volumes.create(alice, { size: mib });
    await vi.waitFor(
      async () =>
        expect((await storage.operations.get(alice, operationId)).progress).toMatchObject({
          step: 'create',
          done: 25,
          total: 100,
        }),
      patience,
    );
    go.resolve();
    await storage.operations.wait(operationId, patience);
    expect(seen.map((line) => line.replace(/^\d+ /, ''))).toEqual([
      'volume.changed creating',
      'volume.changed available',
      'operation.ended succeeded',
    ]);
    expect((await storage.events.after(alice, 0)).map(({ name }) => name)).toEqual([
      'volume.changed',
      'volume.changed',
      'operation.ended',
    ]);
    expect(await storage.events.after(caller('bob'), 0)).toEqual([]);
  });

  it('leave a backend its part while the calls of another hang, and go on with what waits there when they return', async () => {
    const go = Promise.withResolvers<void>();
    const other = new MemoryBackend({ backendId: systemRandom.uuid() });
    let most = 0;
    let atOnce = 0;
    const hang: Script = async (verb) => {
      if (verb !== 'create') return;
      most = Math.max(most, (atOnce += 1));
      await go.promise;
      atOnce -= 1;
    };
    const storage = await start(() => {}, {
      plugins: {
        backends: { hanging: { plugin: scriptedDriver(backend, hang) }, sound: { plugin: scriptedDriver(other, () => {}) } },
        filters: [{ plugin: capabilitiesFilter }],
      },
      worker: { ...impatient, concurrency: 4, sweep: 600_000 },
    });
    for (const name of ['hanging', 'sound']) {
      await storage.volumeTypes.create(caller('root', true), { name, extraSpecs: { volume_backend_name: name } });
    }
    const create = (volumeType: string) => storage.volumes.create(alice, { size: mib, volumeType });
    const waiting = [];
    for (let count = 0; count < 6; count += 1) waiting.push(await create('hanging'));
    for (let count = 0; count < 4; count += 1) {
      await storage.operations.wait((await create('sound')).operationId, patience);
    }
    expect(backend.objects.size).toBe(0);
    go.resolve();
    for (const { operationId } of waiting) await storage.operations.wait(operationId, patience);
    expect([most, backend.objects.size, other.objects.size]).toEqual([2, 6, 4]);
  });

  it('give a backend that is alone all there is', async () => {
    const go = Promise.withResolvers<void>();
    let atOnce = 0;
    const storage = await start(
      async () => {
        atOnce += 1;
        await go.promise;
      },
      { worker: { ...impatient, concurrency: 4 } },
    );
    const made = [];
    for (let count = 0; count < 6; count += 1) made.push(await storage.volumes.create(alice, { size: mib }));
    await vi.waitFor(() => expect(atOnce).toBe(4), { timeout: patience });
    go.resolve();
    for (const { operationId } of made) await storage.operations.wait(operationId, patience);
  });

  it('deletes a volume with all of its snapshots, however many', async () => {
    const store = createSqliteStore({ path: join(directory, 'scoria.db') });
    const storage = await start(() => {}, { store });
    const { volume, operationId } = await storage.volumes.create(alice, { size: mib });
    await storage.operations.wait(operationId, patience);
    const made = await storage.snapshots.create(alice, { volumeId: volume.id });
    await storage.operations.wait(made.operationId, patience);
    const snapshot = await storage.snapshots.get(alice, made.snapshot.id);
    await store.transaction(async ({ snapshots }) => {
      for (let count = 1; count < 2_500; count += 1) {
        await snapshots.insert({ ...snapshot, id: systemRandom.uuid(), placementId: null });
      }
    });
    const deletion = await storage.volumes.delete(alice, volume.id, { cascade: true });
    await storage.operations.wait(deletion.operationId, patience);
    expect([await storage.volumes.count(alice, {}), await storage.snapshots.count(alice, {})]).toEqual([0, 0]);
    expect(objects()).toEqual([]);
  }, 20_000);

  it('counts quotas of however many extends under way', async () => {
    const go = Promise.withResolvers<void>();
    const store = createSqliteStore({ path: join(directory, 'scoria.db') });
    const storage = await start(
      async (verb) => {
        if (verb === 'extend') await go.promise;
      },
      { store },
    );
    const gib = 2 ** 30;
    const { volume, operationId } = await storage.volumes.create(alice, { size: gib });
    await storage.operations.wait(operationId, patience);
    const extend = await storage.volumes.extend(alice, volume.id, 2 * gib);
    const operation = await store.reading.operations.get('every-project', extend.operationId);
    await store.transaction(async ({ operations }) => {
      for (let count = 1; count < 1_200; count += 1) {
        const leased = { leaseOwner: 'another', leaseUntil: Number.MAX_SAFE_INTEGER };
        await operations.insert({ ...operation, ...leased, id: systemRandom.uuid() }, []);
      }
    });
    expect((await storage.quotas.get(alice, 'alice')).usage).toMatchObject({ gigabytes: { inUse: 1_201 } });
    go.resolve();
    await storage.operations.wait(extend.operationId, patience);
  });

  it('counts quotas from the rows, extends under way included', async () => {
    const go = Promise.withResolvers<void>();
    const storage = await start(async (verb) => {
      if (verb === 'extend') await go.promise;
    });
    const root = caller('root', true);
    const gib = 2 ** 30;
    await storage.quotas.update(root, 'alice', { gigabytes: 10, volumes: 2 });
    const { volume, operationId } = await storage.volumes.create(alice, { size: 4 * gib });
    await storage.operations.wait(operationId, patience);
    const extend = await storage.volumes.extend(alice, volume.id, 8 * gib);
    await expect(storage.volumes.create(alice, { size: 3 * gib })).rejects.toMatchObject({ code: 'quota-exceeded' });
    await storage.volumes.create(alice, { size: 2 * gib });
    await expect(storage.volumes.create(alice, { size: 1 })).rejects.toMatchObject({ code: 'quota-exceeded' });
    go.resolve();
    await storage.operations.wait(extend.operationId, patience);
    expect((await storage.quotas.get(alice, 'alice')).usage).toMatchObject({ volumes: { inUse: 2 }, gigabytes: { inUse: 10 } });
  });
});
