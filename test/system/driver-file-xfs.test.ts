import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { assertPattern, driverConformance, startDriver, writePattern } from '@scoria/conformance';
import { openPathDevice, systemRandom } from '@scoria/core';
import plugin from '@scoria/driver-file';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

// driver-file on a file system that shares blocks: XFS with reflink, on a loop device. Needs root.

const MiB = 1024 * 1024;
const run = promisify(execFile);
const call = { signal: new AbortController().signal, fence: 1, progress: () => {} };
let directory: string;
let mount: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'driver-file-xfs-'));
  mount = join(directory, 'mount');
  const image = join(directory, 'image');
  await mkdir(mount);
  await writeFile(image, '');
  await truncate(image, 1024 * MiB);
  await run('mkfs.xfs', ['-q', '-m', 'reflink=1', image]);
  await run('mount', ['-o', 'loop', image, mount]);
});
afterAll(async () => {
  await run('umount', [mount]);
  await rm(directory, { recursive: true });
});

async function start(config: Record<string, unknown> = {}) {
  return startDriver(plugin, { directory: 'backend', ...config }, { baseDirectory: await mkdtemp(join(mount, 'test-')) });
}
const create = async () => {
  const baseDirectory = await mkdtemp(join(mount, 'test-'));
  return startDriver(plugin, { directory: 'backend' }, { baseDirectory, cleanup: () => rm(baseDirectory, { recursive: true }) });
};
driverConformance({ describe, test, capabilities: plugin.capabilities, create });

const newObject = (size: number) => ({ placementId: systemRandom.uuid(), pool: 'pool', backendRef: null, size });

test('snapshots, copies and reverts share blocks: done at once, taking no space', async () => {
  const { driver } = await start();
  await driver.check(call);
  const volume = newObject(256 * MiB);
  await driver.create(volume, call);
  const locator = await driver.locate(volume, call);
  const device = await openPathDevice(locator, { readOnly: false });
  await writePattern(device, 1, 0, 200 * MiB);
  await device.flush();
  const free = async () => (await driver.pools(call))[0]?.free ?? Number.NaN;
  const before = await free();
  const [snapshot, copy, clone] = [newObject(256 * MiB), newObject(256 * MiB), newObject(256 * MiB)];
  expect(await driver.createSnapshot(snapshot, volume, call)).toMatchObject({ filled: true });
  expect(await driver.createFromSnapshot?.(copy, snapshot, call)).toMatchObject({ filled: true });
  expect(await driver.clone?.(clone, volume, call)).toMatchObject({ filled: true });
  await writePattern(device, 2, 0, MiB);
  await device.close();
  expect(await driver.revert?.(volume, snapshot, call)).toEqual({ done: true });
  expect(before - (await free())).toBeLessThan(8 * MiB);
  for (const object of [volume, snapshot, copy, clone]) {
    const opened = await openPathDevice(await driver.locate(object, call), { readOnly: true });
    await assertPattern(opened, 1, 0, 200 * MiB, object.placementId);
    await opened.close();
  }
});

test('a write that was not flushed is in the snapshot', async () => {
  const { driver } = await start();
  await driver.check(call);
  const [volume, snapshot] = [newObject(8 * MiB), newObject(8 * MiB)];
  await driver.create(volume, call);
  const device = await openPathDevice(await driver.locate(volume, call), { readOnly: false });
  await writePattern(device, 1, 0, 8 * MiB);
  await driver.createSnapshot(snapshot, volume, call);
  await device.close();
  const opened = await openPathDevice(await driver.locate(snapshot, call), { readOnly: true });
  await assertPattern(opened, 1, 0, 8 * MiB, 'the snapshot');
  await opened.close();
});

test('thick volumes do not share blocks', async () => {
  const { driver } = await start({ provisioning: 'thick' });
  await driver.check(call);
  const [volume, snapshot] = [newObject(8 * MiB), newObject(8 * MiB)];
  await driver.create(volume, call);
  expect(await driver.createSnapshot(snapshot, volume, call)).toMatchObject({ filled: false });
  expect(await driver.revert?.(volume, snapshot, call)).toEqual({ done: false });
});

test('a full file system gives device-no-space and leaves nothing half-made', async () => {
  const { driver } = await start();
  await driver.check(call);
  const volume = newObject(2048 * MiB);
  await driver.create(volume, call);
  const { path, ...locator } = await driver.locate(volume, call);
  const device = await openPathDevice({ ...locator, path }, { readOnly: false });
  await expect(writePattern(device, 1, 0, 1536 * MiB).then(() => device.flush())).rejects.toMatchObject({
    code: 'device-no-space',
  });
  await device.discard(0, device.size);
  await writePattern(device, 2, 0, MiB);
  await device.flush();
  await device.close();
  expect((await stat(path)).blocks * 512).toBeLessThan(2 * MiB);
  const folder = join(path, '..');
  expect(await readdir(folder)).toEqual([volume.placementId]);
  await driver.delete(volume, call);
});
