import { expect, test } from 'vitest';
import { access, attachment, message, openStore, placement, qosSpec, volume, volumeType } from './sample-rows.ts';

const own = { projectId: 'project-1' };
const other = { projectId: 'project-2' };

test('attachments: written, listed by volume, counted on their access, hidden from others', async () => {
  await using store = await openStore();
  const connector = { initiator: 'iqn.2026-01.example:host', host: 'node-a', multipath: false, platform: 'x86_64' };
  await store.transaction(async (r) => {
    await r.volumes.insert(volume());
    await r.volumes.insert(volume({ id: 'volume-2' }));
    await r.attachments.insert(attachment({ createdAt: 2 }));
    await r.attachments.insert(attachment({ id: 'attachment-2', createdAt: 1, connector }));
    await r.attachments.insert(attachment({ id: 'attachment-3', volumeId: 'volume-2', createdAt: 3 }));
  });
  const { attachments } = store.reading;
  expect(await attachments.get(own, 'attachment-2')).toEqual(attachment({ id: 'attachment-2', createdAt: 1, connector }));
  await expect(attachments.get(other, 'attachment-2')).rejects.toThrow('Attachment attachment-2 could not be found.');
  const ids = (rows: readonly { id: string }[]) => rows.map(({ id }) => id);
  expect(ids(await attachments.ofVolumes(['volume-1', 'volume-2']))).toEqual(['attachment-2', 'attachment-1', 'attachment-3']);
  expect(await attachments.ofVolumes([])).toEqual([]);
  expect(ids(await attachments.list(own, {}))).toEqual(['attachment-3', 'attachment-1', 'attachment-2']);
  expect(await attachments.list(other, {})).toEqual([]);
  const updated = await store.transaction((r) =>
    r.attachments.update('attachment-1', { accessId: 'access-1', status: 'attached' }, 9),
  );
  expect(updated).toMatchObject({ accessId: 'access-1', status: 'attached', updatedAt: 9 });
  expect(await attachments.countOnAccess('access-1')).toBe(1);
  await store.transaction((r) => r.attachments.remove('attachment-1'));
  expect(await attachments.countOnAccess('access-1')).toBe(0);
});

test('accesses: one for each volume and initiator, until it is ending', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.accesses.insert(access()));
  const second = access({ id: 'access-2', createdAt: 101 });
  await expect(store.transaction((r) => r.accesses.insert(second))).rejects.toMatchObject({ code: 'conflict' });
  await store.transaction((r) => r.accesses.setState('access-1', 'ending'));
  await store.transaction((r) => r.accesses.insert(second));
  const { accesses } = store.reading;
  expect(await accesses.find('volume-1', access().initiator)).toEqual(second);
  expect(await accesses.find('volume-1', 'iqn.other')).toBeUndefined();
  expect((await accesses.ofVolume('volume-1')).map(({ state }) => state)).toEqual(['ending', 'opening']);
  expect(await accesses.all()).toHaveLength(2);
  expect(await accesses.get('access-2')).toEqual(second);
  await store.transaction((r) => r.accesses.remove('access-1'));
  await expect(accesses.get('access-1')).rejects.toMatchObject({ code: 'not-found' });
  await expect(store.transaction((r) => r.accesses.setState('access-1', 'open'))).rejects.toMatchObject({ code: 'not-found' });
});

test('placements: claims are the sums of what is there now', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.placements.insert(placement({ id: 'a', claimed: 10 }));
    await r.placements.insert(placement({ id: 'b', claimed: 5 }));
    await r.placements.insert(placement({ id: 'c', claimed: 7, pool: 'hdd' }));
    await r.placements.insert(placement({ id: 'd', claimed: 1, backendId: 'backend-2' }));
  });
  const claims = async () => (await store.reading.placements.claims()).toSorted((a, b) => a.claimed - b.claimed);
  expect(await claims()).toStrictEqual([
    { backendId: 'backend-2', pool: 'ssd', claimed: 1, placements: 1 },
    { backendId: 'backend-1', pool: 'hdd', claimed: 7, placements: 1 },
    { backendId: 'backend-1', pool: 'ssd', claimed: 15, placements: 2 },
  ]);
  await store.transaction(async (r) => {
    await r.placements.update('a', { claimed: 20, size: 21, backendRef: 'ref' });
    await r.placements.remove('c');
    await r.placements.remove('c');
  });
  expect((await claims()).map(({ claimed }) => claimed)).toEqual([1, 25]);
  const { placements } = store.reading;
  expect(await placements.get('a')).toEqual(placement({ id: 'a', claimed: 20, size: 21, backendRef: 'ref' }));
  expect((await placements.ofBackend('backend-1', null, 1)).map(({ id }) => id)).toEqual(['a']);
  expect((await placements.ofBackend('backend-1', 'a', 5)).map(({ id }) => id)).toEqual(['b']);
  await expect(placements.get('c')).rejects.toMatchObject({ code: 'not-found' });
});

test('backends: a report replaces the last one, but not what an administrator set', async () => {
  await using store = await openStore();
  const pool = {
    name: 'ssd',
    total: 100,
    free: 50,
    thin: true,
    maxOverSubscription: 2,
    reserved: 0.05,
    capabilities: { fast: true },
  };
  const report = {
    id: 'backend-1',
    name: 'file',
    host: 'node-a',
    availabilityZone: 'nova',
    driverCapabilities: ['clone'],
    pools: [
      pool,
      { ...pool, name: 'lost', fault: { code: 'backend-failed', message: 'A disk is gone', remedy: '', since: 1 } } as const,
    ],
    reportedAt: 1,
    fault: null,
  };
  await store.transaction((r) => r.backends.report(report));
  expect(await store.reading.backends.list()).toEqual([{ ...report, enabled: true, disabledReason: null }]);
  await store.transaction((r) => r.backends.setEnabled('backend-1', false, 'disk change'));
  const fault = { code: 'backend-failed', message: 'A disk is gone', remedy: 'Bring it back.', since: 2 } as const;
  const later = { ...report, name: 'renamed', pools: [], reportedAt: 2, fault };
  await store.transaction((r) => r.backends.report(later));
  expect(await store.reading.backends.list()).toEqual([{ ...later, enabled: false, disabledReason: 'disk change' }]);
  await store.transaction((r) => r.backends.setEnabled('backend-1', true, null));
  expect(await store.reading.backends.list()).toMatchObject([{ enabled: true, disabledReason: null }]);
  await expect(store.transaction((r) => r.backends.setEnabled('x', true, null))).rejects.toMatchObject({ code: 'not-found' });
});

test('services: a sign of life keeps them disabled', async () => {
  await using store = await openStore();
  const beat = (seenAt: number) =>
    store.transaction((r) => r.services.beat({ binary: 'cinder-volume', host: 'node-a@file', availabilityZone: 'nova', seenAt }));
  await beat(1);
  const disabled = await store.transaction((r) => r.services.setEnabled('cinder-volume', 'node-a@file', false, 'work'));
  expect(disabled).toMatchObject({ enabled: false, disabledReason: 'work', seenAt: 1 });
  await beat(2);
  expect(await store.reading.services.list()).toEqual([{ ...disabled, seenAt: 2 }]);
  await expect(store.transaction((r) => r.services.setEnabled('cinder-volume', 'x', true, null))).rejects.toMatchObject({
    code: 'not-found',
  });
});

test('QoS specs: unique names; a type has one, and one that is had cannot be removed', async () => {
  await using store = await openStore();
  const gold = qosSpec();
  const bronze = qosSpec({ id: 'spec-2', name: 'bronze', consumer: 'both', createdAt: 2 });
  await store.transaction(async (r) => {
    await r.qosSpecs.insert(gold);
    await r.qosSpecs.insert(bronze);
  });
  await expect(store.transaction((r) => r.qosSpecs.insert({ ...gold, id: 'spec-3' }))).rejects.toMatchObject({
    code: 'conflict',
    message: 'QoS spec gold exists already.',
  });
  const { qosSpecs, volumeTypes } = store.reading;
  const both = [{ field: 'consumer', op: 'eq', value: 'both' }] as const;
  expect(await qosSpecs.list({ sort: [{ field: 'name', direction: 'asc' }] })).toEqual([bronze, gold]);
  expect(await qosSpecs.list({ where: both })).toEqual([bronze]);
  expect(await qosSpecs.list({ limit: 1, marker: 'spec-2' })).toEqual([gold]);
  const changed = await store.transaction((r) => r.qosSpecs.update('spec-1', { consumer: 'both', specs: {} }, 5));
  expect(changed).toEqual({ ...gold, consumer: 'both', specs: {}, updatedAt: 5 });
  await expect(qosSpecs.get('none')).rejects.toMatchObject({ code: 'not-found', message: 'QoS spec none could not be found.' });
  await store.transaction((r) => r.volumeTypes.update('type-1', { qosSpecId: 'spec-1' }, 6));
  expect((await volumeTypes.ofQosSpec('spec-1')).map(({ name }) => name)).toEqual(['fast']);
  await expect(store.transaction((r) => r.qosSpecs.remove('spec-1'))).rejects.toThrow();
  await store.transaction(async (r) => {
    await r.volumeTypes.update('type-1', { qosSpecId: null }, 7);
    await r.qosSpecs.remove('spec-1');
    await r.qosSpecs.remove('spec-1');
  });
  expect(await qosSpecs.list({})).toEqual([bronze]);
});

test('volume types: unique names; private ones are seen by those with access', async () => {
  await using store = await openStore();
  const secret = volumeType({
    id: 'type-2',
    name: 'secret',
    isPublic: false,
    extraSpecs: { volume_backend_name: 'x' },
    createdAt: 2,
  });
  await store.transaction((r) => r.volumeTypes.insert(secret));
  const { volumeTypes } = store.reading;
  await expect(store.transaction((r) => r.volumeTypes.insert({ ...secret, id: 'type-3' }))).rejects.toMatchObject({
    code: 'conflict',
    message: 'Volume type secret exists already.',
  });
  await expect(store.transaction((r) => r.volumeTypes.update('type-2', { name: 'fast' }, 5))).rejects.toMatchObject({
    code: 'conflict',
  });
  await expect(volumeTypes.get(own, 'type-2')).rejects.toThrow('Volume type type-2 could not be found.');
  await expect(volumeTypes.resolve(own, 'secret')).rejects.toMatchObject({ code: 'not-found' });
  expect(await volumeTypes.resolve('every-project', 'secret')).toEqual(secret);
  const names = async (tenancy: typeof own) => (await volumeTypes.list(tenancy, {})).map(({ name }) => name);
  expect(await names(own)).toEqual(['fast']);
  await store.transaction((r) => r.volumeTypes.grantAccess('type-2', 'project-1'));
  await expect(store.transaction((r) => r.volumeTypes.grantAccess('type-2', 'project-1'))).rejects.toMatchObject({
    code: 'conflict',
  });
  expect(await names(own)).toEqual(['secret', 'fast']);
  expect(await names(other)).toEqual(['fast']);
  expect(await volumeTypes.projectsWithAccess('type-2')).toEqual(['project-1']);
  expect(await volumeTypes.list('every-project', { metadata: { volume_backend_name: 'x' } })).toEqual([secret]);
  await store.transaction((r) => r.volumeTypes.revokeAccess('type-2', 'project-1'));
  await expect(store.transaction((r) => r.volumeTypes.revokeAccess('type-2', 'project-1'))).rejects.toMatchObject({
    code: 'not-found',
  });
});

test('volume types: an id wins over a name that looks like it', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.volumeTypes.insert(volumeType({ id: 'type-2', name: 'type-1' })));
  expect(await store.reading.volumeTypes.resolve(own, 'type-1')).toMatchObject({ id: 'type-1' });
});

test('volume types: one in use is not removed', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.volumes.insert(volume());
    await r.volumeTypes.grantAccess('type-1', 'project-1');
  });
  const remove = () => store.transaction((r) => r.volumeTypes.remove('type-1'));
  await expect(remove()).rejects.toMatchObject({ code: 'invalid-state' });
  await store.transaction((r) => r.volumes.remove('volume-1'));
  await remove();
  expect(await store.reading.volumeTypes.list('every-project', {})).toEqual([]);
});

test('quotas: set by resource, for projects and classes apart', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.quotas.setForProject('a', { volumes: 5, gigabytes: -1 });
    await r.quotas.setForProject('a', { volumes: 6 });
    await r.quotas.setForProject('a', {});
    await r.quotas.setForClass('a', { volumes: 1 });
  });
  const { quotas } = store.reading;
  expect(await quotas.ofProject('a')).toEqual({ volumes: 6, gigabytes: -1 });
  expect(await quotas.ofProject('b')).toEqual({});
  await store.transaction((r) => r.quotas.resetProject('a'));
  expect(await quotas.ofProject('a')).toEqual({});
  expect(await quotas.ofClass('a')).toEqual({ volumes: 1 });
});

test('text that would be read back otherwise is refused, and what a program printed is made fit', async () => {
  await using store = await openStore();
  for (const name of ['a\0b', '\ud800']) {
    const insertion = store.transaction((r) => r.volumes.insert(volume({ name })));
    await expect(insertion).rejects.toMatchObject({ code: 'invalid-input' });
  }
  expect(await store.reading.volumes.count('every-project', {})).toBe(0);
  await store.transaction((r) => r.messages.insert(message({ text: 'a\0b\ud800' })));
  expect(await store.reading.messages.get(own, 'message-1')).toMatchObject({ text: 'a\ufffdb\ufffd' });
});

test('messages: seen and removed by their project, gone after their time', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.messages.insert(message());
    await r.messages.insert(message({ id: 'message-2', guaranteedUntil: 300, createdAt: 101 }));
  });
  const { messages } = store.reading;
  expect(await messages.get(own, 'message-1')).toEqual(message());
  await expect(store.transaction((r) => r.messages.remove(other, 'message-1'))).rejects.toThrow('could not be found');
  expect((await messages.list(own, {})).map(({ id }) => id)).toEqual(['message-2', 'message-1']);
  expect(await store.transaction((r) => r.messages.removeExpired(201, 9))).toBe(1);
  await store.transaction((r) => r.messages.remove(own, 'message-2'));
  expect(await messages.list('every-project', {})).toEqual([]);
});

test('events: an ascending sequence that is never reused, seen by project', async () => {
  await using store = await openStore();
  const event = (volumeId: string, projectId: string) => ({ name: 'volume.deleted', payload: { volumeId, projectId } }) as const;
  const { events } = store.reading;
  expect(await events.latest()).toBe(0);
  await store.transaction((r) => r.events.append([event('a', 'project-1'), event('b', 'project-2')], 10));
  await store.transaction((r) => r.events.append([], 11));
  expect(await events.after(own, 0, 10)).toEqual([
    { sequence: 1, at: 10, projectId: 'project-1', name: 'volume.deleted', payload: { volumeId: 'a', projectId: 'project-1' } },
  ]);
  expect((await events.after('every-project', 0, 1)).map(({ sequence }) => sequence)).toEqual([1]);
  expect((await events.after('every-project', 1, 9)).map(({ sequence }) => sequence)).toEqual([2]);
  expect(await store.transaction((r) => r.events.removeOlderThan(11, 1))).toBe(1);
  expect((await events.after('every-project', 0, 9)).map(({ sequence }) => sequence)).toEqual([2]);
  expect(await store.transaction((r) => r.events.removeOlderThan(11, 9))).toBe(1);
  await store.transaction((r) => r.events.append([event('c', 'project-1')], 12));
  expect(await events.latest()).toBe(3);
});
