import { type BlockStorage, definePlugin, type RequestContext, systemRandom } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { caller, memoryInstance } from './instance.ts';
import { RecordingTransport, recordingTransport } from './recording-transport.ts';

const gib = 2 ** 30;
const patience = 10_000;
const named = (context: RequestContext, key: string, fingerprint = 'body'): RequestContext => ({
  ...context,
  idempotency: { key, fingerprint },
});
const alice = caller('alice');

describe('requests', () => {
  let storage: BlockStorage;
  let transport: RecordingTransport;
  let instantCopies: boolean;

  beforeEach(async () => {
    transport = new RecordingTransport();
    instantCopies = true;
    const memory = memoryDriver({ backend: new MemoryBackend({ backendId: systemRandom.uuid() }) });
    const plugin = definePlugin({
      name: 'memory',
      kind: 'driver',
      api: '^1.0',
      config: z.strictObject({}),
      capabilities: memory.capabilities,
      locates: memory.locates,
      devices: memory.devices,
      create: (context) => {
        const driver = memory.create(context);
        const pools = driver.pools.bind(driver);
        driver.pools = async (call) => (await pools(call)).map((pool) => ({ ...pool, instantCopies }));
        return driver;
      },
    });
    storage = await memoryInstance({
      plugins: {
        backends: { memory: { plugin, transport: 'wire' } },
        transports: { wire: { plugin: recordingTransport(transport) } },
      },
      settings: { host: 'host', reportInterval: 500 },
    });
  });
  afterEach(() => storage.stop());

  async function volume(size = gib): Promise<string> {
    const made = await storage.volumes.create(alice, { size });
    await storage.operations.wait(made.operationId, patience);
    return made.volume.id;
  }
  const count = () => storage.volumes.count(alice, {});

  describe('with an idempotency key', () => {
    it('are carried out once, however often they come', async () => {
      const first = await storage.volumes.create(named(alice, 'k'), { size: gib });
      const [second, third] = await Promise.all([1, 2].map(() => storage.volumes.create(named(alice, 'k'), { size: gib })));
      expect([second?.volume.id, third?.operationId]).toEqual([first.volume.id, first.operationId]);
      await storage.operations.wait(first.operationId, patience);
      expect((await storage.volumes.create(named(alice, 'k'), { size: gib })).volume).toMatchObject({
        id: first.volume.id,
        status: 'available',
      });
      expect(await count()).toBe(1);
    });

    it('that race are one', async () => {
      const all = await Promise.all(Array.from({ length: 8 }, () => storage.volumes.create(named(alice, 'k'), { size: gib })));
      expect(new Set(all.map((each) => each.volume.id)).size).toBe(1);
      expect(await count()).toBe(1);
    });

    it('are refused when they ask for something else', async () => {
      await storage.volumes.create(named(alice, 'k'), { size: gib });
      await expect(storage.volumes.create(named(alice, 'k', 'other'), { size: 2 * gib })).rejects.toMatchObject({
        code: 'idempotency-mismatch',
      });
      const id = await volume();
      await expect(storage.volumes.delete(named(alice, 'k', 'delete'), id)).rejects.toMatchObject({
        code: 'idempotency-mismatch',
      });
    });

    it('do not meet those of another project', async () => {
      const mine = await storage.volumes.create(named(alice, 'k'), { size: gib });
      const theirs = await storage.volumes.create(named(caller('bob'), 'k'), { size: gib });
      expect(theirs.volume.id).not.toBe(mine.volume.id);
    });

    it('are forgotten when they were refused', async () => {
      const missing = systemRandom.uuid();
      await expect(storage.volumes.create(named(alice, 'k'), { snapshotId: missing })).rejects.toMatchObject({
        code: 'not-found',
      });
      await storage.volumes.create(named(alice, 'k'), { size: gib });
      expect(await count()).toBe(1);
    });

    it('cover attachments with all that belongs to them', async () => {
      const id = await volume();
      const request = { volumeId: id, connector: { initiator: 'iqn.2026-11.test:host' } };
      const first = await storage.attachments.create(named(alice, 'k'), request);
      expect((await storage.attachments.create(named(alice, 'k'), request)).id).toBe(first.id);
      await storage.attachments.delete(named(alice, 'd', 'd'), first.id);
      await storage.attachments.delete(named(alice, 'd', 'd'), first.id);
      expect(transport.exports.size).toBe(0);
    });
  });

  describe('run dry', () => {
    it('tell steps, place and estimate, and leave nothing', async () => {
      const plan = await storage.operations.plan(alice, (dry) => storage.volumes.create(dry, { size: gib }));
      expect(plan).toMatchObject({ operation: 'volume.create', bytes: 0, estimate: 'instant', hostString: 'host@memory#pool' });
      expect(plan.steps.map(({ name, passedOver }) => `${name}${passedOver ? ' -' : ''}`)).toEqual([
        'place',
        'create',
        'fill -',
        'grow -',
        'finish',
      ]);
      expect(await count()).toBe(0);
      expect(await storage.operations.list(alice, {})).toEqual([]);
      expect((await storage.pools.list(caller('root', true)))[0]).toMatchObject({ allocated: 0 });
    });

    it('tell the bytes that must be copied where the storage does not copy in an instant', async () => {
      const id = await volume(80 * gib);
      const clone = () => storage.operations.plan(alice, (dry) => storage.volumes.create(dry, { sourceVolumeId: id }));
      expect(await clone()).toMatchObject({ estimate: 'instant' });
      instantCopies = false;
      await expect.poll(clone, { timeout: patience }).toMatchObject({ bytes: 80 * gib, estimate: '80 GiB, about 7 min' });
    });

    it('are refused as they would be', async () => {
      await storage.quotas.update(caller('root', true), 'alice', { volumes: 0 });
      await expect(storage.operations.plan(alice, (dry) => storage.volumes.create(dry, { size: gib }))).rejects.toMatchObject({
        code: 'quota-exceeded',
      });
    });

    it('change no name either', async () => {
      const id = await volume();
      expect(await storage.operations.plan(alice, (dry) => storage.volumes.update(dry, id, { name: 'new' }))).toMatchObject({
        operation: null,
      });
      expect(await storage.volumes.get(alice, id)).toMatchObject({ name: null });
    });
  });

  it('of a resource stand in its history, also when it is gone', async () => {
    const id = await volume();
    await storage.operations.wait((await storage.volumes.extend(alice, id, 2 * gib)).operationId, patience);
    await storage.operations.wait((await storage.volumes.delete(alice, id)).operationId, patience);
    const history = await storage.operations.history(alice, id);
    expect(history.map(({ operation, journal }) => [operation.name, operation.status, journal.at(-1)?.event])).toEqual([
      ['volume.create', 'succeeded', 'ended'],
      ['volume.extend', 'succeeded', 'ended'],
      ['volume.delete', 'succeeded', 'ended'],
    ]);
    expect(await storage.operations.history(caller('bob'), id)).toEqual([]);
  });
});
