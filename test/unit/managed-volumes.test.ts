import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type BlockStorage, definePlugin, ScoriaError, systemRandom } from '@scoria/core';
import capabilitiesFilter from '@scoria/scheduler-weighers/capabilities-filter';
import capacityFilter from '@scoria/scheduler-weighers/capacity-filter';
import { MemoryBackend, memoryDriver, MemoryObject } from '@scoria/driver-memory';
import { z } from 'zod';
import { caller, memoryInstance } from './instance.ts';
import { scriptedDriver, type Script, untilAborted } from './scripted-driver.ts';

const mib = 2 ** 20;
const gib = 2 ** 30;
const alice = caller('alice');
const root = caller('root', true);
const host = 'host@memory#pool';
const patience = 5_000;
const bytes = new Uint8Array(4096).fill(7);
const noScript = (): void => {};

let backend: MemoryBackend;
let storage: BlockStorage;
let script: Script;

beforeEach(async () => {
  backend = new MemoryBackend({ backendId: systemRandom.uuid() });
  script = noScript;
  const plugin = scriptedDriver(backend, (verb, id, call) => script(verb, id, call));
  const worker = { retryPauses: [] };
  const filters = [{ plugin: capabilitiesFilter }];
  storage = await memoryInstance({ plugins: { backends: { memory: { plugin } }, filters }, worker });
});
afterEach(() => storage.stop());

/** Puts a volume onto the backend that is nobody's. */
function foreign(name: string, size = 8 * mib): MemoryObject {
  const pool = backend.pools.get('pool');
  if (!pool) throw new Error('there is no pool');
  const object = new MemoryObject({ kind: 'volume', placementId: name, size }, pool);
  object.write(bytes, mib);
  backend.foreign.set(name, object);
  return object;
}

async function manage(reference: string, more: object = {}) {
  const { volume, operationId } = await storage.managedVolumes.manage(root, { host, reference, name: reference, ...more });
  const outcome = await storage.operations.wait(operationId, patience).then(
    () => null,
    (error: unknown) => ScoriaError.from(error),
  );
  return { id: volume.id, status: volume.status, outcome };
}

const usage = async () => (await storage.quotas.get(root, 'root')).usage;
const claims = async () => (await storage.pools.list(root))[0]?.allocated;

describe('a volume that exists on a backend', () => {
  it('is listed, taken over with its content and size, and let go again', async () => {
    foreign('old');
    foreign('small', mib);
    expect(await storage.managedVolumes.list(root, 'host@memory')).toEqual([
      { reference: 'small', pool: 'pool', size: mib, placementId: null, refusal: null, volumeId: null },
      { reference: 'old', pool: 'pool', size: 8 * mib, placementId: null, refusal: null, volumeId: null },
    ]);
    const made = await manage('old', { metadata: { a: 'b' }, bootable: true });
    expect(made).toMatchObject({ status: 'managing', outcome: null });
    const volume = await storage.volumes.get(root, made.id);
    expect(volume).toMatchObject({ status: 'available', size: 8 * mib, hostString: host, bootable: true, metadata: { a: 'b' } });
    expect(await claims()).toBe(8 * mib);
    expect(await usage()).toMatchObject({ volumes: { inUse: 1 }, gigabytes: { inUse: (8 * mib) / gib } });
    const found = new Uint8Array(bytes.length);
    backend.objects.get(volume.placementId ?? '')?.read(found, mib);
    expect(found).toEqual(bytes);
    const [mine] = (await storage.managedVolumes.list(root, host)).filter(({ volumeId }) => volumeId === made.id);
    expect(mine).toMatchObject({ placementId: volume.placementId, refusal: expect.any(String) });

    const { operationId } = await storage.managedVolumes.unmanage(root, made.id);
    await storage.operations.wait(operationId, patience);
    await expect(storage.volumes.get(root, made.id)).rejects.toMatchObject({ code: 'not-found' });
    expect(await claims()).toBe(0);
    expect(await usage()).toMatchObject({ volumes: { inUse: 0 }, gigabytes: { inUse: 0 } });
    expect(backend.objects.size).toBe(0);
    expect([...backend.foreign.values()].map(({ size }) => size).toSorted()).toEqual([mib, 8 * mib]);
    expect((await storage.audits.run(root)).backends).toEqual([{ backend: 'memory', unknown: [], missing: [], failure: null }]);
  });

  it('is listed page by page, sorted', async () => {
    for (const [name, size] of Object.entries({ a: 3, b: 1, c: 2, d: 2 })) foreign(name, size * mib);
    const names = async (page: Parameters<typeof storage.managedVolumes.list>[2]) =>
      (await storage.managedVolumes.list(root, host, page)).map(({ reference }) => reference);
    expect(await names({ sort: [{ field: 'reference', direction: 'asc' }], limit: 2 })).toEqual(['a', 'b']);
    expect(await names({ sort: [{ field: 'reference', direction: 'asc' }], marker: 'b' })).toEqual(['c', 'd']);
    const bySize = [
      { field: 'size', direction: 'desc' },
      { field: 'reference', direction: 'asc' },
    ] as const;
    expect(await names({ sort: bySize, offset: 1 })).toEqual(['c', 'd', 'b']);
    await expect(names({ marker: 'e' })).rejects.toMatchObject({ code: 'not-found' });
  });

  it('is taken over when its pool is promised to the last byte', async () => {
    await storage.stop();
    const pool = { name: 'pool', total: 8 * mib, thin: false, maxOverSubscription: 1, reserved: 0 };
    backend = new MemoryBackend({ backendId: systemRandom.uuid(), pools: [pool] });
    const plugins = {
      backends: { memory: { plugin: scriptedDriver(backend, noScript) } },
      filters: [{ plugin: capacityFilter }],
    };
    storage = await memoryInstance({ plugins });
    foreign('all');
    await expect(manage('all')).resolves.toMatchObject({ outcome: null });
    expect(await claims()).toBe(8 * mib);
  });

  it.each([
    { what: 'quota', code: 'quota-exceeded', reference: () => 'old' },
    { what: 'driver', code: 'backend-failed', reference: () => 'old' },
    { what: 'reference', code: 'not-found', reference: () => 'none' },
    { what: 'second', code: 'conflict', reference: ({ placementId }: MemoryObject) => placementId },
  ])('stays as it was when taking it over fails: $what', async ({ what, code, reference }) => {
    const object = foreign('old');
    if (what === 'quota') await storage.quotas.update(root, 'root', { gigabytes: 0 });
    if (what === 'second') await manage('old');
    const before = { usage: await usage(), claims: await claims() };
    if (what === 'driver') {
      script = (verb) => {
        if (verb === 'manage') throw new ScoriaError('backend-failed', 'The array does not like it.');
      };
    }
    const { id, outcome } = await manage(reference(object));
    expect(outcome).toMatchObject({ code });
    expect(await storage.volumes.get(root, id)).toMatchObject({ status: 'error_managing', size: 0, placementId: null });
    expect(await storage.messages.list(root, { where: [{ field: 'resourceId', op: 'eq', value: id }] })).toHaveLength(1);
    expect({ usage: await usage(), claims: await claims() }).toEqual(before);
    const found = new Uint8Array(bytes.length);
    object.read(found, mib);
    expect(found).toEqual(bytes);
    const { operationId } = await storage.volumes.delete(root, id);
    await storage.operations.wait(operationId, patience);
    await expect(storage.volumes.get(root, id)).rejects.toMatchObject({ code: 'not-found' });
    expect({ usage: await usage(), claims: await claims() }).toEqual(before);
  });

  it('keeps its bytes when a failed taking over could not be undone and the volume is deleted', async () => {
    const object = foreign('old');
    await storage.quotas.update(root, 'root', { gigabytes: 0 });
    script = (verb) => {
      if (verb === 'unmanage') throw new ScoriaError('not-supported', 'The array does not let go.');
    };
    const { id } = await manage('old');
    const volume = await storage.volumes.get(root, id);
    expect(volume).toMatchObject({ status: 'error_managing', placementId: object.placementId });
    script = noScript;
    const { operationId } = await storage.volumes.delete(root, id, { force: true });
    await storage.operations.wait(operationId, patience);
    expect([...backend.foreign.values()]).toEqual([object]);
    expect(object.removed).toBe(false);
  });

  it('is given back when the taking over is cancelled', async () => {
    foreign('old');
    const begun = Promise.withResolvers<void>();
    script = (verb, _id, call) => {
      if (verb !== 'manage') return undefined;
      begun.resolve();
      return untilAborted(call);
    };
    const { volume, operationId } = await storage.managedVolumes.manage(root, { host, reference: 'old' });
    await begun.promise;
    await storage.operations.cancel(root, operationId);
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'cancelled' });
    await expect(storage.volumes.get(root, volume.id)).rejects.toMatchObject({ code: 'not-found' });
    expect([...backend.foreign.keys()]).toEqual(['old']);
  });

  it('is for administrators, on a host that there is, in its own zone', async () => {
    foreign('old');
    const wanted = { host, reference: 'old' };
    const { managedVolumes } = storage;
    await expect(managedVolumes.manage(alice, wanted)).rejects.toMatchObject({ code: 'not-permitted' });
    await expect(managedVolumes.list(alice, host)).rejects.toMatchObject({ code: 'not-permitted' });
    await expect(managedVolumes.unmanage(alice, 'x')).rejects.toMatchObject({ code: 'not-permitted' });
    for (const wrong of [{ host: 'host@memory#other' }, { host: 'elsewhere@memory' }, { availabilityZone: 'mars' }]) {
      await expect(managedVolumes.manage(root, { ...wanted, ...wrong })).rejects.toMatchObject({ code: 'invalid-input' });
    }
    const { name } = await storage.volumeTypes.create(root, { name: 'elsewhere', extraSpecs: { volume_backend_name: 'x' } });
    await expect(managedVolumes.manage(root, { ...wanted, volumeType: name })).rejects.toMatchObject({ code: 'invalid-input' });
    expect(await storage.volumes.list(root, {})).toEqual([]);
  });

  it('is not let go while it has snapshots', async () => {
    foreign('old');
    const { id } = await manage('old');
    const { operationId } = await storage.snapshots.create(root, { volumeId: id });
    await storage.operations.wait(operationId, patience);
    await expect(storage.managedVolumes.unmanage(root, id)).rejects.toMatchObject({ code: 'invalid-state' });
    expect(await storage.volumes.get(root, id)).toMatchObject({ status: 'available' });
  });
});

describe('making a volume smaller', () => {
  async function volume(size: number): Promise<string> {
    const { volume: made, operationId } = await storage.volumes.create(alice, { size });
    await storage.operations.wait(operationId, patience);
    return made.id;
  }

  it('needs the confirmation, and gives quota and claim back', async () => {
    const id = await volume(8 * mib);
    await expect(storage.volumes.shrink(alice, id, 4 * mib, undefined)).rejects.toMatchObject({
      code: 'invalid-input',
      message: expect.stringContaining(`destroys its last ${4 * mib} bytes`),
    });
    await expect(storage.volumes.shrink(alice, id, 8 * mib, id)).rejects.toMatchObject({ code: 'invalid-input' });
    const { operationId } = await storage.volumes.shrink(alice, id, 4 * mib, id);
    await storage.operations.wait(operationId, patience);
    expect(await storage.volumes.get(alice, id)).toMatchObject({ status: 'available', size: 4 * mib });
    expect(await claims()).toBe(4 * mib);
    expect((await storage.quotas.get(alice, 'alice')).usage).toMatchObject({ gigabytes: { inUse: (4 * mib) / gib } });
  });

  it('is refused while the volume has snapshots, which would be larger', async () => {
    const id = await volume(8 * mib);
    const { operationId } = await storage.snapshots.create(alice, { volumeId: id });
    await storage.operations.wait(operationId, patience);
    await expect(storage.volumes.shrink(alice, id, mib, id)).rejects.toMatchObject({ code: 'invalid-state' });
  });

  it('is told by a reply that was lost as what it is', async () => {
    const id = await volume(8 * mib);
    const { placementId } = await storage.volumes.get(alice, id);
    script = (verb) => {
      if (verb !== 'shrink') return;
      backend.objects.get(placementId ?? '')?.shrink(4 * mib);
      throw new ScoriaError('not-supported', 'The array says no, and has done it.');
    };
    const { operationId } = await storage.volumes.shrink(alice, id, 4 * mib, id);
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'not-supported' });
    expect(await storage.volumes.get(alice, id)).toMatchObject({ status: 'available', size: 4 * mib });
    expect(await claims()).toBe(4 * mib);
  });
});

describe('a copy from a driver that knows extents', () => {
  it('reads nothing else', async () => {
    await storage.stop();
    backend = new MemoryBackend({ backendId: systemRandom.uuid() });
    const sound = memoryDriver({ backend });
    const plugin = definePlugin({
      ...sound,
      config: z.strictObject({}),
      capabilities: ['extents'],
      create: (context) => {
        const driver = sound.create(context);
        return {
          check: (call) => driver.check(call),
          pools: (call) => driver.pools(call),
          create: (request, call) => driver.create(request, call),
          delete: (volume, call) => driver.delete(volume, call),
          extend: (volume, size, call) => driver.extend(volume, size, call),
          createSnapshot: (snapshot, volume, call) => driver.createSnapshot(snapshot, volume, call),
          deleteSnapshot: (snapshot, call) => driver.deleteSnapshot(snapshot, call),
          list: (call) => driver.list(call),
          locate: (object, call) => driver.locate(object, call),
          allocatedExtents: async function* () {
            yield { offset: 2 * mib, length: mib };
          },
          changedExtents: async function* () {},
        };
      },
    });
    storage = await memoryInstance({ plugins: { backends: { memory: { plugin } } } });
    const source = await storage.volumes.create(alice, { size: 4 * mib });
    await storage.operations.wait(source.operationId, patience);
    const contentOf = async (id: string) =>
      backend.objects.get((await storage.volumes.get(alice, id)).placementId ?? '') ?? foreign('missing');
    for (const offset of [0, 2 * mib]) (await contentOf(source.volume.id)).write(bytes, offset);
    const copy = await storage.volumes.create(alice, { sourceVolumeId: source.volume.id });
    await storage.operations.wait(copy.operationId, patience);
    const extents = [...(await contentOf(copy.volume.id)).allocated(0, 4 * mib)];
    expect(extents).toEqual([{ offset: 2 * mib, length: 65_536 }]);
  });
});
