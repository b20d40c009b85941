import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kysely, sql, type RawBuilder } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemRandom, type Repositories } from '@scoria/core';
import type { Database } from '../src/database.ts';
import { createSqliteStore } from '../src/index.ts';
import { migrations, type Migration } from '../src/migration.ts';
import { createSchema1 } from '../src/schema-1.ts';
import { sqliteDialect, sqliteFlavor } from '../src/sqlite.ts';
import { SqlStore } from '../src/store.ts';
import { openStore, qosSpec, volume, volumeType } from './sample-rows.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-store-'));
});
afterAll(() => rm(directory, { recursive: true }));

let files = 0;
const newFile = () => join(directory, `${(files += 1)}.db`);
const own = { projectId: 'project-1' };

/** Runs a statement on a file, past the store. */
async function execute(path: string, statement: RawBuilder<unknown>): Promise<void> {
  await using db = new Kysely<Database>({ dialect: sqliteDialect({ path }) });
  await db.transaction().execute((transaction) => statement.execute(transaction));
}

describe.each(['in memory', 'in a file'])('a store %s', (place) => {
  const open = () => openStore(place === 'in memory' ? ':memory:' : newFile());

  test('keeps nothing of a transaction that throws', async () => {
    await using store = await open();
    const failing = store.transaction(async (r) => {
      await r.volumes.insert(volume());
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await store.reading.volumes.count('every-project', {})).toBe(0);
    await store.transaction((r) => r.volumes.insert(volume()));
    expect(await store.reading.volumes.count('every-project', {})).toBe(1);
  });

  test('keeps nothing of what was still under way when a transaction failed', async () => {
    await using store = await open();
    const outcomes: Promise<PromiseSettledResult<void>[]>[] = [];
    const failing = store.transaction(async (r) => {
      const inserts = Array.from({ length: 50 }, (_, index) => r.volumes.insert(volume({ id: `volume-${index}` })));
      const failed = r.volumes.get(own, 'missing');
      const more = Array.from({ length: 50 }, (_, index) => r.volumes.insert(volume({ id: `more-${index}` })));
      outcomes.push(Promise.allSettled([...inserts, ...more]));
      await failed;
    });
    await expect(failing).rejects.toMatchObject({ code: 'not-found' });
    await Promise.all(outcomes);
    expect(await store.reading.volumes.count('every-project', {})).toBe(0);
    await store.transaction((r) => r.volumes.insert(volume()));
  });

  test('runs transactions one after the other, in the order of their call', async () => {
    await using store = await open();
    await store.transaction((r) => r.volumes.insert(volume({ size: 0 })));
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        store.transaction(async (r) => {
          const { size } = await r.volumes.get(own, 'volume-1');
          await Promise.resolve();
          await r.volumes.update(own, 'volume-1', { size: size + 1 }, index);
          order.push(index);
        }),
      ),
    );
    expect(await store.reading.volumes.get(own, 'volume-1')).toMatchObject({ size: 20 });
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  test('reads what was committed, never what is under way', async () => {
    await using store = await open();
    const inserted = Promise.withResolvers<void>();
    const going = Promise.withResolvers<void>();
    const running = store.transaction(async (r) => {
      await r.volumes.insert(volume());
      inserted.resolve();
      await going.promise;
      throw new Error('undone');
    });
    await inserted.promise;
    const count = store.reading.volumes.count('every-project', {});
    going.resolve();
    await expect(running).rejects.toThrow('undone');
    expect(await count).toBe(0);
  });

  test('refuses repositories after the end of their transaction', async () => {
    await using store = await open();
    let kept: Repositories | undefined;
    await store.transaction(async (r) => {
      kept = r;
    });
    await expect(kept?.volumes.get(own, 'x')).rejects.toThrow('after the end of its transaction');
    await expect(kept?.volumes.remove('x')).rejects.toMatchObject({ code: 'internal' });
  });

  test('writes in transactions alone', async () => {
    await using store = await open();
    await store.transaction((r) => r.volumes.insert(volume()));
    for (const writing of [
      () => store.reading.volumes.remove('volume-1'),
      () => store.reading.volumes.update('every-project', 'volume-1', { name: 'x' }, 1),
      () => store.reading.operations.lease('x', 'owner', 1, 2),
      () => store.reading.accesses.remove('x'),
    ]) {
      await expect(writing()).rejects.toMatchObject({ code: 'internal', message: 'Only a transaction may write to the store' });
    }
    expect(await store.reading.volumes.get('every-project', 'volume-1')).toMatchObject({ name: null });
  });

  test('refuses a transaction in a transaction, which would wait for ever', async () => {
    await using store = await open();
    const nested = store.transaction(() => store.transaction(async () => {}));
    await expect(nested).rejects.toThrow('within another');
    const mixed = store.transaction(() => store.reading.volumes.count('every-project', {}));
    await expect(mixed).rejects.toThrow('only its own repositories');
  });

  test('work that a transaction started may begin its own when that one has ended', async () => {
    await using store = await open();
    const ended = Promise.withResolvers<void>();
    let later: Promise<number> | undefined;
    await store.transaction(async () => {
      later = ended.promise.then(() => store.transaction((r) => r.volumes.count('every-project', {})));
    });
    ended.resolve();
    expect(await later).toBe(0);
  });

  test('is closed for good', async () => {
    const store = await open();
    await store.close();
    await store.close();
    await expect(store.transaction(async () => {})).rejects.toThrow('is not open');
    await expect(store.reading.volumes.get(own, 'x')).rejects.toThrow('is not open');
  });
});

test('a file does not make single reads wait for a transaction', async () => {
  await using store = await openStore(newFile());
  const read = Promise.withResolvers<number>();
  const inserted = Promise.withResolvers<void>();
  const running = store.transaction(async (r) => {
    await r.volumes.insert(volume());
    inserted.resolve();
    expect(await read.promise).toBe(0);
  });
  await inserted.promise;
  read.resolve(await store.reading.volumes.count('every-project', {}));
  await running;
  expect(await store.reading.volumes.count('every-project', {})).toBe(1);
});

test('a file is found again with its rows and the id of its installation', async () => {
  const path = newFile();
  const first = createSqliteStore({ path, random: { ...systemRandom, uuid: () => 'installation-1' } });
  await first.open();
  await first.transaction((r) => r.volumeTypes.insert(volumeType()));
  await first.close();
  const second = createSqliteStore({ path });
  await second.open();
  expect(await second.installationId()).toBe('installation-1');
  expect(await second.reading.volumeTypes.resolve('every-project', 'fast')).toEqual(volumeType());
  await second.close();
});

describe('migration', () => {
  const storeOf = (path: string, steps: readonly Migration[]) =>
    new SqlStore({
      where: `The store ${path}`,
      writer: sqliteDialect({ path }),
      flavor: sqliteFlavor,
      random: systemRandom,
      migrations: steps,
    });
  const addColumn: Migration = async (db) => {
    await sql`alter table volumes add column colour text`.execute(db);
  };

  test('brings an older file up, with its rows', async () => {
    const path = newFile();
    await (await openStore(path)).close();
    for (const steps of [
      [...migrations, addColumn],
      [...migrations, addColumn],
    ]) {
      const later = storeOf(path, steps);
      await later.open();
      expect(await later.reading.volumeTypes.get('every-project', 'type-1')).toEqual(volumeType());
      await later.close();
    }
  });

  test('gives a file of the first version QoS specs, and leaves its volume types without one', async () => {
    const path = newFile();
    const first = storeOf(path, [createSchema1]);
    await first.open();
    await first.close();
    await execute(
      path,
      sql`insert into volume_types (id, name, extra_specs, is_public, created_at) values ('type-1', 'fast', '{}', 1, 1)`,
    );
    const store = createSqliteStore({ path });
    await store.open();
    expect(await store.reading.volumeTypes.list('every-project', {})).toEqual([volumeType()]);
    const spec = qosSpec();
    await store.transaction(async (r) => {
      await r.qosSpecs.insert(spec);
      await r.volumeTypes.update('type-1', { qosSpecId: spec.id }, 2);
    });
    expect(await store.reading.volumeTypes.ofQosSpec(spec.id)).toEqual([volumeType({ qosSpecId: spec.id, updatedAt: 2 })]);
    await store.close();
  });

  test('reads the fault of a backend that an older version wrote, which is the message alone', async () => {
    const path = newFile();
    const older = storeOf(path, [createSchema1]);
    await older.open();
    await older.close();
    await execute(
      path,
      sql`insert into backends (id, name, host, availability_zone, driver_capabilities, pools, fault, reported_at, enabled)
        values ('backend-1', 'file', 'node-a', 'nova', '[]', '[]', 'A disk is gone', 1, 1)`,
    );
    const store = createSqliteStore({ path });
    await store.open();
    expect(await store.reading.backends.list()).toMatchObject([
      { fault: { code: 'backend-unavailable', message: 'A disk is gone', remedy: expect.any(String), since: null } },
    ]);
    await store.close();
  });

  test('refuses a file of a later version, names both, and leaves it alone', async () => {
    const path = newFile();
    const later = storeOf(path, [...migrations, addColumn]);
    await later.open();
    await later.close();
    await expect(createSqliteStore({ path }).open()).rejects.toMatchObject({
      code: 'data-directory-newer',
      message: `The store ${path} has schema version ${migrations.length + 1}; this version of Scoria knows versions up to ${migrations.length}.`,
      details: { found: migrations.length + 1, known: migrations.length },
    });
    const again = storeOf(path, [...migrations, addColumn]);
    await again.open();
    await again.close();
  });

  test('that fails half-way leaves the file as it was', async () => {
    const path = newFile();
    await (await openStore(path)).close();
    const broken: Migration = async (db) => {
      await sql`delete from volume_types`.execute(db);
      await sql`alter table missing add column colour text`.execute(db);
    };
    await expect(storeOf(path, [...migrations, broken]).open()).rejects.toMatchObject({ code: 'internal' });
    const store = createSqliteStore({ path });
    await store.open();
    expect(await store.reading.volumeTypes.get('every-project', 'type-1')).toEqual(volumeType());
    await store.close();
  });
});

test('a path that cannot be a database says what to do', async () => {
  const notADatabase = newFile();
  await writeFile(notADatabase, 'hello, this is some text and surely not a database file'.repeat(10));
  await expect(createSqliteStore({ path: notADatabase }).open()).rejects.toMatchObject({
    remedy: 'Name another data directory: this file is not a database of Scoria.',
  });
  await expect(createSqliteStore({ path: join(directory, 'missing', 'scoria.db') }).open()).rejects.toMatchObject({
    remedy: 'See to it that the data directory exists and can be written to.',
  });
});

test('a process that dies leaves what was committed, and nothing of what was under way', async () => {
  const path = newFile();
  const left = newFile();
  await using store = await openStore(path);
  const event = { name: 'volume.changed', payload: { volumeId: 'a', projectId: 'project-1', status: 'creating' } } as const;
  await store.transaction(async (r) => {
    await r.volumes.insert(volume({ id: 'a' }));
    await r.events.append([event], 1);
  });
  await store.transaction(async (r) => {
    await r.volumes.insert(volume({ id: 'b' }));
    await r.events.append([event], 1);
    // What the files hold now is what they hold after a kill at this moment.
    for (const suffix of ['', '-wal']) await copyFile(`${path}${suffix}`, `${left}${suffix}`);
  });
  const after = createSqliteStore({ path: left });
  await after.open();
  expect((await after.reading.volumes.list('every-project', {})).map(({ id }) => id)).toEqual(['a']);
  expect(await after.reading.events.latest()).toBe(1);
  expect(await after.installationId()).toBe(await store.installationId());
  await after.close();
});

test('commits are durable: the write-ahead log is synced at each', async () => {
  const path = newFile();
  await using writer = new Kysely<unknown>({ dialect: sqliteDialect({ path }) });
  const pragma = async (name: string) =>
    Object.values(
      (await sql<Record<string, unknown>>`select * from ${sql.table(`pragma_${name}`)}`.execute(writer)).rows[0] ?? {},
    );
  expect(await pragma('journal_mode')).toEqual(['wal']);
  // 2 is FULL, https://sqlite.org/pragma.html#pragma_synchronous
  expect(await pragma('synchronous')).toEqual([2]);
  expect(await pragma('foreign_keys')).toEqual([1]);
});
