import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Condition, ListQuery, Volume, VolumeField } from '@scoria/core';
import fc from 'fast-check';
import { Kysely } from 'kysely';
import { expect, test } from 'vitest';
import type { Database } from '../src/database.ts';
import { SqlOperations } from '../src/operations.ts';
import { SqlSnapshots } from '../src/snapshots.ts';
import { sqliteDialect, sqliteFlavor } from '../src/sqlite.ts';
import { SqlVolumes } from '../src/volumes.ts';
import { openStore, volume } from './sample-rows.ts';

const own = { projectId: 'project-1' };
const few = fc.constantFrom(1, 2, 3);
const fewOrNull = fc.option(few, { nil: null });
const sampleVolumes = fc
  .array(
    fc.record({
      name: fc.option(fc.constantFrom('a', 'b', 'A'), { nil: null }),
      size: few,
      createdAt: few,
      updatedAt: fewOrNull,
      bootable: fc.boolean(),
      projectId: fc.constantFrom('project-1', 'project-2'),
    }),
    { maxLength: 25 },
  )
  .map((rows) => rows.map((row, index) => volume({ ...row, id: `volume-${(index * 7) % 26}` })));
const sortFields = ['name', 'size', 'createdAt', 'updatedAt', 'bootable', 'id'] as const;
const sorts = fc.uniqueArray(
  fc.record({ field: fc.constantFrom(...sortFields), direction: fc.constantFrom('asc' as const, 'desc' as const) }),
  { maxLength: 3, selector: ({ field }) => field },
);

/** The order that the contract promises, written down independently of SQL. */
function compare(
  sort: ListQuery<VolumeField>['sort'] & object,
  a: Omit<Volume, 'hostString'>,
  b: Omit<Volume, 'hostString'>,
): number {
  const keys = sort.length > 0 ? sort : [{ field: 'createdAt' as const, direction: 'desc' as const }];
  const last = keys.at(-1)?.direction ?? 'desc';
  for (const { field, direction } of [...keys, { field: 'id' as const, direction: last }]) {
    const [x, y] = field === 'hostString' ? [null, null] : [a[field], b[field]];
    if (x === y) continue;
    const less = x === null || (y !== null && x < y);
    return less === (direction === 'asc') ? -1 : 1;
  }
  return 0;
}

test('pages joined are the whole list in its order, whatever is sorted by', async () => {
  await fc.assert(
    fc.asyncProperty(sampleVolumes, sorts, fc.integer({ min: 1, max: 7 }), async (rows, sort, limit) => {
      await using store = await openStore();
      await store.transaction(async (r) => {
        for (const row of rows) await r.volumes.insert(row);
      });
      const expected = rows.filter(({ projectId }) => projectId === own.projectId).toSorted((a, b) => compare(sort, a, b));
      const joined: string[] = [];
      for (;;) {
        const marker = joined.at(-1);
        const page = await store.reading.volumes.list(own, { sort, limit, ...(marker !== undefined && { marker }) });
        joined.push(...page.map(({ id }) => id));
        if (page.length < limit) break;
      }
      expect(joined).toEqual(expected.map(({ id }) => id));
    }),
    { numRuns: 150 },
  );
});

test('an offset counts from the marker', async () => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    for (let at = 1; at <= 6; at += 1) await r.volumes.insert(volume({ id: `v${at}`, createdAt: at }));
  });
  const page = await store.reading.volumes.list(own, { marker: 'v5', offset: 1, limit: 2 });
  expect(page.map(({ id }) => id)).toEqual(['v3', 'v2']);
  await expect(store.reading.volumes.list(own, { marker: 'gone' })).rejects.toMatchObject({
    code: 'not-found',
    message: 'Marker gone could not be found.',
  });
});

test.each<[Condition<VolumeField>, string[]]>([
  [{ field: 'name', op: 'eq', value: 'Data_1' }, ['a']],
  [{ field: 'name', op: 'eq', value: null }, ['d']],
  [{ field: 'name', op: 'neq', value: 'Data_1' }, ['b', 'c', 'd']],
  [{ field: 'name', op: 'neq', value: null }, ['a', 'b', 'c']],
  [{ field: 'name', op: 'like', value: 'DATA' }, ['a', 'b']],
  [{ field: 'name', op: 'like', value: 'a_1' }, ['a']],
  [{ field: 'name', op: 'like', value: '%' }, ['c']],
  [{ field: 'name', op: 'like', value: '\\' }, ['c']],
  [{ field: 'name', op: 'in', value: ['Data_1', '100%\\'] }, ['a', 'c']],
  [{ field: 'name', op: 'in', value: [] }, []],
  [{ field: 'name', op: 'neq', value: "'; drop table volumes; --" }, ['a', 'b', 'c', 'd']],
  [{ field: 'size', op: 'gt', value: 20 }, ['c', 'd']],
  [{ field: 'size', op: 'gte', value: 20 }, ['b', 'c', 'd']],
  [{ field: 'size', op: 'lt', value: 20 }, ['a']],
  [{ field: 'size', op: 'lte', value: 20 }, ['a', 'b']],
  [{ field: 'size', op: 'gt', value: null }, []],
  [{ field: 'bootable', op: 'eq', value: true }, ['b']],
  [{ field: 'bootable', op: 'eq', value: false }, ['a', 'c', 'd']],
])('where %j', async (condition, expected) => {
  await using store = await openStore();
  await store.transaction(async (r) => {
    await r.volumes.insert(volume({ id: 'a', size: 10, name: 'Data_1' }));
    await r.volumes.insert(volume({ id: 'b', size: 20, name: 'dataX1', bootable: true }));
    await r.volumes.insert(volume({ id: 'c', size: 30, name: '100%\\' }));
    await r.volumes.insert(volume({ id: 'd', size: 40, name: null }));
  });
  const query = { where: [condition], sort: [{ field: 'id', direction: 'asc' } as const] };
  expect((await store.reading.volumes.list(own, query)).map(({ id }) => id)).toEqual(expected);
  expect(await store.reading.volumes.count(own, query)).toBe(expected.length);
});

test('metadata selects by every pair that is asked for', async () => {
  await using store = await openStore();
  const key = 'a."b\'[0]';
  await store.transaction(async (r) => {
    await r.volumes.insert(volume({ id: 'a', metadata: { [key]: '1', tier: 'gold' } }));
    await r.volumes.insert(volume({ id: 'b', metadata: { [key]: '1' } }));
  });
  const matching = async (metadata: Record<string, string>) =>
    (await store.reading.volumes.list(own, { metadata })).map(({ id }) => id).toSorted();
  expect(await matching({ [key]: '1' })).toEqual(['a', 'b']);
  expect(await matching({ [key]: '1', tier: 'gold' })).toEqual(['a']);
  expect(await matching({ [key]: '2' })).toEqual([]);
  await expect(store.reading.messages.list(own, { metadata: { a: 'b' } })).rejects.toMatchObject({ code: 'invalid-input' });
});

test('pages are read from an index, first or deep: nothing is sorted', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'scoria-store-'));
  const path = join(directory, 'scoria.db');
  try {
    await using store = await openStore(path);
    await store.transaction((r) => r.volumes.insert(volume({ id: 'marker', name: 'n' })));
    const statements: { readonly sql: string; readonly parameters: readonly unknown[] }[] = [];
    await using db = new Kysely<Database>({
      dialect: sqliteDialect({ path, readOnly: true }),
      log: ({ query }) => {
        statements.push(query);
      },
    });
    const session = { db, flavor: sqliteFlavor };
    const volumes = new SqlVolumes(session);
    const deep = { marker: 'marker', limit: 50 };
    for (const tenancy of [own, 'every-project'] as const) {
      await volumes.list(tenancy, { limit: 50 });
      await volumes.list(tenancy, deep);
      for (const direction of ['asc', 'desc'] as const) {
        await volumes.list(tenancy, { ...deep, sort: [{ field: 'name', direction }] });
        await volumes.list(tenancy, { ...deep, sort: [{ field: 'createdAt', direction }] });
      }
      await new SqlSnapshots(session).list(tenancy, { limit: 50 });
      await new SqlOperations(session).list(tenancy, { limit: 50 });
    }
    for (const field of ['size', 'status'] as const) await volumes.list(own, { ...deep, sort: [{ field, direction: 'asc' }] });
    await new SqlOperations(session).runnable({ owner: 'x', roles: ['scheduler', 'volume'], backendIds: ['b'] }, 1, 10);
    await volumes.count(own, {});
    await volumes.usage(own.projectId);
    expect(statements.length).toBeGreaterThan(30);
    using raw = new DatabaseSync(path, { readOnly: true });
    for (const { sql, parameters } of statements) {
      const plan = raw
        .prepare(`explain query plan ${sql}`)
        .all(...(parameters as (string | number)[]))
        .map(({ detail }) => String(detail));
      expect(
        plan.filter((line) => /temp b-tree/i.test(line) || /^scan \w+$/i.test(line)),
        sql,
      ).toEqual([]);
    }
    // What a project has under way is little; what it ever did is not.
    const underWay = {
      where: [
        { field: 'name', op: 'eq', value: 'volume.extend' },
        { field: 'status', op: 'in', value: ['running', 'compensating'] },
      ],
      sort: [{ field: 'id', direction: 'asc' }],
    } as const;
    await new SqlOperations(session).list(own, underWay);
    const last = statements.at(-1);
    const plan = raw.prepare(`explain query plan ${last?.sql ?? ''}`).all(...(last?.parameters as (string | number)[]));
    expect(String(plan[0]?.['detail'])).toContain('operations_by_status (project_id=? AND status=? AND name=?)');
  } finally {
    await rm(directory, { recursive: true });
  }
});
