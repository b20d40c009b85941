import {
  copyDevice,
  silentLog,
  systemClock,
  systemRandom,
  type BlockDevice,
  type DeviceOpener,
  type Plugin,
  noExec,
} from '@scoria/core';
import { expect, test } from 'vitest';
import memoryPlugin, { MemoryBackend, memoryDriver, type MemoryPoolOptions } from '@scoria/driver-memory';

const MiB = 1024 * 1024;
const call = { signal: new AbortController().signal, fence: 1, progress: () => {} };

function start(plugin: Plugin<'driver'>, config: unknown = {}, installationId: string = systemRandom.uuid()) {
  const platform = { clock: systemClock, random: systemRandom, log: silentLog, exec: noExec };
  const driver = plugin.create({ name: 'memory', config, installationId, baseDirectory: '/', ...platform });
  return { driver, open: opener(plugin) };
}
function opener(plugin: Plugin<'driver'>): DeviceOpener {
  const open = plugin.devices[plugin.locates];
  if (!open) throw new Error('no opener');
  return open;
}
const newObject = (size: number, pool = 'pool') => ({ placementId: systemRandom.uuid(), pool, backendRef: null, size });
const smallPool = (thin: boolean): MemoryPoolOptions => ({
  name: 'pool',
  total: MiB,
  thin,
  maxOverSubscription: 10,
  reserved: 0,
});
const backendOf = (...pools: MemoryPoolOptions[]) => new MemoryBackend({ backendId: systemRandom.uuid(), pools });
async function bytes(device: BlockDevice, offset: number, length: number) {
  const into = new Uint8Array(length).fill(0xee);
  await device.read(into, offset);
  return into;
}

test('a backend outlives its driver', async () => {
  const plugin = memoryDriver({ backend: backendOf(smallPool(true)) });
  const installation = systemRandom.uuid();
  const volume = newObject(MiB);
  const first = start(plugin, {}, installation);
  const { backendId } = await first.driver.check(call);
  await first.driver.create(volume, call);
  await (await first.open(await first.driver.locate(volume, call), { readOnly: false })).write(new Uint8Array(512).fill(7), 512);
  const second = start(plugin, {}, installation);
  expect(await second.driver.check(call)).toEqual({ backendId });
  const device = await second.open(await second.driver.locate(volume, call), { readOnly: true });
  expect(await bytes(device, 512, 512)).toEqual(new Uint8Array(512).fill(7));
});

test('another installation is refused', async () => {
  const plugin = memoryDriver({ backend: backendOf(smallPool(true)) });
  await start(plugin).driver.check(call);
  await expect(start(plugin).driver.check(call)).rejects.toMatchObject({ code: 'foreign-backend' });
});

test('two plug-ins in a process do not see each other', async () => {
  const [a, b] = [memoryDriver({ backend: backendOf(smallPool(true)) }), memoryDriver({ backend: backendOf(smallPool(true)) })];
  const volume = newObject(MiB);
  const one = start(a);
  await one.driver.create(volume, call);
  const locator = await one.driver.locate(volume, call);
  await expect(start(b).open(locator, { readOnly: true })).rejects.toMatchObject({ code: 'device-gone' });
  await expect(opener(memoryPlugin)(locator, { readOnly: true })).rejects.toMatchObject({ code: 'device-gone' });
});

test('the configured plug-in gives each driver a backend of its own', async () => {
  const [a, b] = [start(memoryPlugin), start(memoryPlugin, { pools: [{ name: 'fast', total: MiB }] })];
  expect(await a.driver.check(call)).not.toEqual(await b.driver.check(call));
  expect(await a.driver.pools(call)).toMatchObject([{ name: 'pool', total: 2 ** 40, free: 2 ** 40, thin: true }]);
  expect(await b.driver.pools(call)).toMatchObject([{ name: 'fast', total: MiB, free: MiB, thin: true }]);
  expect(memoryPlugin.config.safeParse({ pools: [] }).success).toBe(false);
  expect(
    memoryPlugin.config.safeParse({
      pools: [
        { name: 'a', total: 1 },
        { name: 'a', total: 1 },
      ],
    }).success,
  ).toBe(false);
});

test('a thin pool counts what is written, once for what copies share', async () => {
  const { driver, open } = start(memoryDriver({ backend: backendOf(smallPool(true)) }));
  const free = async () => (await driver.pools(call))[0]?.free;
  const volume = newObject(4 * MiB);
  const snapshot = newObject(4 * MiB);
  await driver.create(volume, call);
  expect(await free()).toBe(MiB);
  const device = await open(await driver.locate(volume, call), { readOnly: false });
  await device.write(new Uint8Array(MiB / 2), 0);
  expect(await free()).toBe(MiB / 2);
  await driver.createSnapshot(snapshot, volume, call);
  expect(await free()).toBe(MiB / 2);
  await device.write(new Uint8Array(512), 512);
  expect(await free()).toBe(MiB / 2 - 65536);
  await expect(device.write(new Uint8Array(MiB), 2 * MiB)).rejects.toMatchObject({ code: 'device-no-space' });
  await driver.deleteSnapshot(snapshot, call);
  await driver.delete(volume, call);
  expect(await free()).toBe(MiB);
  await expect(device.write(new Uint8Array(512), 0)).rejects.toMatchObject({ code: 'device-gone' });
});

test('a thick pool counts sizes and refuses what does not fit', async () => {
  const { driver } = start(memoryDriver({ backend: backendOf(smallPool(false)) }));
  const volume = newObject(MiB / 2);
  await driver.create(volume, call);
  expect(await driver.pools(call)).toMatchObject([{ free: MiB / 2, maxOverSubscription: 1 }]);
  await expect(driver.create(newObject(MiB), call)).rejects.toMatchObject({ code: 'device-no-space' });
  await expect(driver.extend(volume, 2 * MiB, call)).rejects.toMatchObject({ code: 'device-no-space' });
  expect(await driver.extend(volume, MiB, call)).toEqual({ size: MiB });
  await driver.delete(volume, call);
  expect(await driver.pools(call)).toMatchObject([{ free: MiB }]);
});

test('a copy into another pool is left to core', async () => {
  const { driver } = start(memoryDriver({ backend: backendOf(smallPool(true), { ...smallPool(true), name: 'other' }) }));
  const volume = newObject(MiB);
  await driver.create(volume, call);
  expect(await driver.createSnapshot(newObject(MiB, 'other'), volume, call)).toMatchObject({ filled: false });
});

test('a device keeps holes, joins neighbours and frees what is discarded', async () => {
  const { driver, open } = start(memoryDriver({ backend: backendOf(smallPool(true)) }));
  const [volume, other] = [newObject(4 * MiB), newObject(4 * MiB)];
  await driver.create(volume, call);
  await driver.create(other, call);
  const device = await open(await driver.locate(volume, call), { readOnly: false });
  const target = await open(await driver.locate(other, call), { readOnly: false });
  await device.write(new Uint8Array(200_704).fill(3), 65_536);
  await device.discard(65_536 + 512, 65_536);
  const found = [];
  for await (const extent of device.allocatedExtents(512, 3 * MiB)) found.push(extent);
  expect(found).toEqual([{ offset: 65_536, length: 262_144 }]);
  await device.discard(65_536, 131_072);
  expect(await bytes(device, 131_072, 512)).toEqual(new Uint8Array(512));
  expect(await bytes(device, 196_608, 512)).toEqual(new Uint8Array(512).fill(3));
  await copyDevice(device, target, { signal: call.signal, progress: () => {} });
  expect(Buffer.compare(await bytes(device, 0, 4 * MiB), await bytes(target, 0, 4 * MiB))).toBe(0);
  await expect(device.read(new Uint8Array(100), 0)).rejects.toMatchObject({ code: 'device-out-of-range' });
  await device.close();
  await expect(device.flush()).rejects.toMatchObject({ code: 'device-gone' });
});
