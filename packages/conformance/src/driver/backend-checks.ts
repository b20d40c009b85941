import assert from 'node:assert/strict';
import { abortedCall, plainCall } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

/** The backend as a whole: identity, pools, list. */
export const backendChecks: DriverChecks = {
  'check-id-stable': {
    verb: 'check',
    contract: 'UUID written on the backend itself; found again whatever the backend is called in the configuration.',
    demand: 'check tells the same backend id each time, also after a restart',
    run: async (bench) => {
      const { backendId } = await bench.driver.check(plainCall);
      assert.match(backendId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i);
      assert.equal((await bench.driver.check(plainCall)).backendId, backendId);
      await bench.restart();
      assert.equal((await bench.driver.check(plainCall)).backendId, backendId);
    },
  },

  'pools-sound': {
    verb: 'pools',
    contract: 'Capacity of a pool, as the storage itself reports it.',
    demand: 'pools report sound capacities',
    run: async (bench) => {
      const pools = await bench.driver.pools(plainCall);
      assert(pools.length > 0, 'a backend has at least one pool');
      assert.equal(new Set(pools.map((pool) => pool.name)).size, pools.length, 'names of pools differ');
      for (const pool of pools) {
        assert.equal(pool.fault?.message, undefined, `fault of ${pool.name}`);
        assert(Number.isSafeInteger(pool.total) && pool.total > 0, `total of ${pool.name}: ${pool.total}`);
        assert(
          Number.isSafeInteger(pool.free) && pool.free >= 0 && pool.free <= pool.total,
          `free of ${pool.name}: ${pool.free}`,
        );
        assert(pool.reserved >= 0 && pool.reserved <= 1, `reserved of ${pool.name}: ${pool.reserved}`);
        assert(Number.isFinite(pool.maxOverSubscription) && pool.maxOverSubscription >= 1, `maxOverSubscription of ${pool.name}`);
        assert(pool.thin || pool.maxOverSubscription === 1, `${pool.name} is thick and cannot be promised twice`);
      }
    },
  },

  'list-complete': {
    verb: 'list',
    contract: 'Everything of ours on the backend, in any order.',
    demand: 'list tells each object once, with its kind, pool, reference and size',
    run: async (bench) => {
      const volumes = await Promise.all([bench.volume(), bench.volume(), bench.volume()]);
      const [origin] = volumes;
      const snapshot = await bench.snapshot(origin);
      const found = await bench.list();
      assert.equal(found.length, 4);
      for (const object of [...volumes, snapshot]) {
        const listed = await bench.listed(object);
        assert(listed, `${object.placementId} is not listed`);
        assert.equal(listed.kind, object === snapshot ? 'snapshot' : 'volume');
        assert.equal(listed.pool, object.pool);
        assert.equal(listed.backendRef, object.backendRef);
        assert.equal(listed.size, object.size);
      }
    },
  },

  'list-empty': {
    verb: 'list',
    contract: 'Everything of ours on the backend, in any order.',
    demand: 'list of an empty backend is empty',
    run: async (bench) => {
      assert.deepEqual(await bench.list(), []);
    },
  },

  'check-aborted': {
    verb: 'check',
    contract:
      'Aborts when the work is cancelled or out of time; the callee stops soon and leaves nothing half-made that a repeat would trip over.',
    demand: 'check and pools stop when they are aborted',
    run: async (bench) => {
      await assert.rejects(bench.driver.check(abortedCall()));
      await assert.rejects(bench.driver.pools(abortedCall()));
    },
  },

  'check-foreign': {
    verb: 'check',
    contract: 'Fails with `backend-unavailable` or `foreign-backend`.',
    demand: 'the driver of another installation is refused with foreign-backend and changes nothing',
    run: async (bench) => {
      const volume = await bench.volume();
      const { backendId } = await bench.driver.check(plainCall);
      const other = await bench.foreign();
      await assert.rejects(other.check(plainCall), { code: 'foreign-backend' });
      assert.equal((await bench.driver.check(plainCall)).backendId, backendId);
      assert(await bench.listed(volume), 'the volume is gone');
    },
  },

  'create-reference': {
    verb: 'create',
    contract: 'Opaque, at most 1,024 characters; given back on each later call.',
    demand: 'references have 1 to 1,024 characters and are those of the list',
    run: async (bench) => {
      const volume = await bench.volume();
      const snapshot = await bench.snapshot(volume);
      for (const object of [volume, snapshot]) {
        const listed = await bench.listed(object);
        assert.equal(listed?.backendRef, object.backendRef, `the reference of ${object.placementId}`);
        await bench.driver.locate({ ...object, backendRef: listed?.backendRef ?? null }, plainCall);
      }
    },
  },

  'list-pools': {
    verb: 'list',
    contract: 'Pool that holds it.',
    demand: 'a volume lies in the pool that was asked for, and every pool listed is reported',
    run: async (bench) => {
      const pools = await bench.driver.pools(plainCall);
      assert(pools.length > 0, 'a backend has at least one pool');
      for (const { name } of pools) {
        const request = { ...bench.request(), pool: name };
        await bench.driver.create(request, plainCall);
        assert.equal((await bench.listed(request))?.pool, name);
      }
    },
  },

  'secrets-not-logged': {
    verb: 'check',
    contract: 'Fields of a log line: plain data, never secrets.',
    demand: 'no secret of the configuration is in the log, in errors or in reports of pools',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.restart();
      const other = await bench.foreign();
      const failures = await Promise.allSettled([
        other.check(plainCall),
        bench.driver.locate(bench.request(), plainCall),
        bench.driver.createSnapshot(bench.request(), bench.request(), plainCall),
        bench.driver.create(bench.request(), abortedCall()),
      ]);
      for (const failure of failures) if (failure.status === 'rejected') bench.assertNoSecret('an error', failure.reason);
      bench.assertNoSecret('the report of pools', await bench.driver.pools(plainCall));
      bench.assertNoSecret('a reference', volume.backendRef);
      bench.assertNoSecret('the log', bench.logged.join('\n'));
    },
  },
};
