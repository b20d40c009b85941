import { setImmediate } from 'node:timers/promises';
import { silentLog, type Log } from '@scoria/core';
import { beforeEach, expect, test } from 'vitest';
import { call, LvmBench, MiB } from './lvm-bench.ts';

let bench: LvmBench;
let told: string[];
const log: Log = {
  ...silentLog,
  warn: (_fields, message) => void told.push(message),
  error: (_fields, message) => void told.push(message),
};
beforeEach(() => {
  bench = new LvmBench();
  told = [];
});

function pool() {
  const found = bench.lvm.volumes.get('pool');
  if (!found) throw new Error('There is no pool');
  return found;
}

test('a pool under another name is not made a second time while volumes of ours lie in it', async () => {
  await bench.volume(await bench.checked());
  const before = pool();
  bench.lvm.volumes.delete('pool');
  bench.lvm.add({ ...before, name: 'elsewhere' });
  for (const each of bench.lvm.volumes.values()) if (each.pool === 'pool') each.pool = 'elsewhere';
  await expect(bench.start().check(call)).rejects.toMatchObject({
    code: 'backend-unavailable',
    message: 'Volume group vg has no thin pool pool, but volumes of ours in elsewhere',
    remedy: expect.stringMatching(/lvrename vg elsewhere pool/),
  });
  expect(bench.names()).not.toContain('pool');
});

test('a pool that has no room to grow is told once', async () => {
  const driver = await bench.checked({ thinPool: { name: 'pool', autoExtend: { threshold: 50, percent: 20 } } }, log);
  bench.lvm.add({ name: 'foreign', size: bench.lvm.size - pool().size });
  pool().fill = 60;
  for (let times = 0; times < 3; times++) await driver.pools(call);
  expect(told).toEqual(['Thin pool vg/pool cannot grow: volume group vg has no free extents']);
  bench.lvm.size += 400 * MiB;
  expect((await driver.pools(call))[0]?.total).toBe(480 * MiB);
});

test('a pool promises nothing from where LVM makes no more volumes in it', async () => {
  const driver = await bench.checked({}, log);
  pool().metadata = 74;
  expect((await driver.pools(call))[0]?.free).toBeGreaterThan(0);
  pool().metadata = 75;
  for (let times = 0; times < 3; times++) expect((await driver.pools(call))[0]?.free).toBe(0);
  expect(told).toEqual(['Thin pool vg/pool takes no more volumes: 75 % of its metadata are in use']);
});

test('a pool that has a fault of its own is told by the kernel at once; LVM, which costs more, is asked but once', async () => {
  const driver = await bench.checked({}, log);
  await driver.pools(call);
  bench.lvm.counted();
  pool().health = 'failed';
  for (let times = 0; times < 3; times++) {
    expect(await driver.pools(call)).toMatchObject([
      { free: 0, fault: { message: 'Thin pool vg/pool fails writes: the kernel says that it is failed' } },
    ]);
  }
  expect(bench.lvm.counted()).toEqual(['dmsetup', 'fullreport', 'dmsetup', 'dmsetup']);
});

test('a pool is not asked while it is being changed: its devices come and go', async () => {
  const driver = await bench.checked();
  const [begun, made] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  bench.lvm.instead = async (verb) => {
    if (verb !== 'lvcreate') return undefined;
    begun.resolve();
    await made.promise;
    return undefined;
  };
  const creation = bench.volume(driver);
  await begun.promise;
  const report = driver.pools(call);
  await setImmediate();
  expect(bench.lvm.counted()).toEqual(['lvcreate']);
  made.resolve();
  await Promise.all([creation, report]);
  expect(bench.lvm.counted()).toContain('dmsetup');
});

test('a pool that is not active is told, and active again with the next look', async () => {
  const driver = await bench.checked({}, log);
  pool().active = false;
  await expect(driver.pools(call)).rejects.toMatchObject({ message: 'Thin pool vg/pool is not active' });
  expect((await driver.pools(call))[0]?.free).toBeGreaterThan(0);
  expect(pool().active).toBe(true);
});

test('a pool that is gone takes its group out of service', async () => {
  bench.lvm.addPool('pool');
  const driver = await bench.checked({ thinPool: { name: 'pool', create: false } }, log);
  bench.lvm.volumes.delete('pool');
  await expect(driver.pools(call)).rejects.toMatchObject({
    code: 'backend-unavailable',
    message: 'Volume group vg has no thin pool pool any more',
  });
});

test('a faulty pool promises nothing, and tells what is wrong', async () => {
  const driver = await bench.checked({}, log);
  pool().health = 'metadata_read_only';
  expect(await driver.pools(call)).toMatchObject([
    { free: 0, fault: { message: 'Thin pool vg/pool fails writes: the kernel says that it is metadata_read_only' } },
  ]);
});
