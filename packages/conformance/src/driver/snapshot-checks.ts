import assert from 'node:assert/strict';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, volumeSize } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;

/** Snapshots. A driver that only allocates (`filled: false`) is completed the way core does it. */
export const snapshotChecks: DriverChecks = {
  'snapshot-independent': {
    verb: 'createSnapshot',
    contract: 'Makes a snapshot of a volume that stays as it is while the volume changes.',
    demand: 'a snapshot stays as it is while its volume changes',
    run: async (bench) => {
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
  },

  'snapshot-several': {
    verb: 'createSnapshot',
    contract: 'Makes a snapshot of a volume that stays as it is while the volume changes.',
    demand: 'each snapshot of a volume keeps its own moment',
    run: async (bench) => {
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
  },

  'snapshot-repeated': {
    verb: 'createSnapshot',
    contract:
      'Every verb may be called again with the same ids, after a crash or a lost reply, and then gives the same result; deleting what is gone succeeds.',
    demand: 'a repeated createSnapshot gives the same snapshot and leaves its content',
    run: async (bench) => {
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
  },

  'snapshot-allocated': {
    verb: 'createSnapshot',
    contract: '`false`: only the space was allocated, all zeroes; core fills it through block devices.',
    demand: 'a snapshot that is only allocated reads as zeroes',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, volumeSize));
      const request = bench.request();
      const made = await bench.driver.createSnapshot(request, volume, plainCall);
      const wanted = made.filled ? 1 : 0;
      await bench.using({ ...request, ...made }, (device) => assertPattern(device, wanted, 0, volumeSize, 'the snapshot'));
    },
  },

  'snapshot-missing': {
    verb: 'createSnapshot',
    contract: 'Where this host opens a volume or snapshot. Fails with `backend-object-missing`.',
    demand: 'a snapshot of a volume that is missing fails and leaves nothing',
    run: async (bench) => {
      await assert.rejects(bench.driver.createSnapshot(bench.request(), bench.request(), plainCall), {
        code: 'backend-object-missing',
      });
      assert.deepEqual(await bench.list(), []);
    },
  },

  'snapshot-extend': {
    verb: 'extend',
    contract: 'Makes a snapshot of a volume that stays as it is while the volume changes.',
    demand: 'extending the volume does not change its snapshot',
    run: async (bench) => {
      const volume = await bench.volume();
      const snapshot = await bench.snapshot(volume);
      await bench.driver.extend(volume, 2 * volumeSize, plainCall);
      await bench.using(snapshot, async (device) => assert.equal(device.size, snapshot.size));
      assert.equal((await bench.listed(snapshot))?.size, snapshot.size);
    },
  },

  'snapshot-delete-repeated': {
    verb: 'deleteSnapshot',
    contract: 'Removes a snapshot. Its volume and copies made of it are not affected.',
    demand: 'deleteSnapshot leaves the volume, and may be repeated',
    run: async (bench) => {
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
  },
};
