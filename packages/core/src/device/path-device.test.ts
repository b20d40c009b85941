import fs from 'node:fs';
import { mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { BlockDevice, Extent } from './block-device.ts';
import { openPathDevice, type PathOpenOptions } from './path-device.ts';

const MiB = 1024 * 1024;
let directory: string;
let path: string;
const opened: BlockDevice[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'path-device-'));
  path = join(directory, 'disk');
  await writeFile(path, '');
  await truncate(path, 8 * MiB);
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const device of opened.splice(0)) await device.close();
  await rm(directory, { recursive: true });
});

async function open(options: Partial<PathOpenOptions> = {}, blockSize: 512 | 4096 = 512): Promise<BlockDevice> {
  const device = await openPathDevice({ kind: 'path', path, blockSize }, { readOnly: false, ...options });
  opened.push(device);
  return device;
}
async function extents(device: BlockDevice, offset = 0, length = device.size): Promise<Extent[]> {
  const found: Extent[] = [];
  for await (const extent of device.allocatedExtents(offset, length)) found.push(extent);
  return found;
}
async function bytes(device: BlockDevice, offset: number, length: number): Promise<Uint8Array> {
  const into = new Uint8Array(length).fill(0xee);
  await device.read(into, offset);
  return into;
}
const filled = (length: number, value: number) => new Uint8Array(length).fill(value);

describe.each(['inline', 'pool'] as const)('a device with io %s', (io) => {
  test('reads what was written, small and large, and zeroes elsewhere', async () => {
    const device = await open({ io });
    await device.write(filled(512, 1), 512);
    await device.write(filled(3 * MiB, 2), 4 * MiB);
    expect(await bytes(device, 0, 1536)).toEqual(new Uint8Array([...filled(512, 0), ...filled(512, 1), ...filled(512, 0)]));
    expect(Buffer.compare(await bytes(device, 4 * MiB, 3 * MiB), filled(3 * MiB, 2))).toBe(0);
  });

  test('refuses what is not whole blocks within the device', async () => {
    const device = await open({ io });
    for (const [offset, length] of [
      [8 * MiB, 512],
      [1, 512],
      [0, 100],
      [-512, 512],
      [8 * MiB - 512, 1024],
      [Number.NaN, 512],
    ] as const) {
      await expect(device.read(new Uint8Array(length), offset)).rejects.toMatchObject({ code: 'device-out-of-range' });
      await expect(device.write(new Uint8Array(length), offset)).rejects.toMatchObject({ code: 'device-out-of-range' });
      await expect(device.discard(offset, length)).rejects.toMatchObject({ code: 'device-out-of-range' });
    }
  });

  test('refuses calls after close, and closes twice without harm', async () => {
    const device = await open({ io });
    await device.close();
    await device.close();
    await expect(device.read(new Uint8Array(512), 0)).rejects.toMatchObject({ code: 'device-gone' });
    await expect(device.write(new Uint8Array(512), 0)).rejects.toMatchObject({ code: 'device-gone' });
    await expect(device.flush()).rejects.toMatchObject({ code: 'device-gone' });
    await expect(device.refreshSize()).rejects.toMatchObject({ code: 'device-gone' });
    await expect(extents(device)).rejects.toMatchObject({ code: 'device-gone' });
  });

  test('close waits for calls under way', async () => {
    const device = await open({ io });
    const writes = [
      device.write(filled(MiB, 7), 0, { fua: true }),
      device.write(filled(MiB, 8), MiB),
      device.flush(),
      device.flush(),
    ];
    await device.close();
    await Promise.all(writes);
    const again = await open();
    expect(Buffer.compare(await bytes(again, MiB, MiB), filled(MiB, 8))).toBe(0);
  });

  test('reports a file that was cut short instead of inventing data', async () => {
    const device = await open({ io });
    await truncate(path, MiB);
    await expect(device.read(new Uint8Array(4096), 2 * MiB)).rejects.toMatchObject({ code: 'device-medium-error' });
    await expect(device.read(new Uint8Array(MiB), 2 * MiB)).rejects.toMatchObject({ code: 'device-medium-error' });
  });
});

test('a read-only device reads and refuses changes', async () => {
  const device = await open({ readOnly: true });
  await bytes(device, 0, 512);
  await device.flush();
  for (const change of [device.write(filled(512, 1), 0), device.writeZeroes(0, 512), device.discard(0, 512)]) {
    await expect(change).rejects.toMatchObject({ code: 'device-not-permitted' });
  }
});

test('discard and writeZeroes free space and read as zeroes', async () => {
  const device = await open();
  await device.write(filled(8 * MiB, 5), 0);
  await device.flush();
  const before = (await stat(path)).blocks;
  await device.discard(MiB, 2 * MiB);
  await device.writeZeroes(4 * MiB + 512, 2 * MiB, { fua: true });
  expect(Buffer.compare(await bytes(device, MiB, 2 * MiB), filled(2 * MiB, 0))).toBe(0);
  expect(await bytes(device, 4 * MiB, 512)).toEqual(filled(512, 5));
  expect(Buffer.compare(await bytes(device, 4 * MiB + 512, 2 * MiB), filled(2 * MiB, 0))).toBe(0);
  expect(await bytes(device, 6 * MiB + 512, 512)).toEqual(filled(512, 5));
  expect((await stat(path)).blocks).toBeLessThan(before - 7000);
});

test('allocatedExtents lists data within the range asked for, and skips holes', async () => {
  const device = await open({}, 4096);
  expect(await extents(device)).toEqual([]);
  await device.write(filled(4096, 1), 0);
  await device.write(filled(MiB, 1), 4 * MiB);
  await device.write(filled(4096, 1), 8 * MiB - 4096);
  expect(await extents(device)).toEqual([
    { offset: 0, length: 4096 },
    { offset: 4 * MiB, length: MiB },
    { offset: 8 * MiB - 4096, length: 4096 },
  ]);
  expect(await extents(device, 4 * MiB + 4096, MiB)).toEqual([{ offset: 4 * MiB + 4096, length: MiB - 4096 }]);
});

test('many extents are told in order', async () => {
  const device = await open();
  for (let at = 0; at < 8 * MiB; at += 16384) await device.write(filled(4096, 1), at);
  expect(await extents(device)).toEqual(Array.from({ length: 512 }, (_, i) => ({ offset: i * 16384, length: 4096 })));
});

test('a grown file is seen after refreshSize', async () => {
  const device = await open();
  await truncate(path, 9 * MiB + 100);
  expect(device.size).toBe(8 * MiB);
  expect(await device.refreshSize()).toBe(9 * MiB);
  expect(await bytes(device, 8 * MiB, 512)).toEqual(filled(512, 0));
});

test('what cannot be opened is named', async () => {
  const locator = { kind: 'path', blockSize: 512 } as const;
  await expect(openPathDevice({ ...locator, path: `${path}-none` }, { readOnly: true })).rejects.toMatchObject({
    code: 'device-gone',
  });
  await expect(openPathDevice({ ...locator, path: directory }, { readOnly: true })).rejects.toMatchObject({
    code: 'device-out-of-range',
  });
});

describe('flush', () => {
  type Done = (error: NodeJS.ErrnoException | null) => void;

  /** Puts each fdatasync on hold; the test ends them by hand. */
  async function openWithHeldSyncs(): Promise<{ device: BlockDevice; syncs: Done[]; started(count: number): Promise<void> }> {
    const syncs: Done[] = [];
    vi.resetModules();
    vi.doMock('node:fs', () => ({ ...fs, fdatasync: (_fd: number, done: Done) => void syncs.push(done) }));
    const { openPathDevice: openHeld } = await import('./path-device.ts');
    vi.doUnmock('node:fs');
    const device = await openHeld({ kind: 'path', path, blockSize: 512 }, { readOnly: false });
    opened.push(device);
    return { device, syncs, started: (count) => vi.waitFor(() => expect(syncs.length).toBe(count), { interval: 1 }) };
  }
  const eio = () => Object.assign(new Error('EIO'), { code: 'EIO' });

  test('callers that wait for the same flush share it, and none shares one begun before its write', async () => {
    const { device, syncs, started } = await openWithHeldSyncs();
    const order: string[] = [];
    const first = device.flush().then(() => order.push('first'));
    await device.write(filled(512, 1), 0);
    const later = [device.flush(), device.flush(), device.write(filled(512, 1), 512, { fua: true })].map((flush) =>
      flush.then(() => order.push('later')),
    );
    await started(1);
    syncs[0]?.(null);
    await first;
    await started(2);
    expect(order).toEqual(['first']);
    syncs[1]?.(null);
    await Promise.all(later);
    expect(syncs.length).toBe(2);
  });

  test('a failed flush fails the next one too when a write came between, and only that one', async () => {
    const { device, syncs, started } = await openWithHeldSyncs();
    const first = device.flush();
    await device.write(filled(512, 1), 0);
    syncs[0]?.(eio());
    await expect(first).rejects.toMatchObject({ code: 'device-medium-error' });
    const second = device.flush();
    await started(2);
    syncs[1]?.(null);
    await expect(second).rejects.toMatchObject({ code: 'device-medium-error' });
    const third = device.flush();
    await started(3);
    syncs[2]?.(null);
    await third;
  });

  test('a failed flush is reported once when nothing was written meanwhile', async () => {
    const { device, syncs, started } = await openWithHeldSyncs();
    const first = device.flush();
    syncs[0]?.(eio());
    await expect(first).rejects.toMatchObject({ code: 'device-medium-error' });
    const second = device.flush();
    await started(2);
    syncs[1]?.(null);
    await second;
  });

  test('close waits for a flush that has not begun', async () => {
    const { device, syncs, started } = await openWithHeldSyncs();
    const flushes = [device.flush(), device.flush()];
    const closing = device.close();
    syncs[0]?.(null);
    await started(2);
    syncs[1]?.(null);
    await Promise.all([...flushes, closing]);
  });
});

test('without native calls everything counts as allocated and zeroes are written', async () => {
  vi.resetModules();
  vi.doMock('koffi', () => {
    throw new Error('no binary for this machine');
  });
  const { openPathDevice: openPlain } = await import('./path-device.ts');
  const device = await openPlain({ kind: 'path', path, blockSize: 512 }, { readOnly: false });
  opened.push(device);
  await device.write(filled(3 * MiB, 5), 0);
  await device.discard(512, 2 * MiB);
  expect(await extents(device)).toEqual([{ offset: 0, length: 8 * MiB }]);
  expect(await bytes(device, 0, 512)).toEqual(filled(512, 5));
  expect(Buffer.compare(await bytes(device, 512, 2 * MiB), filled(2 * MiB, 0))).toBe(0);
  expect(await bytes(device, 2 * MiB + 512, 512)).toEqual(filled(512, 5));
  vi.doUnmock('koffi');
});

test('errors of the system become device errors', async () => {
  const { deviceError } = await import('./device-error.ts');
  const code = (errno: string) => deviceError('x', 'write', Object.assign(new Error(errno), { code: errno })).code;
  expect(['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EACCES', 'ENXIO', 'ENODEV', 'ENOENT', 'EBADF'].map(code)).toEqual([
    'device-no-space',
    'device-no-space',
    'device-medium-error',
    'device-not-permitted',
    'device-not-permitted',
    'device-gone',
    'device-gone',
    'device-gone',
    'device-medium-error',
  ]);
});
