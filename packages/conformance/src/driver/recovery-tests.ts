import assert from 'node:assert/strict';
import { assertPattern, writePattern } from '../pattern.ts';
import { abortedCall, plainCall, recorded, volumeSize } from './driver-bench.ts';
import type { DriverTests } from './driver-conformance.ts';

const MiB = 1024 * 1024;

/** Aborts, lost replies and restarts. */
export const recoveryTests: DriverTests = {
  'a call that is aborted before it begins does nothing': async (bench) => {
    const { driver } = bench;
    const volume = await bench.volume();
    await bench.using(volume, (device) => writePattern(device, 1, 0, MiB));
    const snapshot = await bench.snapshot(volume);
    const before = (await bench.list()).map(({ placementId, size }) => ({ placementId, size }));
    await assert.rejects(driver.create(bench.request(), abortedCall()));
    await assert.rejects(driver.createSnapshot(bench.request(), volume, abortedCall()));
    await assert.rejects(driver.extend(volume, 2 * volumeSize, abortedCall()));
    await assert.rejects(driver.delete(volume, abortedCall()));
    await assert.rejects(driver.deleteSnapshot(snapshot, abortedCall()));
    await assert.rejects(driver.locate(volume, abortedCall()));
    if (driver.clone) await assert.rejects(driver.clone(bench.request(), volume, abortedCall()));
    if (driver.createFromSnapshot) await assert.rejects(driver.createFromSnapshot(bench.request(), snapshot, abortedCall()));
    if (driver.revert) await assert.rejects(driver.revert(volume, snapshot, abortedCall()));
    assert.deepEqual(
      (await bench.list()).map(({ placementId, size }) => ({ placementId, size })),
      before,
    );
    await bench.using(volume, (device) => assertPattern(device, 1, 0, MiB, 'the volume'));
  },

  'after an abort half-way each verb can be repeated': async (bench) => {
    const request = bench.request();
    await bench.interrupt((call) => bench.driver.create(request, call));
    const volume = recorded(request, await bench.driver.create(request, plainCall));
    await bench.using(volume, async (device) => {
      await assertPattern(device, 0, 0, volume.size, 'the volume');
      await writePattern(device, 1, 0, volumeSize);
    });

    const wanted = bench.request();
    await bench.interrupt((call) => bench.driver.createSnapshot(wanted, volume, call));
    const snapshot = await bench.filled(wanted, await bench.driver.createSnapshot(wanted, volume, plainCall), volume);
    await bench.using(snapshot, (device) => assertPattern(device, 1, 0, volumeSize, 'the snapshot'));

    await bench.interrupt((call) => bench.driver.extend(volume, 2 * volumeSize, call));
    const { size } = await bench.driver.extend(volume, 2 * volumeSize, plainCall);
    await bench.using(volume, async (device) => {
      assert.equal(device.size, size);
      await assertPattern(device, 1, 0, volumeSize, 'the old part');
      await assertPattern(device, 0, volumeSize, size - volumeSize, 'the new part');
    });

    await bench.interrupt((call) => bench.driver.deleteSnapshot(snapshot, call));
    await bench.driver.deleteSnapshot(snapshot, plainCall);
    await bench.interrupt((call) => bench.driver.delete(volume, call));
    await bench.driver.delete(volume, plainCall);
    assert.deepEqual(await bench.list(), []);
  },

  'a new driver finds everything by its reference': async (bench) => {
    const volume = await bench.volume();
    await bench.using(volume, async (device) => {
      await writePattern(device, 1, 0, volumeSize);
      await device.flush();
    });
    const snapshot = await bench.snapshot(volume);
    const before = await bench.list();
    await bench.restart();
    assert.deepEqual(sorted(await bench.list()), sorted(before));
    await bench.using(volume, async (device) => {
      await assertPattern(device, 1, 0, volumeSize, 'the volume');
      await writePattern(device, 2, 0, MiB);
    });
    await bench.using(snapshot, (device) => assertPattern(device, 1, 0, volumeSize, 'the snapshot'));
    await bench.driver.extend(volume, 2 * volumeSize, plainCall);
    await bench.restart();
    await bench.driver.deleteSnapshot(snapshot, plainCall);
    await bench.restart();
    await bench.using(volume, (device) => assertPattern(device, 2, 0, MiB, 'the volume'));
    await bench.driver.delete(volume, plainCall);
    await bench.restart();
    assert.deepEqual(await bench.list(), []);
  },

  'a create whose reply was lost in a crash is found again, or removed, without its reference': async (bench) => {
    const request = bench.request();
    const first = await bench.driver.create(request, plainCall);
    await bench.using({ ...request, ...first }, (device) => writePattern(device, 1, 0, MiB));
    const wanted = bench.request();
    await bench.driver.createSnapshot(wanted, { ...request, ...first }, plainCall);
    await bench.restart();
    assert.deepEqual(await bench.driver.create(request, plainCall), first);
    await bench.using(request, (device) => assertPattern(device, 1, 0, MiB, 'the volume'));
    await bench.restart();
    await bench.driver.deleteSnapshot(wanted, plainCall);
    await bench.driver.delete(request, plainCall);
    assert.deepEqual(await bench.list(), []);
  },
};

function sorted<T extends { readonly placementId: string }>(objects: readonly T[]): T[] {
  return objects.toSorted((a, b) => a.placementId.localeCompare(b.placementId));
}
