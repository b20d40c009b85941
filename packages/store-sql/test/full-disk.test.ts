import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openStore, volume } from './sample-rows.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-full-'));
});
afterAll(() => rm(directory, { recursive: true }));

let files = 0;
const all = 'every-project';
const large = 'x'.repeat(200_000);
const ids = async (store: Awaited<ReturnType<typeof openStore>>) =>
  (await store.reading.volumes.list(all, { sort: [{ field: 'id', direction: 'asc' }] })).map(({ id }) => id);

/** An open store whose database takes a few small rows more and none that is {@link large}, until `free` is called. */
async function fullStore() {
  const exec = vi.spyOn(DatabaseSync.prototype, 'exec');
  const store = await openStore(join(directory, `${(files += 1)}.db`));
  const [writer] = exec.mock.contexts as DatabaseSync[];
  exec.mockRestore();
  const pages = Number(writer?.prepare('pragma page_count').get()?.['page_count']);
  const atMost = (count: number) => writer?.exec(`pragma max_page_count = ${count}`);
  atMost(pages + 10);
  return Object.assign(store, { free: () => atMost(pages + 10_000) });
}

describe('a store on a full disk', () => {
  test('says so, keeps nothing of what did not fit, and works again when there is room', async () => {
    await using store = await fullStore();
    const insert = (id: string) => store.transaction((r) => r.volumes.insert(volume({ id, description: large })));
    await expect(insert('a')).rejects.toMatchObject({
      code: 'store-failed',
      retryable: true,
      remedy: 'Free space on the disk that holds the data directory.',
    });
    expect(await ids(store)).toEqual([]);
    expect(await store.reading.volumes.usage('project-1')).toEqual([]);
    store.free();
    await insert('a');
    expect(await ids(store)).toEqual(['a']);
  });

  test('loses nothing of those that waited for a shared commit with what did not fit', async () => {
    await using store = await fullStore();
    const results = await Promise.allSettled(
      ['a', 'b', 'c'].map((id) =>
        store.transaction((r) => r.volumes.insert(volume({ id, ...(id === 'b' && { description: large }) }))),
      ),
    );
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await ids(store)).toEqual(['a', 'c']);
  });

  test('keeps nothing of a transaction that goes on after an error that undid it', async () => {
    await using store = await fullStore();
    const stubborn = store.transaction(async (r) => {
      await r.volumes.insert(volume({ id: 'a', description: large })).catch(() => {});
      await r.volumes.insert(volume({ id: 'b' }));
    });
    await expect(stubborn).rejects.toMatchObject({ code: 'store-failed' });
    expect(await ids(store)).toEqual([]);
  });
});
