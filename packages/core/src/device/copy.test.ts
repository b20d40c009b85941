import { mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { BlockDevice } from './block-device.ts';
import { copyDevice } from './copy.ts';
import { openPathDevice } from './path-device.ts';

const MiB = 1024 * 1024;
let directory: string;
const opened: BlockDevice[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'copy-device-'));
});
afterEach(async () => {
  for (const device of opened.splice(0)) await device.close();
  await rm(directory, { recursive: true });
});
async function disk(name: string, size: number): Promise<BlockDevice> {
  const path = join(directory, name);
  await writeFile(path, '');
  await truncate(path, size);
  const device = await openPathDevice({ kind: 'path', path, blockSize: 512 }, { readOnly: false });
  opened.push(device);
  return device;
}
async function content(device: BlockDevice): Promise<Buffer> {
  const into = Buffer.alloc(device.size, 0xee);
  await device.read(into, 0);
  return into;
}
const filled = (length: number, value: number) => new Uint8Array(length).fill(value);
const never = new AbortController().signal;

test('copies data, leaves holes, drops what the target held and tells its progress', async () => {
  const source = await disk('source', 16 * MiB);
  const target = await disk('target', 17 * MiB);
  await source.write(filled(3 * MiB + 512, 1), 512);
  await source.write(filled(4096, 2), 12 * MiB);
  await target.write(filled(17 * MiB, 9), 0);
  const seen: [number, number][] = [];
  await copyDevice(source, target, { signal: never, progress: (done, total) => seen.push([done, total]) });
  // Once at the start, and when what the target held is freed.
  expect(seen.filter(([done]) => done === 0)).toHaveLength(2);
  expect((await content(target)).equals(Buffer.concat([await content(source), Buffer.alloc(MiB)]))).toBe(true);
  expect((await stat(join(directory, 'target'))).blocks * 512).toBeLessThan(4 * MiB);
  const total = seen[0]?.[1];
  expect(seen[0]?.[0]).toBe(0);
  expect(seen.at(-1)).toEqual([total, total]);
  expect(total).toBeLessThan(4 * MiB);
  expect(seen.slice(1).every(([done], i) => i === 0 || done > (seen[i]?.[0] ?? 0))).toBe(true);
});

test('zeroes that the source has allocated take no space in the target', async () => {
  const source = await disk('source', 4 * MiB);
  const target = await disk('target', 4 * MiB);
  await source.write(filled(4 * MiB, 0), 0);
  await source.write(filled(512, 7), 2 * MiB + 70_144);
  await copyDevice(source, target, { signal: never, progress: () => {} });
  expect((await content(target)).equals(await content(source))).toBe(true);
  expect((await stat(join(directory, 'target'))).blocks * 512).toBeLessThanOrEqual(128 * 1024);
});

test('an abort stops the copy within a chunk, and no write follows', async () => {
  const source = await disk('source', 16 * MiB);
  const target = await disk('target', 16 * MiB);
  await source.write(filled(16 * MiB, 3), 0);
  const controller = new AbortController();
  const reason = new Error('cancelled by a test');
  const copying = copyDevice(source, target, {
    signal: controller.signal,
    progress: (done) => done >= 2 * MiB && controller.abort(reason),
  });
  await expect(copying).rejects.toBe(reason);
  const after = await content(target);
  expect(after.filter((byte) => byte !== 0).length).toBeLessThanOrEqual(8 * MiB);
  expect((await content(target)).equals(after)).toBe(true);
});

test('a repeat after an abort gives the whole copy', async () => {
  const source = await disk('source', 4 * MiB);
  const target = await disk('target', 4 * MiB);
  await source.write(filled(2 * MiB, 3), MiB);
  await expect(copyDevice(source, target, { signal: AbortSignal.abort(), progress: () => {} })).rejects.toThrow();
  await copyDevice(source, target, { signal: never, progress: () => {} });
  expect((await content(target)).equals(await content(source))).toBe(true);
});

test('refuses a target that is too small and a chunk that is no multiple of a block', async () => {
  const source = await disk('source', 2 * MiB);
  const target = await disk('target', MiB);
  const options = { signal: never, progress: () => {} };
  await expect(copyDevice(source, target, options)).rejects.toMatchObject({ code: 'device-out-of-range' });
  await expect(copyDevice(target, source, { ...options, chunk: 1000 })).rejects.toMatchObject({ code: 'device-out-of-range' });
});

test('flushes what it writes every 64 MiB, so that no flush is long', async () => {
  const source = await disk('source', 160 * MiB);
  const data = filled(MiB, 3);
  for (let at = 0; at < 160; at++) await source.write(data, at * MiB);
  const target = await disk('target', 160 * MiB);
  let unflushed = 0;
  let most = 0;
  vi.spyOn(target, 'write').mockImplementation(async (from) => {
    most = Math.max(most, (unflushed += from.byteLength));
  });
  vi.spyOn(target, 'flush').mockImplementation(async () => {
    unflushed = 0;
  });
  await copyDevice(source, target, { signal: never, progress: () => {} });
  expect(most).toBeLessThanOrEqual(68 * MiB);
  expect(unflushed).toBe(0);
});
