import assert from 'node:assert/strict';
import type { BackendObject, ListedObject } from '@scoria/core';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, recorded, volumeSize } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;
const racers = 6;

/** Calls at the same time: of one object through core's guard, of different ones straight at the driver. */
export const raceChecks: DriverChecks = {
  'race-create': {
    verb: 'create',
    contract: 'Names the object on the backend, and makes every verb idempotent.',
    demand: 'creates of one id at the same time give one volume',
    run: async (bench) => {
      const [request, guarded] = [bench.request(MiB), bench.guarded()];
      const made = await Promise.all(Array.from({ length: racers }, () => guarded.create(request, plainCall)));
      for (const each of made) assert.deepEqual(each, made[0]);
      assert.equal((await bench.list()).length, 1);
    },
  },

  'race-create-delete': {
    verb: 'delete',
    contract: 'deleting what is gone succeeds.',
    demand: 'creates and deletes of one id at the same time leave all of it or nothing',
    run: async (bench) => {
      const [request, guarded] = [bench.request(MiB), bench.guarded()];
      for (let round = 0; round < 3; round++) {
        await Promise.all([
          guarded.create(request, plainCall),
          guarded.delete(request, plainCall),
          guarded.create(request, plainCall),
          ...(round % 2 === 0 ? [guarded.delete(request, plainCall)] : []),
        ]);
        const listed = await bench.listed(request);
        const there = await bench.driver.locate(request, plainCall).then(
          () => true,
          () => false,
        );
        assert.equal(listed !== undefined, there, 'a volume is listed and cannot be located, or the reverse');
        const volume = recorded(request, await guarded.create(request, plainCall));
        await bench.using(volume, async (device) => {
          await assertPattern(device, 0, 0, MiB, 'the volume');
          await writePattern(device, 1, 0, MiB);
          await assertPattern(device, 1, 0, MiB, 'the volume');
        });
        await guarded.delete(volume, plainCall);
        assert.deepEqual(await bench.list(), []);
      }
    },
  },

  'race-delete': {
    verb: 'delete',
    contract: 'deleting what is gone succeeds.',
    demand: 'deletes of one volume at the same time all succeed',
    run: async (bench) => {
      const [volume, guarded] = [await bench.volume(), bench.guarded()];
      await Promise.all(Array.from({ length: racers }, () => guarded.delete(volume, plainCall)));
      assert.deepEqual(await bench.list(), []);
    },
  },

  'race-snapshots': {
    verb: 'createSnapshot',
    contract: 'Makes a snapshot of a volume that stays as it is while the volume changes.',
    demand: 'snapshots of several volumes at the same time each have the content of theirs',
    run: async (bench) => {
      const volumes: BackendObject[] = [];
      for (let seed = 1; seed <= racers; seed++) {
        const volume = await bench.volume(MiB);
        await bench.using(volume, (device) => writePattern(device, seed, 0, MiB));
        volumes.push(volume);
      }
      const snapshots = await Promise.all(volumes.map((volume) => bench.snapshot(volume)));
      for (const [index, snapshot] of snapshots.entries()) {
        await bench.using(snapshot, (device) => assertPattern(device, index + 1, 0, MiB, `snapshot ${index}`));
      }
    },
  },

  'race-verbs': {
    verb: 'extend',
    contract: 'Every verb may be called again with the same ids',
    demand: 'verbs on different volumes at the same time do not mix their objects up',
    run: async (bench) => {
      const [grown, kept, dropped, source] = await Promise.all(Array.from({ length: 4 }, () => bench.volume(MiB)));
      assert(grown && kept && dropped && source);
      await bench.using(source, (device) => writePattern(device, 3, 0, MiB));
      const request = bench.request(MiB);
      const wanted = bench.request(MiB);
      const [{ size }, made, copy] = await Promise.all([
        bench.driver.extend(grown, volumeSize, plainCall),
        bench.driver.create(request, plainCall),
        bench.driver.createSnapshot(wanted, source, plainCall),
        bench.driver.extend(kept, MiB, plainCall),
        bench.driver.delete(dropped, plainCall),
        bench.driver.locate(kept, plainCall),
      ]);
      const volume = recorded(request, made);
      const snapshot = await bench.filled(wanted, copy, source);
      assert(size >= volumeSize, `extended to ${size} bytes`);
      assert.equal((await bench.listed(grown))?.size, size);
      assert.equal((await bench.listed(kept))?.size, kept.size);
      assert.equal(await bench.listed(dropped), undefined);
      await bench.using(volume, (device) => assertPattern(device, 0, 0, MiB, 'the new volume'));
      await bench.using(snapshot, (device) => assertPattern(device, 3, 0, MiB, 'the snapshot'));
    },
  },

  'list-while-changing': {
    verb: 'list',
    contract: 'Everything of ours on the backend, in any order.',
    demand: 'what is there all the time is listed exactly once while other things come and go',
    run: async (bench) => {
      const leaving = await Promise.all(Array.from({ length: 4 }, () => bench.volume(MiB)));
      const staying = await Promise.all(Array.from({ length: 12 }, () => bench.volume(MiB)));
      const found: ListedObject[] = [];
      for await (const object of bench.driver.list(plainCall)) {
        found.push(object);
        const gone = leaving.pop();
        if (gone) await bench.driver.delete(gone, plainCall);
        if (found.length <= 4) await bench.volume(MiB);
        assert(found.length < 1000, 'the list does not end');
      }
      for (const { placementId } of staying) {
        assert.equal(found.filter((object) => object.placementId === placementId).length, 1, `${placementId} is not listed once`);
      }
    },
  },
};
