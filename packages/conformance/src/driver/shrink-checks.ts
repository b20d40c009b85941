import assert from 'node:assert/strict';
import type { BackendObject } from '@scoria/core';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, volumeSize, type DriverBench } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;

/** Makes a volume of twice the usual size, full of data. */
async function fullVolume(bench: DriverBench): Promise<BackendObject> {
  const volume = await bench.volume(2 * volumeSize);
  await bench.using(volume, async (device) => {
    await writePattern(device, 1, 0, device.size);
    await device.flush();
  });
  return volume;
}

async function shrink(bench: DriverBench, volume: BackendObject, size: number): Promise<{ readonly size: number }> {
  assert(bench.driver.shrink, 'the driver declares "shrink" and has no such method');
  return bench.driver.shrink(volume, size, plainCall);
}

/** Volumes that become smaller. */
export const shrinkChecks: DriverChecks = {
  'shrink-content': {
    verb: 'shrink',
    contract: 'Returns the real size, at least what was asked for.',
    demand: 'a shrunk volume has the size told, less than before, and keeps what lies within',
    run: async (bench) => {
      const volume = await fullVolume(bench);
      const { size } = await shrink(bench, volume, volumeSize);
      assert(size >= volumeSize && size < volume.size, `${volume.size} bytes became ${size}, and ${volumeSize} were asked for`);
      assert.equal((await bench.listed(volume))?.size, size);
      await bench.using({ ...volume, size }, async (device) => {
        assert.equal(device.size, size);
        await assertPattern(device, 1, 0, size, 'what is left');
        await writePattern(device, 2, size - MiB, MiB);
        await assertPattern(device, 2, size - MiB, MiB, 'the end');
      });
    },
  },

  'shrink-repeated': {
    verb: 'shrink',
    contract: 'Repeating it changes nothing.',
    demand: 'a shrink may be repeated, also after a crash, with the size from before or after',
    run: async (bench) => {
      const volume = await fullVolume(bench);
      const first = await shrink(bench, volume, volumeSize);
      assert.deepEqual(await shrink(bench, volume, volumeSize), first);
      assert.deepEqual(await shrink(bench, { ...volume, ...first }, volumeSize), first);
      await bench.restart();
      assert.deepEqual(await shrink(bench, volume, volumeSize), first);
      assert.equal((await bench.listed(volume))?.size, first.size);
      await bench.using({ ...volume, ...first }, (device) => assertPattern(device, 1, 0, first.size, 'what is left'));
    },
  },

  'shrink-bytes': {
    verb: 'shrink',
    contract: 'What lay beyond the new end is gone, and shows up nowhere.',
    demand: 'what a shrink took away does not come back with an extend, nor in another volume',
    run: async (bench) => {
      const volume = await fullVolume(bench);
      const small = { ...volume, ...(await shrink(bench, volume, volumeSize)) };
      const other = await bench.volume();
      await bench.using(other, (device) => assertPattern(device, 0, 0, device.size, 'a volume made after a shrink'));
      const again = { ...small, ...(await bench.driver.extend(small, 2 * volumeSize, plainCall)) };
      await bench.using(again, async (device) => {
        await assertPattern(device, 1, 0, small.size, 'what was left');
        await assertPattern(device, 0, small.size, again.size - small.size, 'the part that came with the extend');
      });
    },
  },

  'shrink-in-use': {
    verb: 'shrink',
    contract: '`backend-busy` with the holder when it is open somewhere.',
    demand: 'a volume that is open is shrunk, or refused with backend-busy and left as it was',
    run: async (bench) => {
      const volume = await fullVolume(bench);
      const device = await bench.open(volume);
      try {
        await shrink(bench, volume, volumeSize);
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? error.code : String(error);
        assert.equal(code, 'backend-busy');
        await assertPattern(device, 1, 0, volume.size, 'the volume');
        assert.equal((await bench.listed(volume))?.size, volume.size);
      }
    },
  },

  'shrink-missing': {
    verb: 'shrink',
    contract: 'Where this host opens a volume or snapshot. Fails with `backend-object-missing`.',
    demand: 'shrinking what is not there fails',
    run: async (bench) => {
      await assert.rejects(shrink(bench, bench.request(), MiB), { code: 'backend-object-missing' });
    },
  },
};
