import { afterEach, describe, expect, it } from 'vitest';
import { type BlockStorage, systemRandom } from '@scoria/core';
import { MemoryBackend, MemoryDriver, memoryDriver } from '@scoria/driver-memory';
import { caller, memoryInstance } from './instance.ts';

const mib = 2 ** 20;
const alice = caller('alice');
const bob = caller('bob');
const patience = 5_000;

describe('volumes and snapshots over a memory backend', () => {
  let storage: BlockStorage;
  afterEach(() => storage.stop());

  it('creates, extends, snapshots, clones, reverts and deletes', async () => {
    storage = await memoryInstance();
    const { volumes, snapshots, operations } = storage;
    const made = await volumes.create(alice, { size: 8 * mib, name: 'a' });
    expect(made.volume.status).toBe('creating');
    await operations.wait(made.operationId, patience);
    expect(await volumes.get(alice, made.volume.id)).toMatchObject({
      status: 'available',
      hostString: 'host@memory#pool',
      size: 8 * mib,
    });

    const snapshot = await snapshots.create(alice, { volumeId: made.volume.id });
    await operations.wait(snapshot.operationId, patience);
    const revert = await volumes.revert(alice, made.volume.id, snapshot.snapshot.id);
    await operations.wait(revert.operationId, patience);
    const extend = await volumes.extend(alice, made.volume.id, 16 * mib);
    await operations.wait(extend.operationId, patience);
    expect(await volumes.get(alice, made.volume.id)).toMatchObject({ status: 'available', size: 16 * mib });

    const clone = await volumes.create(alice, { sourceVolumeId: made.volume.id, size: 32 * mib });
    await operations.wait(clone.operationId, patience);
    const fromSnapshot = await volumes.create(alice, { snapshotId: snapshot.snapshot.id });
    await operations.wait(fromSnapshot.operationId, patience);
    expect(await volumes.get(alice, fromSnapshot.volume.id)).toMatchObject({ status: 'available', size: 8 * mib });

    await expect(volumes.delete(alice, made.volume.id)).rejects.toMatchObject({ code: 'invalid-state' });
    const removal = await volumes.delete(alice, made.volume.id, { cascade: true });
    await operations.wait(removal.operationId, patience);
    await expect(volumes.get(alice, made.volume.id)).rejects.toMatchObject({ code: 'not-found' });
    await expect(snapshots.get(alice, snapshot.snapshot.id)).rejects.toMatchObject({ code: 'not-found' });
  });

  it('finds what the backend has and the store does not, and the reverse', async () => {
    const backend = new MemoryBackend({ backendId: systemRandom.uuid() });
    storage = await memoryInstance({ plugins: { backends: { memory: { plugin: memoryDriver({ backend }) } } } });
    const { volume, operationId } = await storage.volumes.create(alice, { size: mib });
    await storage.operations.wait(operationId, patience);
    const root = caller('root', true);
    expect((await storage.audits.run(root)).backends).toEqual([{ backend: 'memory', unknown: [], missing: [], failure: null }]);
    const [placementId = ''] = backend.objects.keys();
    backend.objects.delete(placementId);
    const stray = { placementId: systemRandom.uuid(), pool: 'pool', backendRef: null, size: mib };
    await new MemoryDriver(backend, 'whoever').create(stray, {
      signal: new AbortController().signal,
      fence: 0,
      progress: () => {},
    });
    expect((await storage.audits.run(root)).backends).toMatchObject([
      { unknown: [{ placementId: stray.placementId }], missing: [{ id: placementId, resourceId: volume.id }] },
    ]);
    await expect(storage.audits.run(alice)).rejects.toMatchObject({ code: 'not-permitted' });
  });

  it('keeps projects apart', async () => {
    storage = await memoryInstance();
    const { volume } = await storage.volumes.create(alice, { size: mib });
    await expect(storage.volumes.get(bob, volume.id)).rejects.toMatchObject({ code: 'not-found' });
    await expect(storage.volumes.delete(bob, volume.id)).rejects.toMatchObject({ code: 'not-found' });
    expect(await storage.volumes.list(bob, {}, { allProjects: true })).toEqual([]);
    expect(await storage.volumes.list(caller('root', true), {}, { allProjects: true })).toHaveLength(1);
  });
});
