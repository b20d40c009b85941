import { open, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { BlockStorageApi, OperationBody } from './block-storage-api.ts';
import { until } from './polling.ts';
import { run } from './programs.ts';
import { Service } from './service.ts';

// A copy of 4 GiB on a file system that shares no blocks, so that every byte is read and written.

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
let service: Service;
let api: BlockStorageApi;
let source: string;
let sourceFile: string;

beforeAll(async () => {
  const { bavail, bsize } = await statfs(tmpdir());
  if (bavail * bsize < 16 * GiB) throw new Error(`This test needs 16 GiB free below ${tmpdir()}`);
  service = await Service.start();
  api = service.api;
  source = await api.newVolume({ size: 4, name: 'source' });
  sourceFile = fileOf(source);
  // Straight into the backend's file: through iSCSI it would take longer than what is tested here.
  const file = await open(sourceFile, 'r+');
  const data = Buffer.alloc(4 * MiB);
  for (let at = 0; at < 4 * GiB; at += data.length) {
    data.fill(1 + ((at / data.length) % 251));
    await file.write(data, 0, data.length, at);
  }
  await file.close();
});
afterAll(() => service.end());

/** Where the backend keeps a volume. */
function fileOf(volumeId: string): string {
  const [row] = service.query(`
    select b.name as backend, p.backend_ref as reference from volumes v
    join placements p on p.id = v.placement_id join backends b on b.id = p.backend_id where v.id = '${volumeId}'`);
  const { backend, reference } = z.object({ backend: z.string(), reference: z.string() }).parse(row);
  return join(service.directory, 'backends', backend, reference);
}

const ended = ['succeeded', 'failed', 'cancelled'];

/** Looks at an operation again and again until it has ended, or until it is as wanted. */
async function follow(id: string, seen: (operation: OperationBody) => boolean): Promise<OperationBody> {
  return until(
    `the end of operation ${id}`,
    async () => {
      const operation = await api.operation(id);
      return seen(operation) || ended.includes(operation.status) ? operation : undefined;
    },
    110_000,
  );
}

test('a copy of 4 GiB tells how far it is, and is whole', async () => {
  const { id, operation } = await api.createVolume({ source_volid: source });
  const values: number[] = [];
  const last = await follow(operation, ({ progress }) => {
    if (progress && progress.done !== values.at(-1)) values.push(progress.done);
    return false;
  });
  expect(last).toMatchObject({ name: 'volume.create', status: 'succeeded' });
  expect(values).toEqual(values.toSorted((one, other) => one - other));
  expect(values.length, `Progress went through ${values.join(', ')}`).toBeGreaterThanOrEqual(20);
  expect(values.at(-1)).toBeLessThanOrEqual(4 * GiB);
  expect(last.progress).toMatchObject({ total: 4 * GiB });
  await api.volumeIs(id, 'available');
  await run('cmp', [sourceFile, fileOf(id)], { must: true });
  await api.deleteVolume(id);
});

test('a cancelled copy ends within a second and leaves nothing', async () => {
  const [files, placements] = [await service.files(), service.query('select id from placements')];
  const { id, operation } = await api.createVolume({ source_volid: source });
  const under = await follow(operation, ({ progress }) => (progress?.done ?? 0) > 200 * MiB);
  expect(under.status).toBe('running');
  const begin = performance.now();
  await api.call(202, 'POST', `/scoria/v1/operations/${operation}/cancel`, {});
  const last = await follow(operation, () => false);
  const took = performance.now() - begin;
  expect(last).toMatchObject({ status: 'cancelled' });
  expect(took).toBeLessThan(1_000);
  expect((await api.send('GET', `/volumes/${id}`)).status).toBe(404);
  expect(await service.files()).toEqual(files);
  expect(service.query('select id from placements')).toEqual(placements);
  expect((await api.volume(source)).status).toBe('available');
});

test('a copy that a stop of the service interrupts goes on at the next start', async () => {
  const files = await service.files();
  const { id, operation } = await api.createVolume({ source_volid: source });
  await follow(operation, ({ progress }) => (progress?.done ?? 0) > 200 * MiB);
  expect(await service.stop()).toBeLessThan(10_000);
  await service.start();
  api = service.api;
  const stopped = await api.operation(operation);
  expect(stopped).toMatchObject({ status: 'running' });
  const again = await follow(operation, ({ progress }) => progress?.done !== stopped.progress?.done);
  expect(again.status).toBe('running');
  await api.call(202, 'POST', `/scoria/v1/operations/${operation}/cancel`, {});
  await api.volumeIsGone(id);
  expect(await service.files()).toEqual(files);
});
