import { chmod, link, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPathDevice, silentLog, systemClock, systemRandom, noExec } from '@scoria/core';
import plugin from '@scoria/driver-file';
import { afterEach, beforeEach, expect, test } from 'vitest';

const MiB = 1024 * 1024;
const call = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const installation = systemRandom.uuid();
let base: string;
let directory: string;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'driver-file-'));
  directory = join(base, 'backend');
});
afterEach(() => rm(base, { recursive: true }));

function start(config: Record<string, unknown> = {}, installationId = installation) {
  const platform = { clock: systemClock, random: systemRandom, log: silentLog, exec: noExec };
  return plugin.create({
    name: 'files',
    config: { directory: 'backend', ...config },
    installationId,
    baseDirectory: base,
    ...platform,
  });
}
const newObject = (size: number) => ({ placementId: systemRandom.uuid(), pool: 'pool', backendRef: null, size });
const mode = async (path: string) => (await stat(path)).mode & 0o777;

test('check marks the directory as ours, for our eyes only', async () => {
  const { backendId } = await start().check(call);
  const marker: unknown = JSON.parse(await readFile(join(directory, 'scoria-backend.json'), 'utf8'));
  expect(marker).toEqual({ format: 1, backendId, installationId: installation, blockSize: 512 });
  expect(await mode(join(directory, 'scoria-backend.json'))).toBe(0o600);
  expect(await mode(directory)).toBe(0o700);
  expect((await readdir(directory)).toSorted()).toEqual(['import', 'scoria-backend.json', 'snapshots', 'volumes']);
  expect(await readdir(join(directory, 'volumes'))).toEqual([]);
});

test('drivers that start at the same time agree on one id', async () => {
  const found = await Promise.all(Array.from({ length: 8 }, () => start().check(call)));
  expect(new Set(found.map(({ backendId }) => backendId)).size).toBe(1);
  expect((await readdir(directory)).length).toBe(4);
});

test("another installation's directory is refused", async () => {
  await start().check(call);
  await expect(start({}, systemRandom.uuid()).check(call)).rejects.toMatchObject({ code: 'foreign-backend' });
});

test('volumes without a marker are not adopted', async () => {
  await mkdir(join(directory, 'volumes'), { recursive: true });
  await writeFile(join(directory, 'volumes', systemRandom.uuid()), '');
  await expect(start().check(call)).rejects.toMatchObject({ code: 'foreign-backend' });
  expect(await readdir(directory)).toEqual(['volumes']);
});

test.each(['', '{"format":1', '{"format":2}', '{"format":1,"backendId":"x","installationId":"y"}'])(
  'a damaged marker is reported: %j',
  async (text) => {
    await mkdir(directory);
    await writeFile(join(directory, 'scoria-backend.json'), text);
    await expect(start().check(call)).rejects.toMatchObject({ code: 'backend-unavailable' });
  },
);

test('a directory that loses its marker while in use, as by an unmount, is not marked anew', async () => {
  const driver = start();
  await driver.check(call);
  await rm(directory, { recursive: true });
  await expect(driver.check(call)).rejects.toMatchObject({ code: 'backend-unavailable' });
  await expect(driver.pools(call)).rejects.toMatchObject({ code: 'backend-unavailable' });
});

test('another block size than that of the volumes is refused', async () => {
  await start().check(call);
  await expect(start({ blockSize: 4096 }).check(call)).rejects.toMatchObject({ code: 'invalid-configuration' });
});

test('check removes what a crash left half-made, and nothing else', async () => {
  const driver = start();
  await driver.check(call);
  const volume = newObject(MiB);
  await driver.create(volume, call);
  await writeFile(join(directory, 'volumes', `.new-${systemRandom.uuid()}`), 'half');
  await writeFile(join(directory, 'snapshots', `.new-${systemRandom.uuid()}`), 'half');
  await start().check(call);
  expect(await readdir(join(directory, 'volumes'))).toEqual([volume.placementId]);
  expect(await readdir(join(directory, 'snapshots'))).toEqual([]);
});

test('a half-made leftover of the same id does not stand in the way', async () => {
  const driver = start();
  await driver.check(call);
  const volume = newObject(MiB);
  await writeFile(join(directory, 'volumes', `.new-${volume.placementId}`), 'half');
  await driver.create(volume, call);
  expect((await stat(join(directory, 'volumes', volume.placementId))).size).toBe(MiB);
  expect(await mode(join(directory, 'volumes', volume.placementId))).toBe(0o600);
});

test('a volume made with another size is a conflict', async () => {
  const driver = start();
  await driver.check(call);
  const volume = newObject(MiB);
  await driver.create(volume, call);
  await expect(driver.create({ ...volume, size: 2 * MiB }, call)).rejects.toMatchObject({ code: 'conflict' });
});

test('ids and references never lead out of the directory', async () => {
  const driver = start();
  await driver.check(call);
  const volume = newObject(MiB);
  await writeFile(join(base, 'precious'), 'x');
  for (const placementId of ['../../precious', '..', '', 'A'.repeat(36)]) {
    await expect(driver.create({ ...volume, placementId }, call)).rejects.toMatchObject({ code: 'internal' });
    await expect(driver.delete({ ...volume, placementId }, call)).rejects.toMatchObject({ code: 'internal' });
  }
  for (const backendRef of ['../precious', 'volumes/../../precious', '/etc/passwd', '']) {
    await expect(driver.locate({ ...volume, backendRef }, call)).rejects.toMatchObject({ code: 'internal' });
  }
  expect(await readFile(join(base, 'precious'), 'utf8')).toBe('x');
});

test('a large volume is freed in pieces, with progress; an abort stops it and a repeat ends it', async () => {
  const driver = start();
  await driver.check(call);
  const volume = newObject(1024 * MiB);
  await driver.create(volume, call);
  const device = await openPathDevice(await driver.locate(volume, call), { readOnly: false });
  for (const at of [0, 300, 600, 900]) await device.write(new Uint8Array(MiB).fill(1), at * MiB);
  await device.close();
  const path = join(directory, 'volumes', volume.placementId);
  const before = (await stat(path)).blocks;
  const controller = new AbortController();
  const seen: number[] = [];
  const progress = (done: number) => {
    seen.push(done);
    if (seen.length === 2) controller.abort(new Error('enough'));
  };
  await expect(driver.delete(volume, { ...call, signal: controller.signal, progress })).rejects.toThrow('enough');
  expect((await stat(path)).blocks).toBeLessThan(before);
  await driver.delete(volume, call);
  await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a thick volume has its space when it is made, keeps it, and is refused before it fills the file system', async () => {
  const driver = start({ provisioning: 'thick' });
  await driver.check(call);
  expect(await driver.pools(call)).toMatchObject([{ thin: false, maxOverSubscription: 1 }]);
  const volume = newObject(4 * MiB);
  await driver.create(volume, call);
  const path = join(directory, 'volumes', volume.placementId);
  expect((await stat(path)).blocks * 512).toBeGreaterThanOrEqual(4 * MiB);
  await driver.extend(volume, 8 * MiB, call);
  expect((await stat(path)).blocks * 512).toBeGreaterThanOrEqual(8 * MiB);
  const [pool] = await driver.pools(call);
  const tooLarge = newObject(pool ? pool.free + 1024 * MiB : 0);
  await expect(driver.create(tooLarge, call)).rejects.toMatchObject({ code: 'device-no-space' });
  expect(await readdir(join(directory, 'volumes'))).toEqual([volume.placementId]);
});

test('files in import/ become volumes, and the ones that cannot are listed with the reason', async () => {
  const driver = start();
  await driver.check(call);
  const place = join(directory, 'import');
  expect(await mode(place)).toBe(0o700);
  await writeFile(join(place, 'disk.raw'), Buffer.alloc(MiB, 7));
  await chmod(join(place, 'disk.raw'), 0o666);
  await writeFile(join(place, 'odd'), Buffer.alloc(1000));
  await writeFile(join(place, 'empty'), '');
  await writeFile(join(place, 'twice'), Buffer.alloc(512));
  await link(join(place, 'twice'), join(base, 'other'));
  await symlink('/etc/passwd', join(place, 'away'));
  await mkdir(join(place, 'folder'));
  await writeFile(join(place, '.hidden'), Buffer.alloc(512));
  const found = new Map<string, string | null>();
  for await (const { reference, refusal } of driver.listManageable?.(call) ?? []) found.set(reference, refusal);
  expect(Object.fromEntries(found)).toEqual({
    'disk.raw': null,
    odd: 'Its 1000 bytes are no multiple of 512.',
    empty: 'It is empty.',
    twice: 'It has a second name (hard link), by which it could still be written to.',
    away: 'It is not a regular file.',
    folder: 'It is not a regular file.',
  });
  for (const name of ['odd', 'empty', 'twice', 'away', 'folder']) {
    await expect(driver.manage?.(newObject(0), name, call)).rejects.toMatchObject({ code: 'conflict' });
  }
  for (const name of ['.hidden', '..', '../volumes', 'a/b', '']) {
    await expect(driver.manage?.(newObject(0), name, call)).rejects.toMatchObject({ code: 'not-found' });
  }
  const target = newObject(0);
  expect(await driver.manage?.(target, 'disk.raw', call)).toMatchObject({ size: MiB });
  const path = join(directory, 'volumes', target.placementId);
  expect(await mode(path)).toBe(0o600);
  expect((await readFile(path)).equals(Buffer.alloc(MiB, 7))).toBe(true);
  await driver.unmanage?.(target, call);
  expect((await readFile(join(place, target.placementId))).equals(Buffer.alloc(MiB, 7))).toBe(true);
});

test('a thick backend reserves the holes of what it takes over', async () => {
  const driver = start({ provisioning: 'thick' });
  await driver.check(call);
  const file = join(directory, 'import', 'sparse');
  await writeFile(file, Buffer.alloc(4096, 7));
  await truncate(file, 4 * MiB);
  const target = newObject(0);
  await driver.manage?.(target, 'sparse', call);
  const path = join(directory, 'volumes', target.placementId);
  expect((await stat(path)).blocks * 512).toBeGreaterThanOrEqual(4 * MiB);
  expect((await readFile(path)).subarray(0, 4096).equals(Buffer.alloc(4096, 7))).toBe(true);
});

test.each([
  [{ directory: '' }],
  [{ directory: 'a', blockSize: 1024 }],
  [{ directory: 'a', reserved: 2 }],
  [{ directory: 'a', colour: 'red' }],
  [{}],
])('a wrong configuration is refused: %j', (config) => {
  expect(plugin.config.safeParse(config).success).toBe(false);
});
