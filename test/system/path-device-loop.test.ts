import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { assertPattern, writePattern } from '@scoria/conformance';
import { openPathDevice, type BlockDevice } from '@scoria/core';
import { afterAll, beforeAll, expect, test } from 'vitest';

// A block device node as a device: a loop device over a sparse file. Needs root.

const MiB = 1024 * 1024;
const run = promisify(execFile);
let directory: string;
let image: string;
let node: string;
let device: BlockDevice;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'path-device-loop-'));
  image = join(directory, 'image');
  await writeFile(image, '');
  await truncate(image, 32 * MiB);
  node = (await run('losetup', ['--find', '--show', image])).stdout.trim();
  device = await openPathDevice({ kind: 'path', path: node, blockSize: 512 }, { readOnly: false });
});
afterAll(async () => {
  await device.close();
  await run('losetup', ['--detach', node]);
  await rm(directory, { recursive: true });
});

test('it has the size of the device and keeps what is written', async () => {
  expect(device.size).toBe(32 * MiB);
  await writePattern(device, 1, 0, 32 * MiB);
  await device.flush();
  const again = await openPathDevice({ kind: 'path', path: node, blockSize: 512 }, { readOnly: true });
  await assertPattern(again, 1, 0, 32 * MiB, 'the device');
  await again.close();
});

test('it cannot tell its extents, so all of it is listed', async () => {
  const found = [];
  for await (const extent of device.allocatedExtents(MiB, 4 * MiB)) found.push(extent);
  expect(found).toEqual([{ offset: MiB, length: 4 * MiB }]);
});

test('a discard reaches the storage below, and reads as zeroes', async () => {
  await writePattern(device, 2, 0, 32 * MiB);
  await device.flush();
  await device.discard(8 * MiB, 16 * MiB);
  await assertPattern(device, 2, 0, 8 * MiB, 'before the discarded range');
  await assertPattern(device, 0, 8 * MiB, 16 * MiB, 'the discarded range');
  await assertPattern(device, 2, 24 * MiB, 8 * MiB, 'after the discarded range');
  await device.flush();
  expect((await stat(image)).blocks * 512).toBeLessThan(17 * MiB);
});

test('where discarded units read as zeroes, the rest of a discarded range is written', async () => {
  const locator = { kind: 'path', path: node, blockSize: 512, zeroingDiscard: 64 * 1024 } as const;
  const units = await openPathDevice(locator, { readOnly: false });
  try {
    await writePattern(units, 3, 0, 8 * MiB);
    await units.flush();
    const before = (await stat(image)).blocks * 512;
    await units.discard(MiB - 512, 4 * MiB + 1024);
    await units.discard(7 * MiB + 512, 512);
    await units.flush();
    expect((await stat(image)).blocks * 512).toBeLessThan(before - 3 * MiB);
    await assertPattern(units, 3, 0, MiB - 512, 'before the discarded range');
    await assertPattern(units, 0, MiB - 512, 4 * MiB + 1024, 'the discarded range');
    await assertPattern(units, 3, 5 * MiB + 512, 2 * MiB, 'behind the discarded range');
    await assertPattern(units, 0, 7 * MiB + 512, 512, 'less than a unit');
    await assertPattern(units, 3, 7 * MiB + 1024, MiB - 1024, 'behind less than a unit');
  } finally {
    await units.close();
  }
});

test('a new size is seen after refreshSize', async () => {
  await truncate(image, 48 * MiB);
  await run('losetup', ['--set-capacity', node]);
  expect(await device.refreshSize()).toBe(48 * MiB);
  await assertPattern(device, 0, 40 * MiB, 8 * MiB, 'the new part');
});

test('beyond the end is refused before the kernel sees it', async () => {
  await expect(device.read(new Uint8Array(1024), 48 * MiB - 512)).rejects.toMatchObject({ code: 'device-out-of-range' });
});
