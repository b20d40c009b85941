import { ScoriaError } from '@scoria/core';
import { expect, test } from 'vitest';
import { openStore, operation, volume } from './sample-rows.ts';

const own = { projectId: 'project-1' };
const change = { kind: 'volume', id: 'volume-1', mode: 'change' } as const;
const reads = { kind: 'volume', id: 'volume-1', mode: 'read' } as const;

test('an operation is read back as it was written', async () => {
  await using store = await openStore();
  const written = operation({
    input: { nested: [1, null, 'x'] },
    state: undefined,
    progress: { step: 'copy', done: 1, total: 2, rate: 3, remaining: null },
    error: new ScoriaError('device-no-space', 'The pool is full', { cause: new Error('ENOSPC') }).toData(),
  });
  await store.transaction((r) => r.operations.insert(written, []));
  expect(await store.reading.operations.get(own, written.id)).toEqual({ ...written, state: null });
  await expect(store.reading.operations.get({ projectId: 'project-2' }, written.id)).rejects.toMatchObject({ code: 'not-found' });
});

test.each([
  { first: [change], second: [change], refused: true },
  { first: [change], second: [reads], refused: true },
  { first: [reads], second: [change], refused: true },
  { first: [reads], second: [reads], refused: false },
  { first: [reads], second: [reads, change], refused: true },
  { first: [{ ...change, id: 'volume-2' }], second: [change], refused: false },
  { first: [{ ...change, kind: 'snapshot' as const }], second: [change], refused: false },
])('uses $first.0.mode then $second.0.mode: refused is $refused', async ({ first, second, refused }) => {
  await using store = await openStore();
  await store.transaction((r) => r.operations.insert(operation(), first));
  const insertion = store.transaction((r) => r.operations.insert(operation({ id: 'operation-2' }), second));
  if (!refused) return expect(await insertion).toBeUndefined();
  await expect(insertion).rejects.toMatchObject({
    code: 'invalid-state',
    message: 'Volume volume-1 is in use by operation operation-1 (volume.create), which has not ended.',
    details: { operationId: 'operation-1' },
  });
  await expect(store.reading.operations.get(own, 'operation-2')).rejects.toMatchObject({ code: 'not-found' });
});

test('ending an operation frees what it used', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.operations.insert(operation(), [change, reads]));
  expect((await store.reading.operations.using('volume', 'volume-1')).map(({ id }) => id)).toEqual(['operation-1']);
  await store.transaction((r) => r.operations.lease('operation-1', 'worker', 100, 200));
  const ended = await store.transaction((r) => r.operations.write('operation-1', 'worker', 1, { status: 'failed' }, 150));
  expect(ended).toMatchObject({ status: 'failed', endedAt: 150, updatedAt: 150 });
  expect(await store.reading.operations.using('volume', 'volume-1')).toEqual([]);
  await store.transaction((r) => r.operations.insert(operation({ id: 'operation-2' }), [change]));
  await expect(
    store.transaction((r) => r.operations.write('operation-1', 'worker', 1, { status: 'running' }, 160)),
  ).rejects.toMatchObject({ code: 'lease-lost' });
});

test('one worker of many gets the lease; another takes over when it is over, with the next fence', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.operations.insert(operation(), []));
  const taken = await Promise.all(
    ['a', 'b', 'c'].map((owner) => store.transaction((r) => r.operations.lease('operation-1', owner, 100, 200))),
  );
  const winners = taken.filter((each) => each !== undefined);
  expect(winners).toMatchObject([{ leaseOwner: 'a', leaseUntil: 200, fence: 1 }]);
  expect(await store.transaction((r) => r.operations.lease('operation-1', 'b', 199, 300))).toBeUndefined();
  // Whoever holds it, and does not work on it, takes it again.
  await store.transaction((r) => r.operations.insert(operation({ id: 'again' }), []));
  expect(await store.transaction((r) => r.operations.lease('again', 'a', 100, 200))).toMatchObject({ fence: 2 });
  expect(await store.transaction((r) => r.operations.lease('again', 'a', 101, 201))).toMatchObject({ fence: 3, leaseUntil: 201 });
  expect(await store.transaction((r) => r.operations.lease('operation-1', 'b', 200, 300))).toMatchObject({ fence: 4 });
  await expect(store.transaction((r) => r.operations.write('operation-1', 'a', 1, { step: 1 }, 210))).rejects.toMatchObject({
    code: 'lease-lost',
  });
  await expect(store.transaction((r) => r.operations.write('operation-1', 'b', 1, { step: 1 }, 210))).rejects.toMatchObject({
    code: 'lease-lost',
  });
  expect(await store.transaction((r) => r.operations.write('operation-1', 'b', 4, { step: 1 }, 210))).toMatchObject({ step: 1 });
  await store.transaction((r) => r.operations.insert(operation({ id: 'operation-2' }), []));
  // Fences grow over all operations: a plug-in sees those of different operations on one object.
  expect(await store.transaction((r) => r.operations.lease('operation-2', 'a', 100, 200))).toMatchObject({ fence: 5 });
  expect(await store.transaction((r) => r.operations.lease('missing', 'b', 0, 1))).toBeUndefined();
});

test('runnable are those that are free, due, and for this worker; oldest first', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    const add = (id: string, fields: Parameters<typeof operation>[0]) => r.operations.insert(operation({ id, ...fields }), []);
    await add('younger', { createdAt: 300 });
    await add('older', { createdAt: 200 });
    await add('leased', { leaseOwner: 'x', leaseUntil: 1001 });
    await add('its own', { createdAt: 450, leaseOwner: 'me', leaseUntil: 1001 });
    await add('abandoned', { createdAt: 400, leaseOwner: 'x', leaseUntil: 1000 });
    await add('later', { notBefore: 1001 });
    // The clock has gone back since.
    await add('from the future', { createdAt: 480, notBefore: 9001, updatedAt: 9000 });
    await add('ended', { status: 'failed', endedAt: 5 });
    await add('here', { createdAt: 500, role: 'volume', backendId: 'backend-1' });
    await add('elsewhere', { role: 'volume', backendId: 'backend-2' });
  });
  const runnable = (roles: readonly ('scheduler' | 'volume')[], backendIds: readonly string[], limit = 10) =>
    store.reading.operations.runnable({ owner: 'me', roles, backendIds }, 1000, limit);
  expect(await runnable(['scheduler', 'volume'], ['backend-1'])).toEqual([
    'older',
    'younger',
    'abandoned',
    'its own',
    'from the future',
    'here',
  ]);
  expect(await runnable(['scheduler', 'volume'], ['backend-1'], 2)).toEqual(['older', 'younger']);
  expect(await runnable(['volume'], ['backend-1', 'backend-2'])).toEqual(['elsewhere', 'here']);
  expect(await runnable(['volume'], [])).toEqual([]);
  expect(await runnable([], ['backend-1'])).toEqual([]);
});

test('a cancellation is noted, makes a waiting operation due, and leaves an ended one alone', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.operations.insert(operation({ notBefore: 9000 }), []);
    await r.operations.insert(operation({ id: 'ended', status: 'succeeded', endedAt: 5 }), []);
  });
  const cancel = (id: string) => store.transaction((r) => r.operations.requestCancel(own, id, 500));
  expect(await cancel('operation-1')).toMatchObject({ cancelRequested: true, notBefore: 500 });
  expect(await cancel('ended')).toMatchObject({ cancelRequested: false, updatedAt: 100 });
  await expect(
    store.transaction((r) => r.operations.requestCancel({ projectId: 'project-2' }, 'operation-1', 600)),
  ).rejects.toMatchObject({ code: 'not-found' });
});

test('a journal is numbered within its operation, in the order of writing', async () => {
  await using store = await openStore();
  const entry = (operationId: string, event: 'start' | 'done' | 'failed') => ({
    operationId,
    at: 5,
    step: 'place',
    event,
    error: null,
  });
  await store.transaction(async (r) => {
    await r.operations.insert(operation(), []);
    await r.operations.insert(operation({ id: 'operation-2' }), []);
    await r.operations.appendJournal([
      entry('operation-1', 'start'),
      entry('operation-2', 'start'),
      entry('operation-1', 'done'),
    ]);
  });
  const error = new ScoriaError('backend-failed', 'It broke').toData();
  await store.transaction((r) => r.operations.appendJournal([{ ...entry('operation-1', 'failed'), error }]));
  const journal = await store.reading.operations.journal('operation-1');
  expect(journal.map(({ sequence, event }) => [sequence, event])).toEqual([
    [1, 'start'],
    [2, 'done'],
    [3, 'failed'],
  ]);
  expect(journal[2]?.error).toEqual(error);
});

test('an operation and the row it is about land together or not at all', async () => {
  await using store = await openStore();
  await store.transaction((r) => r.operations.insert(operation(), [change]));
  const creation = store.transaction(async (r) => {
    await r.volumes.insert(volume());
    await r.operations.insert(operation({ id: 'operation-2' }), [change]);
  });
  await expect(creation).rejects.toMatchObject({ code: 'invalid-state' });
  expect(await store.reading.volumes.count('every-project', {})).toBe(0);
});

test('operations that ended long ago are removed with their journal, in batches', async () => {
  await using store = await openStore();
  for (const [id, endedAt] of [
    ['old-1', 10],
    ['old-2', 20],
    ['new', 90],
    ['running', null],
  ] as const) {
    await store.transaction(async (r) => {
      await r.operations.insert(operation({ id, status: endedAt === null ? 'running' : 'succeeded', endedAt }), []);
      await r.operations.appendJournal([{ operationId: id, at: 1, step: 's', event: 'start', error: null }]);
    });
  }
  expect(await store.transaction((r) => r.operations.removeEnded(50, 1))).toBe(1);
  expect(await store.transaction((r) => r.operations.removeEnded(50, 10))).toBe(1);
  expect((await store.reading.operations.list(own, {})).map(({ id }) => id).toSorted()).toEqual(['new', 'running']);
  expect(await store.reading.operations.journal('old-1')).toEqual([]);
});
