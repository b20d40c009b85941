import type { VolumeStatus, VolumeTransition } from '@scoria/core';
import { expect, test } from 'vitest';
import { openStore, placement, snapshot, volume, volumeType } from './sample-rows.ts';

const own = { projectId: 'project-1' };
const other = { projectId: 'project-2' };
const backend = {
  id: 'backend-1',
  name: 'file',
  host: 'node-a',
  availabilityZone: 'nova',
  driverCapabilities: [],
  pools: [],
  reportedAt: 1,
  fault: null,
};

test('a volume is read back as it was written', async () => {
  await using store = await openStore();
  const written = volume({ name: 'data', metadata: { "it's": 'a "quote"', purpose: 'é' }, readOnly: true, multiattach: true });
  await store.transaction((r) => r.volumes.insert(written));
  expect(await store.reading.volumes.get(own, written.id)).toEqual({ ...written, hostString: null });
});

test('sizes whose sum is more than 2^53 bytes are still told', async () => {
  await using store = await openStore();
  const size = Number.MAX_SAFE_INTEGER;
  const ids = ['a', 'b', 'c'];
  await store.transaction(async (r) => {
    for (const id of ids) await r.volumes.insert(volume({ id, size }));
    for (const id of ids) await r.placements.insert(placement({ id, claimed: size }));
  });
  expect(await store.reading.volumes.usage('project-1')).toMatchObject([{ count: 3, bytes: 3 * size }]);
  expect(await store.reading.volumes.summary('every-project', {})).toMatchObject({ count: 3, bytes: 3 * size });
  expect(await store.reading.placements.claims()).toMatchObject([{ claimed: 3 * size }]);
  await store.transaction(async (r) => {
    for (const id of ['a', 'b']) await r.volumes.remove(id);
    for (const id of ['a', 'b']) await r.placements.remove(id);
  });
  expect(await store.reading.volumes.usage('project-1')).toMatchObject([{ count: 1, bytes: size }]);
  expect(await store.reading.placements.claims()).toMatchObject([{ claimed: size }]);
});

test("another project's volume is as unknown as one that does not exist", async () => {
  await using store = await openStore();
  await store.transaction((r) => r.volumes.insert(volume()));
  const { volumes } = store.reading;
  const gone = { code: 'not-found', message: 'Volume volume-1 could not be found.' };
  await expect(volumes.get(other, 'volume-1')).rejects.toMatchObject(gone);
  await expect(store.transaction((r) => r.volumes.update(other, 'volume-1', { name: 'mine' }, 5))).rejects.toMatchObject(gone);
  await expect(store.transaction((r) => r.volumes.transition(other, 'volume-1', 'created', 5))).rejects.toMatchObject(gone);
  expect(await volumes.list(other, {})).toEqual([]);
  expect(await volumes.count(other, {})).toBe(0);
  expect(await volumes.summary(other, {})).toEqual({ count: 0, bytes: 0, metadata: {} });
  await expect(volumes.list(other, { marker: 'volume-1' })).rejects.toMatchObject({ code: 'not-found' });
  // Not even when the error is caught and the transaction goes on.
  await store.transaction(async (r) => {
    await r.volumes.update(other, 'volume-1', { name: 'mine' }, 5).catch(() => {});
    await r.volumes.transition(other, 'volume-1', 'created', 5).catch(() => {});
  });
  expect(await volumes.get('every-project', 'volume-1')).toMatchObject({ name: null, status: 'creating' });
});

test('the same id twice is a conflict', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.volumes.insert(volume()));
  await expect(store.transaction((r) => r.volumes.insert(volume()))).rejects.toMatchObject({ code: 'conflict' });
});

test('an update writes what the patch has, null included, and the time', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.volumes.insert(volume({ name: 'a', description: 'b' })));
  const updated = await store.transaction((r) => r.volumes.update(own, 'volume-1', { description: null, bootable: true }, 7));
  expect(updated).toMatchObject({ name: 'a', description: null, bootable: true, updatedAt: 7 });
});

test('a transition starts only from the statuses of its table, and tells which these are', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.volumes.insert(volume()));
  const created = await store.transaction((r) =>
    r.volumes.transition(own, 'volume-1', 'created', 7, { patch: { launchedAt: 7 } }),
  );
  expect(created).toMatchObject({ status: 'available', updatedAt: 7, launchedAt: 7 });
  await expect(store.transaction((r) => r.volumes.transition(own, 'volume-1', 'created', 8))).rejects.toMatchObject({
    code: 'invalid-state',
    message: 'Volume volume-1 is available; created needs one of: creating.',
    details: { status: 'available', allowed: ['creating'] },
  });
  expect(await store.reading.volumes.get(own, 'volume-1')).toMatchObject({ status: 'available', updatedAt: 7 });
});

test('of two transitions that exclude each other one wins', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.volumes.insert(volume({ status: 'available' })));
  const outcomes = await Promise.allSettled([
    store.transaction((r) => r.volumes.transition(own, 'volume-1', 'delete', 7)),
    store.transaction((r) => r.volumes.transition(own, 'volume-1', 'revert', 7)),
  ]);
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
});

test('a transition with several targets needs one of them named', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.volumes.insert(volume({ status: 'extending' })));
  await expect(store.transaction((r) => r.volumes.transition(own, 'volume-1', 'extendEnded', 7))).rejects.toMatchObject({
    code: 'internal',
  });
  const ended = await store.transaction((r) => r.volumes.transition(own, 'volume-1', 'extendEnded', 7, { to: 'in-use' }));
  expect(ended.status).toBe('in-use');
});

test('the host string follows the placement and the label of the backend', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.backends.report(backend);
    await r.backends.report({ ...backend, id: 'backend-2', name: 'file2' });
    for (const [id, backendId, pool] of [
      ['a', 'backend-1', 'ssd'],
      ['b', 'backend-1', 'hdd'],
      ['c', 'backend-2', 'ssd'],
    ] as const) {
      await r.placements.insert(placement({ id: `placement-${id}`, backendId, pool, resourceId: id }));
      await r.volumes.insert(volume({ id, placementId: `placement-${id}` }));
    }
    await r.volumes.insert(volume({ id: 'd' }));
  });
  const { volumes } = store.reading;
  expect(await volumes.get(own, 'a')).toMatchObject({ hostString: 'node-a@file#ssd' });
  const matching = async (value: string) =>
    (
      await volumes.list(own, { where: [{ field: 'hostString', op: 'eq', value }], sort: [{ field: 'id', direction: 'asc' }] })
    ).map(({ id }) => id);
  expect(await matching('node-a@file#hdd')).toEqual(['b']);
  expect(await matching('node-a@file')).toEqual(['a', 'b']);
  expect(await matching('node-a')).toEqual(['a', 'b', 'c']);
  expect(await matching('node-a@fil')).toEqual([]);
  const sorted = await volumes.list(own, { sort: [{ field: 'hostString', direction: 'asc' }] });
  expect(sorted.map(({ id }) => id)).toEqual(['d', 'b', 'a', 'c']);
  expect(await volumes.count(own, { where: [{ field: 'hostString', op: 'eq', value: 'node-a@file' }] })).toBe(2);
  await store.transaction((r) => r.backends.report({ ...backend, name: 'renamed' }));
  expect(await volumes.get(own, 'a')).toMatchObject({ hostString: 'node-a@renamed#ssd' });
});

test('usage leaves out what could not be taken over, whichever way it goes from there', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.volumes.insert(volume({ size: 0, status: 'managing' })));
  const { volumes } = store.reading;
  const counts = async () => (await volumes.usage('project-1')).map(({ count }) => count);
  const to = (name: VolumeTransition, status: VolumeStatus) =>
    store.transaction((r) => r.volumes.transition(own, 'volume-1', name, 7, { to: status }));
  expect(await counts()).toEqual([1]);
  await to('managingFailed', 'error_managing');
  expect(await counts()).toEqual([]);
  await expect(to('managed', 'available')).rejects.toMatchObject({ code: 'invalid-state' });
  expect(await counts()).toEqual([]);
  await to('unmanage', 'unmanaging');
  expect(await counts()).toEqual([1]);
  await to('unmanagingFailed', 'error_managing');
  expect(await counts()).toEqual([]);
  await store.transaction((r) => r.volumes.remove('volume-1'));
  expect(await counts()).toEqual([]);
});

test('usage counts numbers and bytes by project and type, whatever becomes of the rows', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.volumeTypes.insert(volumeType({ id: 'type-2', name: 'slow' }));
    await r.volumes.insert(volume({ id: 'a', size: 10, metadata: { tier: 'gold' } }));
    await r.volumes.insert(volume({ id: 'b', size: 20, status: 'available' }));
    await r.volumes.insert(volume({ id: 'c', size: 40, volumeTypeId: 'type-2', metadata: { tier: 'silver' } }));
    await r.volumes.insert(volume({ id: 'd', size: 80, projectId: 'project-2' }));
    await r.snapshots.insert(snapshot({ size: 10, volumeId: 'a' }));
  });
  const { volumes, snapshots } = store.reading;
  expect(await volumes.usage('project-1')).toStrictEqual([
    { volumeTypeId: 'type-1', count: 2, bytes: 30 },
    { volumeTypeId: 'type-2', count: 1, bytes: 40 },
  ]);
  expect(await snapshots.usage('project-1')).toEqual([{ volumeTypeId: 'type-1', count: 1, bytes: 10 }]);
  expect(await snapshots.usage('project-2')).toEqual([]);
  await store.transaction(async (r) => {
    await r.volumes.update(own, 'a', { size: 15, name: 'larger' }, 1);
    await r.volumes.update(own, 'c', { volumeTypeId: 'type-1' }, 1);
    await r.volumes.transition('every-project', 'b', 'extend', 1, { patch: { size: 25 } });
    await r.volumes.remove('b');
    await r.volumes.remove('b');
    await r.snapshots.remove('snapshot-1');
  });
  expect(await volumes.usage('project-1')).toStrictEqual([{ volumeTypeId: 'type-1', count: 2, bytes: 55 }]);
  expect(await volumes.usage('project-2')).toEqual([{ volumeTypeId: 'type-1', count: 1, bytes: 80 }]);
  expect(await snapshots.usage('project-1')).toEqual([]);
});

test('a summary has every metadata value', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.volumes.insert(volume({ id: 'a', size: 10, metadata: { tier: 'gold' } }));
    await r.volumes.insert(volume({ id: 'b', size: 20, metadata: { tier: 'gold', owner: 'x' } }));
    await r.volumes.insert(volume({ id: 'c', size: 40, metadata: { tier: 'silver' } }));
    await r.volumes.insert(volume({ id: 'd', size: 80, projectId: 'project-2' }));
  });
  const { volumes } = store.reading;
  expect(await volumes.summary(own, {})).toEqual({ count: 3, bytes: 70, metadata: { tier: ['gold', 'silver'], owner: ['x'] } });
  expect(await volumes.summary('every-project', {})).toMatchObject({ count: 4, bytes: 150 });
});

test('a volume is not removed while a snapshot of it is left, and removing twice is no error', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.volumes.insert(volume());
    await r.snapshots.insert(snapshot());
  });
  await expect(store.transaction((r) => r.volumes.remove('volume-1'))).rejects.toMatchObject({ code: 'internal' });
  // Both in one transaction, in any order.
  await store.transaction(async (r) => {
    await r.volumes.remove('volume-1');
    await r.snapshots.remove('snapshot-1');
  });
  await store.transaction((r) => r.volumes.remove('volume-1'));
  expect(await store.reading.volumes.count('every-project', {})).toBe(0);
});

test('snapshots have the rules of volumes', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.volumes.insert(volume({ availabilityZone: 'zone-b' }));
    await r.snapshots.insert(snapshot({ metadata: { a: 'b' } }));
  });
  const { snapshots } = store.reading;
  await expect(snapshots.get(other, 'snapshot-1')).rejects.toThrow('Snapshot snapshot-1 could not be found.');
  expect(await snapshots.get(own, 'snapshot-1')).toEqual(snapshot({ metadata: { a: 'b' } }));
  const inZone = (value: string) => snapshots.count(own, { where: [{ field: 'availabilityZone', op: 'eq', value }] });
  expect(await inZone('zone-b')).toBe(1);
  expect(await inZone('nova')).toBe(0);
  await store.transaction((r) => r.snapshots.transition(own, 'snapshot-1', 'created', 9, { patch: { placementId: 'p' } }));
  await expect(store.transaction((r) => r.snapshots.transition(own, 'snapshot-1', 'restored', 9))).rejects.toThrow(
    'Snapshot snapshot-1 is available; restored needs one of: restoring.',
  );
  const renamed = await store.transaction((r) => r.snapshots.update(own, 'snapshot-1', { name: 'n' }, 10));
  expect(renamed).toMatchObject({ name: 'n', placementId: 'p', updatedAt: 10, status: 'available' });
});
