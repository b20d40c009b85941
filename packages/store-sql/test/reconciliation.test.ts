import type { Finding } from '@scoria/core';
import { expect, test } from 'vitest';
import { openStore, placement, volume } from './sample-rows.ts';

function finding(fields: Partial<Finding> = {}): Finding {
  return {
    id: 'finding-1',
    kind: 'unknown-object',
    scope: 'backend/backend-1',
    subjectKind: 'object',
    subjectId: 'object-1',
    state: 'marked',
    evidence: { size: 1024, remembered: true, removedAfter: null },
    command: null,
    firstSeenAt: 100,
    lastSeenAt: 100,
    passes: 1,
    actions: 0,
    actedAt: null,
    operationId: null,
    endedAt: null,
    ...fields,
  };
}

test('findings are replaced by their id, and found by scope while they last', async () => {
  await using store = await openStore();
  const later = finding({ id: 'finding-2', subjectId: 'object-2', firstSeenAt: 200, state: 'watched' });
  await store.transaction(async ({ reconciliation }) => {
    await reconciliation.write(finding());
    await reconciliation.write(later);
    await reconciliation.write(finding({ passes: 2, lastSeenAt: 300 }));
  });
  const { reconciliation } = store.reading;
  expect(await reconciliation.live('backend/backend-1')).toEqual([finding({ passes: 2, lastSeenAt: 300 }), later]);
  expect(await reconciliation.live('backend/backend-2')).toEqual([]);
  expect((await reconciliation.list({}, 10)).map(({ id }) => id)).toEqual(['finding-1']);
  expect((await reconciliation.list({ states: ['watched', 'marked'] }, 10)).map(({ id }) => id)).toEqual([
    'finding-2',
    'finding-1',
  ]);
  expect(await reconciliation.list({ states: ['watched', 'marked'], kind: 'missing-object' }, 10)).toEqual([]);
  expect(await reconciliation.list({ subjectId: 'object-2', states: ['watched'] }, 10)).toEqual([later]);
  expect(await reconciliation.count(['open', 'marked'])).toBe(1);

  await store.transaction((r) => r.reconciliation.endUnseen(100, 500));
  expect(await reconciliation.live('backend/backend-1')).toHaveLength(2);
  await store.transaction((r) => r.reconciliation.endUnseen(101, 500));
  expect((await reconciliation.live('backend/backend-1')).map(({ id }) => id)).toEqual(['finding-1']);
  await store.transaction((r) => r.reconciliation.write(later));

  await store.transaction((r) => r.reconciliation.write(finding({ state: 'gone', endedAt: 400 })));
  expect(await reconciliation.live('backend/backend-1')).toEqual([later]);
  await store.transaction((r) => r.reconciliation.removeEndedBefore(400));
  expect(await reconciliation.count(['gone'])).toBe(1);
  await store.transaction((r) => r.reconciliation.removeEndedBefore(401));
  expect(await reconciliation.count(['gone'])).toBe(0);
});

test('a lease is for one owner until it ends or is given back', async () => {
  await using store = await openStore();
  const take = (owner: string, now: number) => store.transaction((r) => r.reconciliation.lease('x', owner, now, now + 10));
  expect(await take('one', 0)).toBe(true);
  expect(await take('two', 9)).toBe(false);
  expect(await take('one', 9)).toBe(true);
  expect(await take('two', 10)).toBe(false);
  expect(await take('two', 19)).toBe(true);
  await store.transaction((r) => r.reconciliation.release('x', 'one'));
  expect(await take('one', 20)).toBe(false);
  await store.transaction((r) => r.reconciliation.release('x', 'two'));
  expect(await take('one', 20)).toBe(true);
});

test('the last run of each host is kept, and the newest is the last', async () => {
  await using store = await openStore();
  expect(await store.reading.reconciliation.lastRun()).toBeUndefined();
  const run = { host: 'a', startedAt: 1, endedAt: 2, passes: [], findings: 0, actions: 0 };
  const newest = { ...run, startedAt: 5, passes: [{ scope: 'catalogue', result: 'failed' as const, reason: 'because' }] };
  await store.transaction(async ({ reconciliation }) => {
    await reconciliation.writeRun(run);
    await reconciliation.writeRun({ ...run, host: 'b', startedAt: 3 });
    await reconciliation.writeRun(newest);
  });
  expect(await store.reading.reconciliation.lastRun()).toEqual(newest);
});

test('a stray placement is one that its volume does not name', async () => {
  await using store = await openStore();
  await store.transaction(async ({ placements, volumes }) => {
    await volumes.insert(volume({ id: 'volume-1', placementId: 'named' }));
    await volumes.insert(volume({ id: 'volume-2', placementId: null }));
    for (const [id, resourceId] of [
      ['named', 'volume-1'],
      ['second', 'volume-1'],
      ['unnamed', 'volume-2'],
      ['nobodys', 'volume-3'],
    ] as const)
      await placements.insert(placement({ id, resourceId }));
    await placements.insert(placement({ id: 'snapshots', kind: 'snapshot', resourceId: 'volume-1' }));
  });
  const { backendId } = placement();
  const strays = await store.reading.placements.strays(backendId, 10);
  expect(strays.map(({ id }) => id)).toEqual(['nobodys', 'second', 'snapshots', 'unnamed']);
  expect(await store.reading.placements.strays('another', 10)).toEqual([]);
});

test('removed placements are remembered for a while', async () => {
  await using store = await openStore();
  const ids = Array.from({ length: 1200 }, (_, index) => `placement-${index}`);
  await store.transaction(async ({ placements }) => {
    for (const id of ids) await placements.insert(placement({ id }));
    for (const id of ids.slice(1)) await placements.remove(id);
  });
  const remembered = () => store.reading.placements.removedAmong([...ids, 'never-was']);
  expect(await remembered()).toEqual(new Set(ids.slice(1)));
  await store.transaction((r) => r.placements.forgetRemoved(1000, 900));
  expect((await remembered()).size).toBe(1199);
  await store.transaction((r) => r.placements.forgetRemoved(2000, 1001));
  expect((await remembered()).size).toBe(0);
});
