import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openStore, volume } from './sample-rows.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-commits-'));
});
afterAll(() => rm(directory, { recursive: true }));

let files = 0;
const open = () => openStore(join(directory, `${(files += 1)}.db`));
const all = 'every-project';
const many = Array.from({ length: 20 }, (_, index) => `volume-${index}`);

function commits() {
  const exec = vi.spyOn(DatabaseSync.prototype, 'exec');
  return {
    get count() {
      return exec.mock.calls.filter(([text]) => text === 'commit').length;
    },
    [Symbol.dispose]: () => exec.mockRestore(),
  };
}

describe('transactions that wait for one another', () => {
  test('share a commit, and none has ended before what it wrote can be read', async () => {
    await using store = await open();
    using seen = commits();
    await Promise.all(
      many.map(async (id) => {
        await store.transaction((r) => r.volumes.insert(volume({ id })));
        expect((await store.reading.volumes.get(all, id)).id).toBe(id);
      }),
    );
    expect(seen.count).toBeLessThan(many.length / 2);
  });

  test('see what those before them wrote, though it is not committed yet', async () => {
    await using store = await open();
    await store.transaction((r) => r.volumes.insert(volume({ size: 0 })));
    const grow = () =>
      store.transaction(async (r) => {
        const { size } = await r.volumes.get(all, 'volume-1');
        await r.volumes.update(all, 'volume-1', { size: size + 1 }, 1);
      });
    await Promise.all(many.map(grow));
    expect((await store.reading.volumes.get(all, 'volume-1')).size).toBe(many.length);
  });

  test('are not undone with one that throws', async () => {
    await using store = await open();
    const results = await Promise.allSettled(
      many.map((id, index) =>
        store.transaction(async (r) => {
          await r.volumes.insert(volume({ id }));
          if (index % 3 === 0) throw new Error('no');
        }),
      ),
    );
    const kept = many.filter((_, index) => results[index]?.status === 'fulfilled');
    expect(kept).toEqual(many.filter((_, index) => index % 3 !== 0));
    const rows = await store.reading.volumes.list(all, { sort: [{ field: 'id', direction: 'asc' }] });
    expect(rows.map(({ id }) => id)).toEqual(kept.toSorted());
  });

  test('do not suffer from one that the database refuses only at its commit', async () => {
    await using store = await open();
    const results = await Promise.allSettled(
      many.map((id, index) =>
        // What a row refers to is checked at the commit.
        store.transaction((r) => r.volumes.insert(volume({ id, ...(index === 7 && { volumeTypeId: 'missing' }) }))),
      ),
    );
    expect(results.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([7]);
    expect(results[7]).toMatchObject({ reason: { message: expect.stringContaining('FOREIGN KEY') } });
    expect(await store.reading.volumes.count(all, {})).toBe(many.length - 1);
  });
});

test('a transaction that meets no other has its own commit', async () => {
  await using store = await open();
  using seen = commits();
  for (const id of many.slice(0, 5)) await store.transaction((r) => r.volumes.insert(volume({ id })));
  expect(seen.count).toBe(5);
});
