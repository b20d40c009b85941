import assert from 'node:assert/strict';
import { abortedCall, plainCall } from './driver-bench.ts';
import type { DriverTests } from './driver-conformance.ts';

/** The backend as a whole: identity, pools, list. */
export const backendTests: DriverTests = {
  'check tells the same backend id each time, also after a restart': async (bench) => {
    const { backendId } = await bench.driver.check(plainCall);
    assert.match(backendId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i);
    assert.equal((await bench.driver.check(plainCall)).backendId, backendId);
    await bench.restart();
    assert.equal((await bench.driver.check(plainCall)).backendId, backendId);
  },

  'pools report sound capacities': async (bench) => {
    const pools = await bench.driver.pools(plainCall);
    assert(pools.length > 0, 'a backend has at least one pool');
    assert.equal(new Set(pools.map((pool) => pool.name)).size, pools.length, 'names of pools differ');
    for (const pool of pools) {
      assert(Number.isSafeInteger(pool.total) && pool.total > 0, `total of ${pool.name}: ${pool.total}`);
      assert(Number.isSafeInteger(pool.free) && pool.free >= 0 && pool.free <= pool.total, `free of ${pool.name}: ${pool.free}`);
      assert(pool.reserved >= 0 && pool.reserved <= 1, `reserved of ${pool.name}: ${pool.reserved}`);
      assert(Number.isFinite(pool.maxOverSubscription) && pool.maxOverSubscription >= 1, `maxOverSubscription of ${pool.name}`);
      assert(pool.thin || pool.maxOverSubscription === 1, `${pool.name} is thick and cannot be promised twice`);
    }
  },

  'list tells each object once, with its kind, pool, reference and size': async (bench) => {
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

  'list of an empty backend is empty': async (bench) => {
    assert.deepEqual(await bench.list(), []);
  },

  'check and pools stop when they are aborted': async (bench) => {
    await assert.rejects(bench.driver.check(abortedCall()));
    await assert.rejects(bench.driver.pools(abortedCall()));
  },
};
