import assert from 'node:assert/strict';
import { assertPattern, writePattern } from '../pattern.ts';
import { abortedCall, plainCall, recorded, volumeSize } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;

/** Aborts, lost replies and restarts. */
export const recoveryChecks: DriverChecks = {
  'abort-before': {
    verb: 'create',
    contract:
      'Aborts when the work is cancelled or out of time; the callee stops soon and leaves nothing half-made that a repeat would trip over.',
    demand: 'a call that is aborted before it begins does nothing',
    run: async (bench) => {
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
  },

  'abort-repeat': {
    verb: 'create',
    contract:
      'Aborts when the work is cancelled or out of time; the callee stops soon and leaves nothing half-made that a repeat would trip over.',
    demand: 'after an abort half-way each verb can be repeated',
    run: async (bench) => {
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
  },

  'abort-settles': {
    verb: 'delete',
    contract: 'Aborts when the work is cancelled or out of time; the callee stops soon',
    demand: 'every verb ends soon after an abort, whenever that comes',
    run: async (bench) => {
      const { driver } = bench;
      for (const turns of [0, 1, 3]) {
        const request = bench.request();
        await bench.interrupt((call) => driver.create(request, call), turns);
        const volume = recorded(request, await driver.create(request, plainCall));
        const wanted = bench.request();
        await bench.interrupt((call) => driver.createSnapshot(wanted, volume, call), turns);
        await bench.interrupt((call) => driver.extend(volume, 2 * volumeSize, call), turns);
        await bench.interrupt((call) => driver.locate(volume, call), turns);
        await bench.interrupt((call) => driver.check(call), turns);
        await bench.interrupt((call) => driver.pools(call), turns);
        await bench.interrupt((call) => driver.deleteSnapshot(wanted, call), turns);
        await driver.deleteSnapshot(wanted, plainCall);
        const larger = (await driver.extend(volume, 2 * volumeSize, plainCall)).size;
        if (driver.clone) {
          const target = bench.request(larger);
          const { clone } = driver;
          await bench.interrupt((call) => clone.call(driver, target, { ...volume, size: larger }, call), turns);
          await driver.delete(target, plainCall);
        }
        await bench.interrupt((call) => driver.delete(volume, call), turns);
        await driver.delete(volume, plainCall);
      }
      assert.deepEqual(await bench.list(), []);
    },
  },

  'abort-restart': {
    verb: 'create',
    contract: 'leaves nothing half-made that a repeat would trip over.',
    demand: 'what was under way at a restart can be repeated by the new driver',
    run: async (bench) => {
      const source = await bench.volume(MiB);
      await bench.using(source, (device) => writePattern(device, 1, 0, MiB));
      for (const turns of [0, 1, 3]) {
        const request = bench.request(MiB);
        await bench.interrupt((call) => bench.driver.create(request, call), turns);
        await bench.restart();
        const volume = recorded(request, await bench.driver.create(request, plainCall));
        await bench.using(volume, (device) => assertPattern(device, 0, 0, volume.size, 'the volume'));

        const wanted = bench.request(MiB);
        await bench.interrupt((call) => bench.driver.createSnapshot(wanted, source, call), turns);
        await bench.restart();
        const snapshot = await bench.filled(wanted, await bench.driver.createSnapshot(wanted, source, plainCall), source);
        await bench.using(snapshot, (device) => assertPattern(device, 1, 0, MiB, 'the snapshot'));

        await bench.interrupt((call) => bench.driver.extend(volume, 2 * MiB, call), turns);
        await bench.restart();
        const { size } = await bench.driver.extend(volume, 2 * MiB, plainCall);
        await bench.using(volume, (device) => assertPattern(device, 0, 0, size, 'the extended volume'));

        await bench.interrupt((call) => bench.driver.deleteSnapshot(snapshot, call), turns);
        await bench.interrupt((call) => bench.driver.delete(volume, call), turns);
        await bench.restart();
        await bench.driver.deleteSnapshot(snapshot, plainCall);
        await bench.driver.delete({ ...volume, backendRef: null }, plainCall);
        assert.deepEqual(
          (await bench.list()).map(({ placementId }) => placementId),
          [source.placementId],
        );
      }
    },
  },

  'list-aborted': {
    verb: 'list',
    contract: 'Aborts when the work is cancelled or out of time; the callee stops soon',
    demand: 'a list that is aborted ends with an error, so that nobody takes the part for the whole',
    run: async (bench) => {
      await Promise.all(Array.from({ length: 6 }, () => bench.volume(MiB)));
      const controller = new AbortController();
      const seen: string[] = [];
      const listing = async () => {
        for await (const { placementId } of bench.driver.list({ ...plainCall, signal: controller.signal })) {
          seen.push(placementId);
          controller.abort(new Error('aborted by the conformance suite'));
        }
      };
      await assert.rejects(listing(), `the list gave ${seen.length} things after its abort and ended well`);
    },
  },

  'restart-finds-all': {
    verb: 'list',
    contract: 'Core keeps it and gives it back on each call: a driver keeps no state.',
    demand: 'a new driver finds everything by its reference',
    run: async (bench) => {
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
  },

  'lost-create': {
    verb: 'create',
    contract:
      'Every verb may be called again with the same ids, after a crash or a lost reply, and then gives the same result; deleting what is gone succeeds.',
    demand: 'a create whose reply was lost in a crash is found again, or removed, without its reference',
    run: async (bench) => {
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
  },

  'lost-extend': {
    verb: 'extend',
    contract: 'Every verb may be called again with the same ids, after a crash or a lost reply, and then gives the same result',
    demand: 'an extend whose reply was lost is repeated with the old record and gives the same size',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, volumeSize));
      const { size } = await bench.driver.extend(volume, 2 * volumeSize, plainCall);
      await bench.using(volume, (device) => writePattern(device, 2, volumeSize, MiB));
      assert.equal((await bench.driver.extend(volume, 2 * volumeSize, plainCall)).size, size);
      await bench.restart();
      assert.equal((await bench.driver.extend({ ...volume, backendRef: null }, 2 * volumeSize, plainCall)).size, size);
      await bench.using(volume, async (device) => {
        assert.equal(device.size, size);
        await assertPattern(device, 1, 0, volumeSize, 'the old part');
        await assertPattern(device, 2, volumeSize, MiB, 'the new part');
      });
    },
  },

  'lost-delete': {
    verb: 'delete',
    contract: 'deleting what is gone succeeds.',
    demand: 'a delete whose reply was lost in a crash can be repeated, of volumes and of snapshots',
    run: async (bench) => {
      const volume = await bench.volume();
      const snapshot = await bench.snapshot(volume);
      await bench.driver.deleteSnapshot(snapshot, plainCall);
      await bench.restart();
      await bench.driver.deleteSnapshot(snapshot, plainCall);
      await bench.driver.deleteSnapshot({ ...snapshot, backendRef: null }, plainCall);
      await bench.driver.delete(volume, plainCall);
      await bench.restart();
      await bench.driver.delete(volume, plainCall);
      await bench.driver.delete({ ...volume, backendRef: null }, plainCall);
      assert.deepEqual(await bench.list(), []);
    },
  },

  'lost-snapshot': {
    verb: 'createSnapshot',
    contract: 'Every verb may be called again with the same ids, after a crash or a lost reply, and then gives the same result',
    demand: 'a snapshot whose reply was lost in a crash is found again, as it was taken first',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, MiB));
      const request = bench.request();
      const first = await bench.driver.createSnapshot(request, volume, plainCall);
      const snapshot = await bench.filled(request, first, volume);
      await bench.using(volume, (device) => writePattern(device, 2, 0, MiB));
      await bench.restart();
      assert.deepEqual(await bench.driver.createSnapshot(request, volume, plainCall), first);
      await bench.using(snapshot, (device) => assertPattern(device, 1, 0, MiB, 'the snapshot'));
      assert.equal((await bench.list()).length, 2);
    },
  },
};

function sorted<T extends { readonly placementId: string }>(objects: readonly T[]): T[] {
  return objects.toSorted((a, b) => a.placementId.localeCompare(b.placementId));
}
