import { type BlockStorage, type PluginCall, systemRandom } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { createSqliteStore } from '@scoria/store-sql';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { caller, memoryInstance } from './instance.ts';
import { RecordingTransport, recordingTransport } from './recording-transport.ts';

const mib = 2 ** 20;
const alice = caller('alice');
const patience = 10_000;
const host1 = { initiator: 'iqn.2026-11.test:host1', host: 'host1' };
const host2 = { initiator: 'iqn.2026-11.test:host2', host: 'host2' };

describe('attachments', () => {
  let transport: RecordingTransport;
  let storage: BlockStorage;
  let array: MemoryBackend;
  const backend = () => new MemoryBackend({ backendId: systemRandom.uuid() });

  beforeEach(async () => {
    transport = new RecordingTransport();
    array = backend();
    storage = await start(memoryDriver({ backend: array }));
  });
  afterEach(() => storage.stop());

  const start = (plugin: ReturnType<typeof memoryDriver>): Promise<BlockStorage> =>
    memoryInstance({
      plugins: {
        backends: { memory: { plugin, transport: 'wire' } },
        transports: { wire: { plugin: recordingTransport(transport) } },
      },
      worker: { retryPauses: [1], drain: 0 },
    });
  async function volume(options: { multiattach?: boolean } = {}): Promise<string> {
    const { volume: made, operationId } = await storage.volumes.create(alice, { size: mib, ...options });
    await storage.operations.wait(operationId, patience);
    return made.id;
  }
  const status = async (id: string) => (await storage.volumes.get(alice, id)).status;
  const exportedVolumes = () => [...transport.exports.values()].map(({ volumeId }) => volumeId);

  it('go from reserved over attaching to attached, and away', async () => {
    const id = await volume();
    const attachment = await storage.attachments.create(alice, { volumeId: id, instanceId: 'machine' });
    expect([attachment.status, await status(id)]).toEqual(['reserved', 'reserved']);
    expect(await storage.attachments.connectionInfo(alice, attachment.id)).toBeNull();
    await expect(storage.attachments.complete(alice, attachment.id)).rejects.toMatchObject({ code: 'invalid-state' });

    const connected = await storage.attachments.update(alice, attachment.id, { connector: host1 });
    expect([connected.status, await status(id)]).toEqual(['attaching', 'attaching']);
    const [request] = transport.exports.values();
    expect(request).toMatchObject({ volumeId: id, initiator: host1.initiator, readOnly: false });
    expect(await storage.attachments.connectionInfo(alice, attachment.id)).toEqual({
      driverVolumeType: 'recorded',
      data: { target: connected.accessId, secret: request?.secret, qos_specs: null },
    });

    await storage.attachments.complete(alice, attachment.id);
    expect(await status(id)).toBe('in-use');
    await expect(storage.volumes.delete(alice, id)).rejects.toMatchObject({ code: 'invalid-state' });
    await storage.attachments.delete(alice, attachment.id);
    expect([await status(id), exportedVolumes()]).toEqual(['available', []]);
    await expect(storage.attachments.get(alice, attachment.id)).rejects.toMatchObject({ code: 'not-found' });
  });

  it('give the same connection when they are updated again, and another secret to the next attachment', async () => {
    const id = await volume();
    const first = await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    const info = await storage.attachments.connectionInfo(alice, first.id);
    await storage.attachments.update(alice, first.id, { connector: host1 });
    expect(await storage.attachments.connectionInfo(alice, first.id)).toEqual(info);
    await storage.attachments.delete(alice, first.id);
    const second = await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    expect(second.accessId).not.toBe(first.accessId);
    expect(await storage.attachments.connectionInfo(alice, second.id)).not.toEqual(info);
  });

  it('share an access on one host; the fence falls with the last', async () => {
    const id = await volume({ multiattach: true });
    const first = await storage.attachments.create(alice, { volumeId: id, instanceId: 'a', connector: host1 });
    const second = await storage.attachments.create(alice, { volumeId: id, instanceId: 'b', connector: host1 });
    const third = await storage.attachments.create(alice, { volumeId: id, instanceId: 'c', connector: host2 });
    expect(second.accessId).toBe(first.accessId);
    expect(third.accessId).not.toBe(first.accessId);
    expect(transport.exports.size).toBe(2);
    await storage.attachments.delete(alice, first.id);
    expect(transport.exports.size).toBe(2);
    await storage.attachments.delete(alice, second.id);
    expect([...transport.exports.keys()]).toEqual([third.accessId]);
  });

  it('are single unless the volume allows more, but a live migration has two', async () => {
    const id = await volume();
    await storage.attachments.create(alice, { volumeId: id, instanceId: 'machine', connector: host1 });
    await expect(storage.attachments.create(alice, { volumeId: id, instanceId: 'other' })).rejects.toMatchObject({
      code: 'invalid-state',
    });
    await storage.attachments.create(alice, { volumeId: id, instanceId: 'machine', connector: host2 });
    expect(transport.exports.size).toBe(2);
  });

  it('go back to reserved when the target refuses, and a message tells why', async () => {
    const id = await volume();
    const attachment = await storage.attachments.create(alice, { volumeId: id });
    transport.failing.add('export');
    await expect(storage.attachments.update(alice, attachment.id, { connector: host1 })).rejects.toMatchObject({
      code: 'transport-failed',
    });
    expect(await storage.attachments.get(alice, attachment.id)).toMatchObject({ status: 'reserved', accessId: null });
    expect([await status(id), exportedVolumes()]).toEqual(['reserved', []]);
    expect(await storage.messages.list(alice, {})).toMatchObject([{ code: 'transport-failed', resourceId: attachment.id }]);
    transport.failing.clear();
    await storage.attachments.update(alice, attachment.id, { connector: host1 });
    expect(exportedVolumes()).toEqual([id]);
  });

  it('stay as they were when the fence cannot be raised', async () => {
    const id = await volume();
    const attachment = await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    await storage.attachments.complete(alice, attachment.id);
    transport.failing.add('unexport');
    await expect(storage.attachments.delete(alice, attachment.id)).rejects.toMatchObject({ code: 'transport-failed' });
    expect(await storage.attachments.get(alice, attachment.id)).toMatchObject({
      status: 'attached',
      accessId: attachment.accessId,
    });
    expect(await status(id)).toBe('in-use');
    transport.failing.clear();
    await storage.attachments.delete(alice, attachment.id);
    expect([await status(id), exportedVolumes()]).toEqual(['available', []]);
  });

  it('of a read-only volume are read-only', async () => {
    const id = await volume();
    await storage.volumes.setReadOnly(alice, id, true);
    await expect(storage.attachments.create(alice, { volumeId: id, mode: 'rw' })).rejects.toMatchObject({
      code: 'invalid-input',
    });
    await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    expect([...transport.exports.values()]).toMatchObject([{ readOnly: true }]);
  });

  it('can be made in the older single calls', async () => {
    const id = await volume();
    const { connections } = storage;
    await connections.reserve(alice, id);
    expect(await status(id)).toBe('attaching');
    await expect(connections.reserve(alice, id)).rejects.toMatchObject({ code: 'invalid-state' });
    await connections.unreserve(alice, id);
    expect(await status(id)).toBe('available');

    await connections.reserve(alice, id);
    await connections.initializeConnection(alice, id, host1);
    expect(exportedVolumes()).toEqual([id]);
    await connections.attach(alice, id, { instanceId: 'machine', mountpoint: '/dev/vdb' });
    expect(await status(id)).toBe('in-use');
    await connections.beginDetaching(alice, id);
    expect(await status(id)).toBe('detaching');
    await connections.rollDetaching(alice, id);
    expect(await status(id)).toBe('in-use');
    await connections.beginDetaching(alice, id);
    await connections.terminateConnection(alice, id, host1);
    expect([await status(id), exportedVolumes()]).toEqual(['detaching', []]);
    await connections.detach(alice, id);
    expect(await status(id)).toBe('available');
  });

  it('leave nothing when a connection without a reservation is terminated', async () => {
    const id = await volume();
    await storage.connections.initializeConnection(alice, id, host1);
    await storage.connections.terminateConnection(alice, id, host1);
    expect([await status(id), exportedVolumes()]).toEqual(['available', []]);
  });

  it('see an extend and a snapshot of the volume in use', async () => {
    const id = await volume();
    const attachment = await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    await storage.attachments.complete(alice, attachment.id);
    transport.calls.length = 0;
    await storage.operations.wait((await storage.volumes.extend(alice, id, 2 * mib)).operationId, patience);
    expect(transport.calls).toEqual(['resize']);
    expect(await status(id)).toBe('in-use');
    transport.calls.length = 0;
    await expect(storage.snapshots.create(alice, { volumeId: id })).rejects.toMatchObject({ code: 'invalid-state' });
    const snapshot = await storage.snapshots.create(alice, { volumeId: id, force: true });
    await storage.operations.wait(snapshot.operationId, patience);
    expect(transport.calls).toEqual(['hold', 'release']);
  });

  it.each([
    { instantCopies: true, calls: ['hold', 'release'] },
    // Writes cannot be held for as long as the driver would take.
    { instantCopies: false, calls: ['hold', 'release', 'copy'] },
  ])('see a clone of the volume in use, by a driver of instant copies: $instantCopies', async ({ instantCopies, calls }) => {
    await storage.stop();
    const plugin = memoryDriver({ backend: backend() });
    storage = await start({
      ...plugin,
      create: (context) => {
        const driver = plugin.create(context);
        const pools = driver.pools.bind(driver);
        return Object.assign(driver, {
          pools: async (call: PluginCall) => (await pools(call)).map((pool) => ({ ...pool, instantCopies })),
        });
      },
    });
    const id = await volume();
    const attachment = await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    await storage.attachments.complete(alice, attachment.id);
    transport.calls.length = 0;
    const { operationId } = await storage.volumes.create(alice, { sourceVolumeId: id });
    await storage.operations.wait(operationId, patience);
    expect(transport.calls).toEqual(calls);
  });

  it('let no snapshot pass whose writes were not held', async () => {
    const id = await volume();
    const attachment = await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    await storage.attachments.complete(alice, attachment.id);
    transport.failing.add('held');
    const { snapshot, operationId } = await storage.snapshots.create(alice, { volumeId: id, force: true });
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'writes-not-held' });
    expect(await storage.snapshots.get(alice, snapshot.id)).toMatchObject({ status: 'error', placementId: null });
    expect(array.objects.size).toBe(1);
  });

  it('are published again by the next instance, and what nobody asks for is ended', async () => {
    const kept = backend();
    const store = createSqliteStore({ path: ':memory:' });
    await store.open();
    const surroundings = {
      store: {
        open: async () => {},
        close: async () => {},
        installationId: () => store.installationId(),
        reading: store.reading,
        transaction: store.transaction.bind(store),
      },
      plugins: {
        backends: { memory: { plugin: memoryDriver({ backend: kept }), transport: 'wire' } },
        transports: { wire: { plugin: recordingTransport(transport) } },
      },
    };
    await storage.stop();
    storage = await memoryInstance(surroundings);
    const id = await volume();
    const attachment = await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    const [request] = transport.exports.values();
    await storage.stop();
    transport.exports.clear();
    if (request) transport.exports.set('stray', { ...request, accessId: 'stray' });
    storage = await memoryInstance(surroundings);
    expect([...transport.exports.keys()]).toEqual([attachment.accessId]);
    expect([...transport.exports.values()]).toEqual([request]);
  });
});
