import { type BlockStorage, systemRandom } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { caller } from './instance.ts';
import { MirroringTransport } from './mirroring-transport.ts';
import { movingInstance } from './moving-instance.ts';
import { untilAborted } from './scripted-driver.ts';

const mib = 2 ** 20;
const alice = caller('alice');
const root = caller('root', true);
const patience = 10_000;
const host1 = { initiator: 'iqn.2026-11.test:host1', host: 'host1' };
const pattern = new Uint8Array(4096).fill(0xab);

describe('moving volumes between backends', () => {
  let storage: BlockStorage;
  let transport: MirroringTransport;
  let arrays: Record<string, MemoryBackend>;
  let open: ReturnType<typeof memoryDriver>['devices'][string];

  beforeEach(async () => {
    arrays = {};
    for (const name of ['old', 'new']) arrays[name] = new MemoryBackend({ backendId: systemRandom.uuid() });
    const plugin = memoryDriver({ backend: (name) => arrays[name]! });
    open = plugin.devices['memory']!;
    transport = new MirroringTransport(open);
    storage = await movingInstance({ old: plugin, new: plugin }, transport);
  });
  afterEach(() => storage.stop());

  const device = async (readOnly: boolean, array: string) => {
    const [[placementId]] = [...arrays[array]!.objects] as [[string, unknown]];
    return open({ kind: 'memory', path: `${arrays[array]!.backendId}/${placementId}`, blockSize: 512 }, { readOnly });
  };
  async function volume(): Promise<string> {
    const made = await storage.volumes.create(alice, { size: mib, volumeType: 'old' });
    await storage.operations.wait(made.operationId, patience);
    await (await device(false, 'old')).write(pattern, 8192);
    return made.volume.id;
  }
  async function expectMoved(id: string): Promise<void> {
    expect(arrays['old']!.objects.size).toBe(0);
    const read = new Uint8Array(4096);
    await (await device(true, 'new')).read(read, 8192);
    expect(read).toEqual(pattern);
    expect(await storage.volumes.get(alice, id)).toMatchObject({ hostString: 'host@new#pool', migrationStatus: 'success' });
    const pools = await storage.pools.list(root);
    expect(pools.map(({ backendName, allocated }) => [backendName, allocated]).toSorted()).toEqual([
      ['new', mib],
      ['old', 0],
    ]);
  }
  const claimsOfNew = async () => (await storage.pools.list(root)).find(({ backendName }) => backendName === 'new')?.allocated;

  it('retypes, and moves the volume where its new type is', async () => {
    const id = await volume();
    const { operationId } = await storage.moves.retype(alice, id, 'new', 'on-demand');
    await storage.operations.wait(operationId, patience);
    await expectMoved(id);
    expect(await storage.volumes.get(alice, id)).toMatchObject({
      status: 'available',
      volumeTypeId: (await storage.volumeTypes.get(root, 'new')).id,
    });
  });

  it('retypes in place when the pool can serve the new type', async () => {
    const id = await volume();
    const other = await storage.volumeTypes.create(root, { name: 'other', extraSpecs: { volume_backend_name: 'old' } });
    await storage.operations.wait((await storage.moves.retype(alice, id, 'other', 'never')).operationId, patience);
    expect(await storage.volumes.get(alice, id)).toMatchObject({
      status: 'available',
      volumeTypeId: other.id,
      hostString: 'host@old#pool',
      migrationStatus: null,
    });
    expect(transport.calls).toEqual([]);
  });

  it('leaves the volume as it was when the policy does not let it move', async () => {
    const id = await volume();
    const { operationId } = await storage.moves.retype(alice, id, 'new', 'never');
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'no-valid-backend' });
    expect(await storage.volumes.get(alice, id)).toMatchObject({ status: 'available', hostString: 'host@old#pool' });
    expect(await storage.messages.list(alice, {})).toMatchObject([{ action: 'volume.retype', resourceId: id }]);
  });

  it('migrates a volume in use; it keeps its access, which comes and goes meanwhile', async () => {
    const id = await volume();
    const attachment = await storage.attachments.create(alice, { volumeId: id, connector: host1 });
    await storage.attachments.complete(alice, attachment.id);
    const copying = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    transport.onCopy = async () => {
      copying.resolve();
      await go.promise;
    };
    const { operationId } = await storage.moves.migrate(root, id, 'host@new');
    await copying.promise;
    expect(await storage.volumes.get(alice, id)).toMatchObject({ status: 'in-use', migrationStatus: 'migrating' });
    await expect(storage.snapshots.create(alice, { volumeId: id, force: true })).rejects.toMatchObject({ code: 'invalid-state' });
    await expect(storage.volumes.extend(alice, id, 2 * mib)).rejects.toMatchObject({ code: 'invalid-state' });
    go.resolve();
    await storage.operations.wait(operationId, patience);
    await expectMoved(id);
    expect(transport.calls).toEqual(['export', 'mirror', 'commitMirror', 'endMirror target']);
    expect((await storage.audits.run(root)).transports).toMatchObject([{ unknown: [], missing: [] }]);
    await storage.attachments.delete(alice, attachment.id);
    expect(await storage.volumes.get(alice, id)).toMatchObject({ status: 'available' });
    expect(transport.exports.size).toBe(0);
  });

  it('cancels a migration, and leaves the volume where it was', async () => {
    const id = await volume();
    const copying = Promise.withResolvers<void>();
    transport.onCopy = async (call) => {
      copying.resolve();
      await untilAborted(call);
    };
    const { operationId } = await storage.moves.migrate(root, id, 'host@new#pool', { lock: true });
    await copying.promise;
    expect(await storage.volumes.get(alice, id)).toMatchObject({ status: 'maintenance' });
    await expect(storage.attachments.create(alice, { volumeId: id })).rejects.toMatchObject({ code: 'invalid-state' });
    await storage.operations.cancel(root, operationId);
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'cancelled' });
    expect(await storage.volumes.get(alice, id)).toMatchObject({
      status: 'available',
      hostString: 'host@old#pool',
      migrationStatus: 'error',
    });
    expect(arrays['new']!.objects.size).toBe(0);
    expect(await claimsOfNew()).toBe(0);
    expect(transport.calls).toContain('endMirror source');
  });

  it('keeps the moved volume when its old copy cannot be removed', async () => {
    const id = await volume();
    transport.failing.add('endMirror target');
    const { operationId } = await storage.moves.migrate(root, id, 'host@new');
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'transport-failed' });
    expect(await storage.volumes.get(alice, id)).toMatchObject({
      status: 'available',
      hostString: 'host@new#pool',
      migrationStatus: 'success',
    });
    expect(arrays['old']!.objects.size).toBe(1);
  });

  it('refuses what cannot be: snapshots, unknown hosts, the same host, other people', async () => {
    const id = await volume();
    await expect(storage.moves.migrate(alice, id, 'host@new')).rejects.toMatchObject({ code: 'not-permitted' });
    await expect(storage.moves.migrate(root, id, 'host@moon')).rejects.toMatchObject({ code: 'invalid-input' });
    await expect(storage.moves.migrate(root, id, 'host@old')).rejects.toMatchObject({ code: 'invalid-input' });
    await expect(storage.moves.retype(caller('bob'), id, 'new', 'on-demand')).rejects.toMatchObject({ code: 'not-found' });
    await expect(storage.moves.retype(alice, id, 'old', 'on-demand')).rejects.toMatchObject({ code: 'invalid-input' });
    await storage.operations.wait((await storage.snapshots.create(alice, { volumeId: id })).operationId, patience);
    await expect(storage.moves.migrate(root, id, 'host@new')).rejects.toMatchObject({ code: 'invalid-state' });
  });
});
