import assert from 'node:assert/strict';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, volumeSize } from './driver-bench.ts';
import type { DriverTests } from './driver-conformance.ts';

const MiB = 1024 * 1024;

/** Snapshots. A driver that only allocates (`filled: false`) is completed the way core does it. */
export const snapshotTests: DriverTests = {
  'a snapshot stays as it is while its volume changes': async (bench) => {
    const volume = await bench.volume();
    await bench.using(volume, (device) => writePattern(device, 1, 0, 4 * MiB));
    const snapshot = await bench.snapshot(volume);
    await bench.using(volume, async (device) => {
      await writePattern(device, 2, MiB, MiB);
      await writePattern(device, 2, 6 * MiB, MiB);
      await device.discard(2 * MiB, MiB);
      await device.flush();
    });
    await bench.using(snapshot, async (device) => {
      assert.equal(device.size, snapshot.size);
      await assertPattern(device, 1, 0, 4 * MiB, 'the snapshot');
      await assertPattern(device, 0, 4 * MiB, volumeSize - 4 * MiB, 'the snapshot');
    });
    await bench.using(volume, async (device) => {
      await assertPattern(device, 1, 0, MiB, 'the volume');
      await assertPattern(device, 2, MiB, MiB, 'the volume');
      await assertPattern(device, 0, 2 * MiB, MiB, 'the volume');
      await assertPattern(device, 1, 3 * MiB, MiB, 'the volume');
      await assertPattern(device, 2, 6 * MiB, MiB, 'the volume');
    });
  },

  'each snapshot of a volume keeps its own moment': async (bench) => {
    const volume = await bench.volume();
    const snapshots = [];
    for (const seed of [1, 2, 3]) {
      await bench.using(volume, (device) => writePattern(device, seed, 0, 2 * MiB));
      snapshots.push(await bench.snapshot(volume));
    }
    await bench.using(volume, (device) => writePattern(device, 9, 0, 2 * MiB));
    const [first, second, third] = snapshots;
    assert(first && second && third);
    await bench.driver.deleteSnapshot(second, plainCall);
    await bench.using(first, (device) => assertPattern(device, 1, 0, 2 * MiB, 'the first snapshot'));
    await bench.using(third, (device) => assertPattern(device, 3, 0, 2 * MiB, 'the third snapshot'));
    await bench.using(volume, (device) => assertPattern(device, 9, 0, 2 * MiB, 'the volume'));
  },

  'a repeated createSnapshot gives the same snapshot and leaves its content': async (bench) => {
    const volume = await bench.volume();
    await bench.using(volume, (device) => writePattern(device, 1, 0, MiB));
    const request = bench.request();
    const first = await bench.driver.createSnapshot(request, volume, plainCall);
    const snapshot = await bench.filled(request, first, volume);
    await bench.using(volume, (device) => writePattern(device, 2, 0, MiB));
    assert.deepEqual(await bench.driver.createSnapshot(request, volume, plainCall), first);
    assert.deepEqual(await bench.driver.createSnapshot(snapshot, volume, plainCall), first);
    await bench.using(snapshot, (device) => assertPattern(device, 1, 0, MiB, 'the snapshot'));
    assert.equal((await bench.list()).length, 2);
  },

  'a snapshot that is only allocated reads as zeroes': async (bench) => {
    const volume = await bench.volume();
    await bench.using(volume, (device) => writePattern(device, 1, 0, volumeSize));
    const request = bench.request();
    const made = await bench.driver.createSnapshot(request, volume, plainCall);
    const wanted = made.filled ? 1 : 0;
    await bench.using({ ...request, ...made }, (device) => assertPattern(device, wanted, 0, volumeSize, 'the snapshot'));
  },

  'a snapshot of a volume that is missing fails and leaves nothing': async (bench) => {
    await assert.rejects(bench.driver.createSnapshot(bench.request(), bench.request(), plainCall), {
      code: 'backend-object-missing',
    });
    assert.deepEqual(await bench.list(), []);
  },

  'extending the volume does not change its snapshot': async (bench) => {
    const volume = await bench.volume();
    const snapshot = await bench.snapshot(volume);
    await bench.driver.extend(volume, 2 * volumeSize, plainCall);
    await bench.using(snapshot, async (device) => assert.equal(device.size, snapshot.size));
    assert.equal((await bench.listed(snapshot))?.size, snapshot.size);
  },

  'deleteSnapshot leaves the volume, and may be repeated': async (bench) => {
    const volume = await bench.volume();
    await bench.using(volume, (device) => writePattern(device, 1, 0, volumeSize));
    const snapshot = await bench.snapshot(volume);
    await bench.driver.deleteSnapshot(snapshot, plainCall);
    await bench.driver.deleteSnapshot(snapshot, plainCall);
    await bench.driver.deleteSnapshot({ ...snapshot, backendRef: null }, plainCall);
    await bench.driver.deleteSnapshot(bench.request(), plainCall);
    await assert.rejects(bench.driver.locate(snapshot, plainCall), { code: 'backend-object-missing' });
    assert.equal(await bench.listed(snapshot), undefined);
    await bench.using(volume, (device) => assertPattern(device, 1, 0, volumeSize, 'the volume'));
  },
};
