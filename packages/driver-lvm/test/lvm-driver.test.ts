import { systemRandom } from '@scoria/core';
import { beforeEach, describe, expect, test } from 'vitest';
import { call, LvmBench, MiB, request, thick } from './lvm-bench.ts';

let bench: LvmBench;
beforeEach(() => {
  bench = new LvmBench();
});

describe('what a verb costs', () => {
  test('a thin volume is made, grown, copied and looked up by one command or none', async () => {
    const driver = await bench.checked();
    const volume = await bench.volume(driver);
    expect(bench.lvm.counted()).toEqual(['lvcreate']);
    await driver.extend(volume, 16 * MiB, call);
    expect(bench.lvm.counted()).toEqual(['lvextend']);
    const snapshot = await bench.snapshot(driver, volume);
    expect(bench.lvm.counted()).toEqual(['lvcreate']);
    await driver.clone?.(request(16 * MiB), volume, call);
    expect(bench.lvm.counted()).toEqual(['lvcreate']);
    await driver.createFromSnapshot?.(request(16 * MiB), snapshot, call);
    expect(bench.lvm.counted()).toEqual(['lvcreate']);
    await driver.deleteSnapshot(snapshot, call);
    expect(bench.lvm.counted()).toEqual(['dmsetup', 'blkdiscard', 'lvremove']);
  });

  test('a thick volume whose space is known to be zeroed is made and snapshotted by one command', async () => {
    const driver = await bench.checked(thick);
    const volume = await bench.volume(driver);
    expect(bench.lvm.counted()).toEqual(['lvcreate']);
    await bench.snapshot(driver, volume);
    expect(bench.lvm.counted()).toEqual(['lvcreate']);
  });

  test.each([1, 60])('check, pools and list cost one command each with %i volumes', async (count) => {
    const driver = await bench.checked();
    for (let each = 0; each < count; each++) await bench.volume(driver);
    bench.lvm.counted();
    await driver.check(call);
    expect(bench.lvm.counted()).toEqual(['fullreport']);
    await driver.pools(call);
    expect(bench.lvm.counted()).toEqual(['dmsetup']);
    expect((await bench.listed(driver)).length).toBe(count);
    expect(bench.lvm.counted()).toEqual(['fullreport']);
  });

  test('the pools of thick volumes are told without a command, and follow our own changes', async () => {
    const driver = await bench.checked(thick);
    const free = async () => (await driver.pools(call))[0]?.free;
    const all = bench.lvm.size;
    expect(await free()).toBe(all);
    const volume = await bench.volume(driver, 8 * MiB);
    expect(await free()).toBe(all - 8 * MiB);
    await driver.extend(volume, 16 * MiB, call);
    expect(await free()).toBe(all - 16 * MiB);
    await bench.snapshot(driver, { ...volume, size: 16 * MiB });
    const before = await free();
    expect(bench.lvm.counted()).toEqual(['lvcreate', 'lvextend', 'lvcreate', 'fullreport']);
    expect(before).toBe(bench.lvm.free);
    const without = await bench.checked({ provisioning: 'thick', erase: 'none' });
    await without.delete(bench.thickVolume(), call);
    expect(bench.lvm.counted()).toEqual(['fullreport', 'dmsetup', 'lvremove']);
    expect((await without.pools(call))[0]?.free).toBe(bench.lvm.free);
  });

  test('what others change shows in the pools after the refresh interval', async () => {
    const driver = await bench.checked({ ...thick, refreshInterval: 5_000 });
    bench.lvm.add({ name: 'foreign', size: 400 * MiB });
    bench.lvm.missing = 1;
    expect((await driver.pools(call))[0]?.free).toBe(bench.lvm.size);
    expect(bench.lvm.counted()).toEqual([]);
    bench.clock.advance(5_000);
    expect((await driver.pools(call))[0]?.free).toBe(0);
    expect(bench.lvm.counted()).toEqual(['fullreport']);
  });

  test('reports that are asked for at the same time share one command', async () => {
    const driver = await bench.checked();
    await Promise.all([bench.listed(driver), bench.listed(driver), bench.listed(driver)]);
    expect(bench.lvm.counted()).toEqual(['fullreport']);
  });
});

describe('the group', () => {
  test('check marks it, makes the thin pool, and finds the mark again', async () => {
    const { backendId } = await bench.start().check(call);
    expect([...bench.lvm.groupTags]).toEqual([`scoria.backend=${backendId}`, `scoria.installation=${bench.installationId}`]);
    expect(bench.names()).toEqual(['pool']);
    expect((await bench.start().check(call)).backendId).toBe(backendId);
  });

  test("another installation's group is refused, and nothing is changed", async () => {
    await bench.start().check(call);
    bench.lvm.counted();
    await expect(bench.start({}, { installationId: systemRandom.uuid() }).check(call)).rejects.toMatchObject({
      code: 'foreign-backend',
    });
    expect(bench.lvm.counted()).toEqual(['fullreport']);
  });

  test('volumes of some Scoria in a group without a mark are not adopted', async () => {
    bench.lvm.add({ name: 'volume-1', tags: ['scoria'] });
    await expect(bench.start().check(call)).rejects.toMatchObject({ code: 'foreign-backend' });
  });

  test('processes that mark it at the same moment agree on one id', async () => {
    const found = await Promise.all([bench.start(), bench.start(), bench.start()].map((driver) => driver.check(call)));
    const again = await Promise.all([bench.start(), bench.start()].map((driver) => driver.check(call)));
    expect(new Set(again.map(({ backendId }) => backendId)).size).toBe(1);
    expect(found.map(({ backendId }) => backendId)).toContain(again[0]?.backendId);
    expect([...bench.lvm.groupTags].filter((tag) => tag.startsWith('scoria.backend=')).length).toBe(1);
  });

  test.each([
    ['is not there', { volumeGroups: ['other'] }, 'backend-unavailable', /other/],
    ['has no pool, and none is to be made', { thinPool: { name: 'x', create: false } }, 'backend-unavailable', /no thin pool x/],
  ])('a group that %s is told', async (_what, config, code, message) => {
    await expect(bench.start(config).check(call)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test('a group that lacks a disk is unavailable, and promises no space', async () => {
    const driver = await bench.checked();
    bench.lvm.missing = 1;
    await expect(driver.check(call)).rejects.toMatchObject({
      code: 'backend-unavailable',
      message: expect.stringMatching(/lacks 1/),
    });
    expect((await driver.pools(call))[0]?.free).toBe(0);
  });

  test('a pool that does not zero its chunks is refused', async () => {
    bench.lvm.addPool('pool').zeroes = false;
    const driver = bench.start();
    await expect(driver.check(call)).rejects.toMatchObject({
      code: 'invalid-configuration',
      message: expect.stringMatching(/does not zero/),
    });
  });

  test('foreign logical volumes are neither listed nor touched', async () => {
    bench.lvm.add({ name: 'root' });
    bench.lvm.add({ name: `volume-${systemRandom.uuid()}` });
    const before = structuredClone([...bench.lvm.volumes.values()]);
    const driver = await bench.checked();
    expect(await bench.listed(driver)).toEqual([]);
    const mine = request();
    bench.lvm.add({ name: `volume-${mine.placementId}` });
    await expect(driver.create(mine, call)).rejects.toMatchObject({ code: 'conflict' });
    await driver.delete(mine, call);
    expect(bench.names()).toContain(`volume-${mine.placementId}`);
    expect([...bench.lvm.volumes.values()].slice(0, 2)).toEqual(before);
  });

  test('our volumes that lie idle, as after a boot, are activated, and no others', async () => {
    const driver = await bench.checked();
    const volume = await bench.volume(driver);
    bench.lvm.add({ name: 'foreign', active: false });
    for (const each of bench.lvm.volumes.values()) each.active = false;
    await bench.start().check(call);
    expect(bench.lvm.volumes.get(`volume-${volume.placementId}`)?.active).toBe(true);
    expect(bench.lvm.volumes.get('foreign')?.active).toBe(false);
  });
});

test('a volume that a killed command left suspended is resumed by a check', async () => {
  const driver = await bench.checked();
  const volume = bench.lvm.volumes.get(`volume-${(await bench.volume(driver)).placementId}`);
  if (volume) volume.attr = 'Vwi-s-tz--';
  bench.lvm.counted();
  await driver.check(call);
  expect(bench.lvm.counted()).toEqual(['fullreport', 'lvchange']);
});

describe('repeats and leftovers', () => {
  test('a create whose reply was lost finds what it made, without the model knowing', async () => {
    const driver = await bench.checked();
    const wanted = request();
    const first = await driver.create(wanted, call);
    const other = await bench.checked();
    expect(await other.create(wanted, call)).toEqual(first);
    expect(bench.names().filter((name) => name.startsWith('volume-')).length).toBe(1);
  });

  test('a name that appeared behind the back of the model is found', async () => {
    const driver = await bench.checked();
    const wanted = request();
    await (await bench.checked()).create(wanted, call);
    expect((await driver.create(wanted, call)).size).toBe(8 * MiB);
  });

  test.each(['before the first rename', 'between the renames', 'before the removal'])(
    'a revert that died %s is finished or undone',
    async (when) => {
      const driver = await bench.checked();
      const volume = await bench.volume(driver);
      const snapshot = await bench.snapshot(driver, volume);
      const die = { 'before the first rename': 0, 'between the renames': 1, 'before the removal': 2 }[when] ?? 0;
      let renames = 0;
      bench.lvm.instead = (verb) => {
        if (verb === 'lvremove' || (verb === 'lvrename' && renames++ === die)) throw new Error('killed');
        return undefined;
      };
      await expect(driver.revert?.(volume, snapshot, call)).rejects.toThrow('killed');
      bench.lvm.instead = () => undefined;
      const after = await bench.checked();
      expect(bench.names()).toEqual(['pool', `snap-${snapshot.placementId}`, `volume-${volume.placementId}`]);
      expect((await bench.listed(after)).length).toBe(2);
      expect(await after.revert?.(volume, snapshot, call)).toEqual({ done: true });
    },
  );

  test('a repeat without a restart finishes a revert that failed half-way', async () => {
    const driver = await bench.checked();
    const volume = await bench.volume(driver);
    const snapshot = await bench.snapshot(driver, volume);
    let renames = 0;
    bench.lvm.instead = (verb) =>
      verb === 'lvrename' && ++renames === 2 ? { exitCode: 5, stdout: '', stderr: 'no' } : undefined;
    await expect(driver.revert?.(volume, snapshot, call)).rejects.toMatchObject({ code: 'backend-failed' });
    bench.lvm.instead = () => undefined;
    expect(await driver.revert?.(volume, snapshot, call)).toEqual({ done: true });
    expect(bench.names()).toEqual(['pool', `snap-${snapshot.placementId}`, `volume-${volume.placementId}`]);
  });

  test('taking over that died half-way goes on with a repeat, and is undone by a check', async () => {
    const driver = await bench.checked(thick);
    bench.lvm.add({ name: 'data', size: 8 * MiB });
    const target = { ...request(0) };
    const died = () => {
      bench.lvm.instead = (verb) => {
        if (verb === 'lvrename') throw new Error('killed');
        return undefined;
      };
    };
    died();
    await expect(driver.manage?.(target, 'data', call)).rejects.toThrow('killed');
    bench.lvm.instead = () => undefined;
    expect(bench.lvm.volumes.get('data')?.tags).toContain('scoria');
    await bench.checked(thick);
    expect(bench.lvm.volumes.get('data')?.tags).toEqual([]);
    died();
    await expect(driver.manage?.(target, 'vg/data', call)).rejects.toThrow('killed');
    bench.lvm.instead = () => undefined;
    expect(await driver.manage?.(target, 'vg/data', call)).toEqual({
      backendRef: `vg/volume-${target.placementId}`,
      size: 8 * MiB,
    });
  });

  test('taking over that died half-way is undone by letting go, with the placement id alone', async () => {
    const driver = await bench.checked(thick);
    bench.lvm.add({ name: 'data', size: 8 * MiB });
    const target = request(0);
    bench.lvm.instead = (verb) => {
      if (verb === 'lvrename') throw new Error('killed');
      return undefined;
    };
    await expect(driver.manage?.(target, 'data', call)).rejects.toThrow('killed');
    await driver.unmanage?.(target, call);
    expect(bench.lvm.volumes.get('data')?.tags).toEqual([]);
  });

  test('deleting a volume that has thick snapshots keeps its blocks until the last of them is gone', async () => {
    const driver = await bench.checked({ provisioning: 'thick', erase: 'none' });
    bench.lvm.add({ name: 'unused' });
    const volume = bench.thickVolume();
    const snapshots = [await bench.snapshot(driver, volume), await bench.snapshot(driver, volume)];
    await driver.delete(volume, call);
    expect(bench.names()).toContain(`deleted-${volume.placementId}`);
    expect((await bench.listed(driver)).map(({ kind }) => kind)).toEqual(['snapshot', 'snapshot']);
    for (const snapshot of snapshots) await driver.deleteSnapshot(snapshot, call);
    expect(bench.names()).toEqual(['unused']);
  });
});
