import { type Log } from '@scoria/core';
import { beforeEach, describe, expect, test } from 'vitest';
import { call, LvmBench, MiB, request, thick } from './lvm-bench.ts';

let bench: LvmBench;
beforeEach(() => {
  bench = new LvmBench();
});

describe('failures', () => {
  test('what does not fit is device-no-space, and leaves nothing', async () => {
    const driver = await bench.checked(thick);
    await expect(driver.create(request(2000 * MiB), call)).rejects.toMatchObject({
      code: 'device-no-space',
      message: expect.stringMatching(/insufficient free space/),
    });
    expect(bench.names()).toEqual([]);
  });

  test('what is open is backend-busy, and is deleted when it is free', async () => {
    const driver = await bench.checked();
    const volume = await bench.volume(driver);
    bench.lvm.openCount = 1;
    await expect(driver.delete(volume, call)).rejects.toMatchObject({ code: 'backend-busy', retryable: true });
    await expect(driver.shrink?.(volume, 4 * MiB, call)).rejects.toMatchObject({ code: 'backend-busy' });
    expect(bench.lvm.counted()).not.toContain('blkdiscard');
    bench.lvm.openCount = 0;
    await driver.delete(volume, call);
    expect(bench.names()).toEqual(['pool']);
  });

  test.each([
    ['prints garbage', { exitCode: 0, stdout: 'open', stderr: '' }],
    ['prints nothing', { exitCode: 0, stdout: '', stderr: '' }],
    ['fails', { exitCode: 1, stdout: '', stderr: 'Failure to communicate with kernel device-mapper driver.' }],
  ])('nothing is destroyed when the program that tells who has it open %s', async (_what, answer) => {
    const driver = await bench.checked();
    const volume = await bench.volume(driver);
    bench.lvm.instead = (verb) => (verb === 'dmsetup' ? answer : undefined);
    await expect(driver.delete(volume, call)).rejects.toMatchObject({ code: 'backend-failed' });
    expect(bench.lvm.counted()).not.toContain('blkdiscard');
    expect(bench.names().length).toBe(2);
  });

  test.each([true, false])('a volume is made smaller whatever is in it, by an LVM that looks: %s', async (looks) => {
    bench.lvm.knowsFileSystems = looks;
    const driver = await bench.checked({ provisioning: 'thick', erase: 'none' });
    const [first, second] = [bench.thickVolume(), bench.thickVolume()];
    for (const each of [first, second]) expect(await driver.shrink?.(each, 4 * MiB, call)).toEqual({ size: 4 * MiB });
    expect(bench.lvm.counted().filter((verb) => verb === 'lvreduce').length).toBe(looks ? 2 : 3);
  });

  test.each([
    ['garbage', { exitCode: 0, stdout: '{"report": [{', stderr: '' }],
    ['nothing', { exitCode: 0, stdout: '', stderr: '' }],
    ['figures that are none', { exitCode: 0, stdout: '{"report":[{"vg":[{"vg_name":"vg","vg_size":"many"}]}]}', stderr: '' }],
    ['a failure without words', { exitCode: 5, stdout: '', stderr: '' }],
    ['a failure with a warning alone', { exitCode: 5, stdout: '', stderr: '  WARNING: locking disabled\n' }],
  ])('a report that is %s is backend-failed', async (_what, answer) => {
    const driver = await bench.checked();
    bench.lvm.instead = () => answer;
    await expect(bench.listed(driver)).rejects.toMatchObject({ code: 'backend-failed' });
    bench.lvm.instead = () => undefined;
    expect(await bench.listed(driver)).toEqual([]);
  });

  test('a command that did its work and failed is found out by the repeat', async () => {
    const driver = await bench.checked();
    const wanted = request();
    bench.lvm.instead = (verb, command) => {
      if (verb !== 'lvcreate') return undefined;
      bench.lvm.instead = () => undefined;
      return bench.lvm.run(command).then(() => ({ exitCode: 5, stdout: '', stderr: '  Failed to write to the log.\n' }));
    };
    await expect(driver.create(wanted, call)).rejects.toMatchObject({ code: 'backend-failed' });
    expect((await driver.create(wanted, call)).backendRef).toBe(`vg/volume-${wanted.placementId}`);
    expect((await bench.listed(driver)).length).toBe(1);
  });

  test('changes of one group come one after the other', async () => {
    const driver = await bench.checked();
    let [running, most] = [0, 0];
    bench.lvm.instead = async () => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
      return undefined;
    };
    await Promise.all([
      ...Array.from({ length: 6 }, () => driver.create(request(), call)),
      driver.pools(call),
      bench.listed(driver),
    ]);
    expect(most).toBe(1);
  });

  test('a verb that waits for its turn ends at once when it is aborted', async () => {
    const driver = await bench.checked();
    const { promise: held, resolve: release } = Promise.withResolvers<undefined>();
    bench.lvm.instead = () => held;
    const first = driver.create(request(), call);
    const controller = new AbortController();
    const second = driver.create(request(), { ...call, signal: controller.signal });
    controller.abort(new Error('cancelled'));
    await expect(second).rejects.toThrow('cancelled');
    release(undefined);
    await first;
    expect(bench.names().length).toBe(2);
  });

  test('a thick snapshot that has run full is never served', async () => {
    const driver = await bench.checked({ provisioning: 'thick', erase: 'none', freeSpace: 'unknown' });
    const volume = bench.thickVolume();
    const snapshot = await bench.snapshot(driver, volume);
    const kept = bench.lvm.volumes.get(`snap-${snapshot.placementId}`);
    if (kept) kept.invalid = true;
    const lost = { code: 'backend-object-missing', message: expect.stringMatching(/is lost: its space ran full/) };
    await expect(driver.locate(snapshot, call)).rejects.toMatchObject(lost);
    await expect(driver.createFromSnapshot?.(request(), snapshot, call)).rejects.toMatchObject(lost);
    await expect(driver.revert?.(volume, snapshot, call)).rejects.toMatchObject(lost);
    await driver.deleteSnapshot(snapshot, call);
  });
});

describe('watching', () => {
  const told: { readonly level: string; readonly message: string; readonly fields: object }[] = [];
  const log: Log = {
    debug: () => {},
    info: () => {},
    warn: (fields, message) => told.push({ level: 'warn', fields, message }),
    error: (fields, message) => told.push({ level: 'error', fields, message }),
  };
  beforeEach(() => {
    told.length = 0;
  });

  test('a pool that fills up is told with a forecast, once, and louder when it is nearly full', async () => {
    const driver = await bench.checked({}, log);
    const pool = bench.lvm.volumes.get('pool');
    if (!pool) throw new Error('there is no pool');
    for (const fill of [70, 75, 80, 85, 90, 95]) {
      pool.fill = fill;
      bench.clock.advance(60_000);
      await driver.pools(call);
    }
    expect(told.map(({ level }) => level)).toEqual(['warn', 'error']);
    expect(told[0]?.message).toMatch(/^Thin pool vg\/pool is 80 % full, full in about 4 min/);
    expect(told[1]?.message).toMatch(/^Thin pool vg\/pool is 95 % full, full in about 60 s/);
  });

  test('a pool grows at its threshold while the group has room', async () => {
    const driver = await bench.checked({ thinPool: { name: 'pool', autoExtend: { threshold: 80, percent: 20 } } });
    const pool = bench.lvm.volumes.get('pool');
    if (!pool) throw new Error('there is no pool');
    const { size } = pool;
    pool.fill = 79;
    await driver.pools(call);
    expect(pool.size).toBe(size);
    pool.fill = 80;
    expect((await driver.pools(call))[0]?.total).toBe(size * 1.2);
    for (let times = 0; times < 20; times++) await driver.pools(call);
    expect(pool.size).toBe(bench.lvm.size);
  });

  test('thick snapshots with less space than their volume grow before they run full', async () => {
    const driver = await bench.checked({ provisioning: 'thick', erase: 'none', snapshotReserve: 0.25 }, log);
    const volume = bench.thickVolume(64 * MiB);
    const snapshot = await bench.snapshot(driver, volume);
    const kept = bench.lvm.volumes.get(`snap-${snapshot.placementId}`);
    if (!kept) throw new Error('there is no snapshot');
    expect(kept.size).toBe(20 * MiB);
    kept.fill = 69;
    await driver.pools(call);
    expect(kept.size).toBe(20 * MiB);
    kept.fill = 71;
    await driver.pools(call);
    expect(kept.size).toBe(36 * MiB);
    expect(told.at(-1)?.message).toMatch(/71 % full/);
    kept.invalid = true;
    await driver.pools(call);
    expect(told.at(-1)).toMatchObject({ level: 'error', message: expect.stringMatching(/has run full and is lost/) });
  });

  test('thick snapshots share what their group has left', async () => {
    const driver = await bench.checked({ provisioning: 'thick', erase: 'none', snapshotReserve: 0.25 }, log);
    const volume = bench.thickVolume(64 * MiB);
    const snapshots = [await bench.snapshot(driver, volume), await bench.snapshot(driver, volume)];
    const kept = snapshots.map(({ placementId }) => bench.lvm.volumes.get(`snap-${placementId}`));
    bench.lvm.size = (64 + 20 + 20 + 24) * MiB;
    for (const each of kept) if (each) each.fill = 75;
    await driver.pools(call);
    expect(kept.map((each) => each?.size)).toEqual([36 * MiB, 28 * MiB]);
    told.length = 0;
    bench.lvm.counted();
    await driver.pools(call);
    expect(bench.lvm.counted()).not.toContain('lvextend');
    expect(told).toEqual([]);
  });

  test("a pool's metadata grow with their spare copy, and what cannot grow keeps the rest from nothing", async () => {
    const driver = await bench.checked({ thinPool: { name: 'pool', autoExtend: { threshold: 10, percent: 50 } } }, log);
    const pool = bench.lvm.volumes.get('pool');
    if (!pool) throw new Error('there is no pool');
    pool.fill = 80;
    const refused: string[][] = [];
    bench.lvm.instead = (verb, { args }) => {
      if (verb !== 'lvextend' || !args.includes('--poolmetadatasize')) return undefined;
      refused.push([...args]);
      return { exitCode: 5, stdout: '', stderr: '  No.\n' };
    };
    await driver.pools(call);
    expect(refused[0]).toContain(`+${4 * MiB}b`);
    expect(pool.size).toBe(600 * MiB);
    await driver.pools(call);
    expect(told.filter(({ message }) => message.includes('could not grow')).length).toBe(1);
  });

  test('before core copies over a volume, every snapshot of it gets all the space that it may need', async () => {
    const driver = await bench.checked({ provisioning: 'thick', erase: 'none', snapshotReserve: 0.25 });
    const volume = bench.thickVolume(64 * MiB);
    const [first, second] = [await bench.snapshot(driver, volume), await bench.snapshot(driver, volume)];
    expect(await driver.revert?.(volume, first, call)).toEqual({ done: false });
    for (const { placementId } of [first, second]) expect(bench.lvm.volumes.get(`snap-${placementId}`)?.size).toBe(68 * MiB);
  });
});
