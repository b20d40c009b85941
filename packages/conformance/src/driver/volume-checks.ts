import assert from 'node:assert/strict';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, volumeSize } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;

/** Volumes: create, locate, extend, delete, space. */
export const volumeChecks: DriverChecks = {
  'create-zeroes': {
    verb: 'create',
    contract: 'Makes an empty volume that reads as zeroes.',
    demand: 'a new volume has the size told and reads as zeroes',
    run: async (bench) => {
      const volume = await bench.volume();
      const device = await bench.open(volume);
      assert.equal(device.size, volume.size);
      await assertPattern(device, 0, 0, device.size, 'a new volume');
    },
  },

  'create-size': {
    verb: 'create',
    contract: 'Real size in bytes, at least what was asked for.',
    demand: 'a volume of an odd size is at least as large as asked',
    run: async (bench) => {
      const volume = await bench.volume(volumeSize + 1);
      const device = await bench.open(volume);
      assert.equal(device.size, volume.size);
      assert.equal(volume.size % device.blockSize, 0);
    },
  },

  'create-repeated': {
    verb: 'create',
    contract:
      'Every verb may be called again with the same ids, after a crash or a lost reply, and then gives the same result; deleting what is gone succeeds.',
    demand: 'a repeated create gives the same volume and leaves its content',
    run: async (bench) => {
      const request = bench.request();
      const first = await bench.driver.create(request, plainCall);
      const volume = { ...request, ...first };
      await bench.using(volume, (device) => writePattern(device, 1, MiB, MiB));
      assert.deepEqual(await bench.driver.create(request, plainCall), first);
      assert.deepEqual(await bench.driver.create(volume, plainCall), first);
      await bench.using(volume, (device) => assertPattern(device, 1, MiB, MiB, 'after a repeated create'));
      assert.equal((await bench.list()).length, 1);
    },
  },

  'create-apart': {
    verb: 'create',
    contract: 'Makes an empty volume that reads as zeroes.',
    demand: 'two volumes do not share bytes',
    run: async (bench) => {
      const [a, b] = [await bench.volume(), await bench.volume()];
      await bench.using(a, (device) => writePattern(device, 1, 0, device.size));
      await bench.using(b, (device) => assertPattern(device, 0, 0, device.size, 'the other volume'));
    },
  },

  'create-many-at-once': {
    verb: 'create',
    contract: 'Names the object on the backend, and makes every verb idempotent.',
    demand: 'volumes created at the same time are all there',
    run: async (bench) => {
      const volumes = await Promise.all(Array.from({ length: 12 }, () => bench.volume(MiB)));
      const listed = new Set((await bench.list()).map(({ placementId }) => placementId));
      assert.deepEqual(listed, new Set(volumes.map(({ placementId }) => placementId)));
    },
  },

  'locate-missing': {
    verb: 'locate',
    contract: 'Where this host opens a volume or snapshot. Fails with `backend-object-missing`.',
    demand: 'locating what is not there fails with backend-object-missing',
    run: async (bench) => {
      await assert.rejects(bench.driver.locate(bench.request(), plainCall), { code: 'backend-object-missing' });
      const volume = await bench.volume();
      await bench.driver.delete(volume, plainCall);
      await assert.rejects(bench.driver.locate(volume, plainCall), { code: 'backend-object-missing' });
    },
  },

  'extend-missing': {
    verb: 'extend',
    contract:
      'Every verb may be called again with the same ids, after a crash or a lost reply, and then gives the same result; deleting what is gone succeeds.',
    demand: 'extending what is not there fails',
    run: async (bench) => {
      await assert.rejects(bench.driver.extend(bench.request(), 2 * volumeSize, plainCall), { code: 'backend-object-missing' });
    },
  },

  'extend-content': {
    verb: 'extend',
    contract: 'Makes a volume larger; the new part reads as zeroes.',
    demand: 'extend keeps the data, adds zeroes and may be repeated',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, device.size));
      const { size } = await bench.driver.extend(volume, 2 * volumeSize, plainCall);
      assert(size >= 2 * volumeSize, `extended to ${size} bytes`);
      const again = await bench.driver.extend({ ...volume, size }, 2 * volumeSize, plainCall);
      assert.equal(again.size, size);
      assert.equal((await bench.listed(volume))?.size, size);
      await bench.using(volume, async (device) => {
        assert.equal(device.size, size);
        await assertPattern(device, 1, 0, volume.size, 'the old part');
        await assertPattern(device, 0, volume.size, size - volume.size, 'the new part');
        await writePattern(device, 2, size - MiB, MiB);
        await assertPattern(device, 2, size - MiB, MiB, 'the end');
      });
    },
  },

  'extend-in-use': {
    verb: 'extend',
    contract: 'May be called while the volume is in use.',
    demand: 'an open device sees an extend after refreshSize',
    run: async (bench) => {
      const volume = await bench.volume();
      const device = await bench.open(volume);
      const { size } = await bench.driver.extend(volume, 2 * volumeSize, plainCall);
      assert.equal(await device.refreshSize(), size);
      await writePattern(device, 1, size - MiB, MiB);
      await assertPattern(device, 1, size - MiB, MiB, 'the new part');
    },
  },

  'extend-smaller': {
    verb: 'extend',
    contract: 'Makes a volume larger; the new part reads as zeroes.',
    demand: 'extend to a smaller size takes nothing away',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, device.size));
      assert.equal((await bench.driver.extend(volume, MiB, plainCall)).size, volume.size);
      await bench.using(volume, (device) => assertPattern(device, 1, 0, volume.size, 'after the call'));
    },
  },

  'delete-repeated': {
    verb: 'delete',
    contract:
      'Every verb may be called again with the same ids, after a crash or a lost reply, and then gives the same result; deleting what is gone succeeds.',
    demand: 'delete removes a volume, and may be repeated',
    run: async (bench) => {
      const [volume, other] = [await bench.volume(), await bench.volume()];
      await bench.using(other, (device) => writePattern(device, 2, 0, MiB));
      await bench.driver.delete(volume, plainCall);
      await bench.driver.delete(volume, plainCall);
      await bench.driver.delete({ ...volume, backendRef: null }, plainCall);
      await bench.driver.delete(bench.request(), plainCall);
      assert.deepEqual(
        (await bench.list()).map(({ placementId }) => placementId),
        [other.placementId],
      );
      await bench.using(other, (device) => assertPattern(device, 2, 0, MiB, 'the other volume'));
    },
  },

  'delete-progress': {
    verb: 'delete',
    contract: 'Tells how far the work is, in bytes.',
    demand: 'delete tells a progress that does not go back or beyond its total',
    run: async (bench) => {
      const volume = await bench.volume();
      let last = 0;
      const progress = (done: number, total: number) => {
        assert(done >= last && done <= total, `progress went from ${last} to ${done} of ${total}`);
        last = done;
      };
      await bench.driver.delete(volume, { ...plainCall, progress });
    },
  },

  'delete-bytes-created': {
    verb: 'delete',
    contract: 'Removes a volume; its bytes never show up in another one.',
    demand: 'the bytes of a deleted volume do not show up in a new one',
    run: async (bench) => {
      const old = await bench.volume();
      await bench.using(old, async (device) => {
        await writePattern(device, 1, 0, device.size);
        await device.flush();
      });
      await bench.driver.delete(old, plainCall);
      const reborn = { ...old, ...(await bench.driver.create({ ...old, backendRef: null }, plainCall)) };
      const fresh = [reborn, await bench.volume(), await bench.volume()];
      for (const volume of fresh) {
        await bench.using(volume, (device) => assertPattern(device, 0, 0, device.size, 'a volume made after a delete'));
      }
    },
  },

  'delete-bytes-extended': {
    verb: 'delete',
    contract: 'Removes a volume; its bytes never show up in another one.',
    demand: 'the bytes of a deleted volume do not show up in an extended one',
    run: async (bench) => {
      const [old, volume] = [await bench.volume(), await bench.volume(MiB)];
      await bench.using(old, async (device) => {
        await writePattern(device, 1, 0, device.size);
        await device.flush();
      });
      await bench.driver.delete(old, plainCall);
      const { size } = await bench.driver.extend(volume, volumeSize, plainCall);
      await bench.using(volume, (device) => assertPattern(device, 0, 0, size, 'an extended volume'));
    },
  },
};
