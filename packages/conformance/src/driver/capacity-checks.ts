import assert from 'node:assert/strict';
import { type PoolReport, systemClock } from '@scoria/core';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, volumeSize } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;
/** Large beside what else happens on a shared backend meanwhile. */
const weight = 16 * MiB;
/** Others may give or take space between two looks; a driver that tells the truth is right in one of several tries. */
const tries = 10;
/** Between two looks at what comes back by itself, ms. */
const pause = 10;

/** Figures that tell the truth. */
export const capacityChecks: DriverChecks = {
  'pools-free-taken': {
    verb: 'pools',
    contract: 'Physically free now, whoever uses the rest.',
    demand: 'what is written is taken off the free bytes, and comes back with the delete',
    run: async (bench) => {
      const begin = systemClock.monotonic();
      let [taken, given] = [0, 0];
      await sooner(async () => {
        const before = await bench.capacities();
        const volume = await bench.volume(weight);
        await bench.using(volume, async (device) => {
          await writePattern(device, 1, 0, weight);
          await device.flush();
        });
        const full = await bench.capacities();
        assert.equal(full.total, before.total, 'total stays');
        await bench.driver.delete(volume, plainCall);
        taken = Math.max(taken, before.free - full.free);
        // Some storage gives space back in the background, a moment after the delete.
        while (given < weight / 2) {
          given = Math.max(given, (await bench.capacities()).free - full.free);
          if (systemClock.monotonic() - begin > bench.soon) break;
          await systemClock.sleep(pause);
        }
        assert(taken >= weight / 2, `${weight} bytes were written, and free fell by ${taken}`);
        assert(given >= weight / 2, `${weight} bytes were deleted, and free rose by ${given}`);
      });
    },
  },

  'pools-thin': {
    verb: 'pools',
    contract: 'Whether volumes take space only as they are written.',
    demand: 'an empty volume takes its space in a thick pool and none in a thin one',
    run: async (bench) => {
      await sooner(async () => {
        const before = await bench.capacities();
        const volume = await bench.volume(4 * weight);
        const taken = before.free - (await bench.capacities()).free;
        await bench.driver.delete(volume, plainCall);
        if (before.thin) assert(taken < weight, `an empty volume of ${4 * weight} bytes took ${taken} of a thin pool`);
        else assert(taken > 3 * weight, `an empty volume of ${4 * weight} bytes took ${taken} of a thick pool`);
      });
    },
  },

  'create-no-space': {
    verb: 'create',
    contract: '`device-no-space` when it does not fit.',
    demand: 'a volume larger than the pool is refused by a thick pool with device-no-space, and leaves nothing',
    run: async (bench) => {
      const pool = await bench.capacities();
      const request = bench.request(beyond(pool));
      const refusal = await outcome(bench.driver.create(request, plainCall));
      if (refusal === undefined) {
        assert(pool.thin, 'a thick pool promised more than it has');
        await bench.driver.delete(request, plainCall);
      } else assert.equal(refusal, 'device-no-space');
      assert.deepEqual(await bench.list(), []);
      await assert.rejects(bench.driver.locate(request, plainCall), { code: 'backend-object-missing' });
    },
  },

  'extend-no-space': {
    verb: 'extend',
    contract: 'Errors are `ScoriaError`s; anything else thrown is taken as `backend-failed`.',
    demand: 'an extend that does not fit is refused with device-no-space and leaves the volume as it was',
    run: async (bench) => {
      const pool = await bench.capacities();
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, volumeSize));
      const refusal = await outcome(bench.driver.extend(volume, beyond(pool), plainCall));
      if (refusal === undefined) return void assert(pool.thin, 'a thick pool promised more than it has');
      assert.equal(refusal, 'device-no-space');
      assert.equal((await bench.listed(volume))?.size, volume.size);
      await bench.using(volume, async (device) => {
        assert.equal(device.size, volume.size);
        await assertPattern(device, 1, 0, volumeSize, 'the volume');
      });
    },
  },

  'list-used-bytes': {
    verb: 'list',
    contract: 'Bytes that it really takes.',
    demand: 'used bytes are what a volume takes',
    run: async (bench) => {
      const volume = await bench.volume();
      const used = async () => (await bench.listed(volume))?.usedBytes ?? Number.NaN;
      const before = await used();
      assert(bench.pool.thin ? before <= volume.size / 4 : before >= volume.size, `an empty volume takes ${before} bytes`);
      await bench.using(volume, async (device) => {
        await writePattern(device, 1, 4 * MiB, 3 * MiB);
        await device.flush();
      });
      const after = await used();
      assert(after >= 3 * MiB && after <= volume.size + MiB, `a volume with 3 MiB of data takes ${after} bytes`);
    },
  },
};

function beyond(pool: PoolReport): number {
  const block = 4 * MiB;
  return (Math.floor(pool.total / block) + 1) * block;
}

/** The code of the error with which a call ends, `undefined` when it succeeds. */
async function outcome(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : `no code: ${String(error)}`;
  }
}

async function sooner(look: () => Promise<void>): Promise<void> {
  for (let left = tries; ; left--) {
    try {
      return await look();
    } catch (error) {
      if (left <= 1) throw error;
    }
  }
}
