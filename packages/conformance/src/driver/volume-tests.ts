import assert from 'node:assert/strict';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { plainCall, volumeSize } from './driver-bench.ts';
import type { DriverTests } from './driver-conformance.ts';

const MiB = 1024 * 1024;

/** Volumes: create, locate, extend, delete, space. */
export const volumeTests: DriverTests = {
  'a new volume has the size told and reads as zeroes': async (bench) => {
    const volume = await bench.volume();
    const device = await bench.open(volume);
    assert.equal(device.size, volume.size);
    await assertPattern(device, 0, 0, device.size, 'a new volume');
  },

  'a volume of an odd size is at least as large as asked': async (bench) => {
    const volume = await bench.volume(volumeSize + 1);
    const device = await bench.open(volume);
    assert.equal(device.size, volume.size);
    assert.equal(volume.size % device.blockSize, 0);
  },

  'what is written and flushed is read again after closing': async (bench) => {
    const volume = await bench.volume();
    await bench.using(volume, async (device) => {
      await writePattern(device, 1, 0, device.size);
      await device.flush();
    });
    await bench.using(volume, (device) => assertPattern(device, 1, 0, device.size, 'a volume opened again'));
  },

  'a repeated create gives the same volume and leaves its content': async (bench) => {
    const request = bench.request();
    const first = await bench.driver.create(request, plainCall);
    const volume = { ...request, ...first };
    await bench.using(volume, (device) => writePattern(device, 1, MiB, MiB));
    assert.deepEqual(await bench.driver.create(request, plainCall), first);
    assert.deepEqual(await bench.driver.create(volume, plainCall), first);
    await bench.using(volume, (device) => assertPattern(device, 1, MiB, MiB, 'after a repeated create'));
    assert.equal((await bench.list()).length, 1);
  },

  'two volumes do not share bytes': async (bench) => {
    const [a, b] = [await bench.volume(), await bench.volume()];
    await bench.using(a, (device) => writePattern(device, 1, 0, device.size));
    await bench.using(b, (device) => assertPattern(device, 0, 0, device.size, 'the other volume'));
  },

  'volumes created at the same time are all there': async (bench) => {
    const volumes = await Promise.all(Array.from({ length: 12 }, () => bench.volume(MiB)));
    const listed = new Set((await bench.list()).map(({ placementId }) => placementId));
    assert.deepEqual(listed, new Set(volumes.map(({ placementId }) => placementId)));
  },

  'locating what is not there fails with backend-object-missing': async (bench) => {
    await assert.rejects(bench.driver.locate(bench.request(), plainCall), { code: 'backend-object-missing' });
    const volume = await bench.volume();
    await bench.driver.delete(volume, plainCall);
    await assert.rejects(bench.driver.locate(volume, plainCall), { code: 'backend-object-missing' });
  },

  'extending what is not there fails': async (bench) => {
    await assert.rejects(bench.driver.extend(bench.request(), 2 * volumeSize, plainCall), { code: 'backend-object-missing' });
  },

  'extend keeps the data, adds zeroes and may be repeated': async (bench) => {
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

  'an open device sees an extend after refreshSize': async (bench) => {
    const volume = await bench.volume();
    const device = await bench.open(volume);
    const { size } = await bench.driver.extend(volume, 2 * volumeSize, plainCall);
    assert.equal(await device.refreshSize(), size);
    await writePattern(device, 1, size - MiB, MiB);
    await assertPattern(device, 1, size - MiB, MiB, 'the new part');
  },

  'extend to a smaller size takes nothing away': async (bench) => {
    const volume = await bench.volume();
    await bench.using(volume, (device) => writePattern(device, 1, 0, device.size));
    assert.equal((await bench.driver.extend(volume, MiB, plainCall)).size, volume.size);
    await bench.using(volume, (device) => assertPattern(device, 1, 0, volume.size, 'after the call'));
  },

  'delete removes a volume, and may be repeated': async (bench) => {
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

  'delete tells a progress that does not go back or beyond its total': async (bench) => {
    const volume = await bench.volume();
    let last = 0;
    const progress = (done: number, total: number) => {
      assert(done >= last && done <= total, `progress went from ${last} to ${done} of ${total}`);
      last = done;
    };
    await bench.driver.delete(volume, { ...plainCall, progress });
  },

  'the bytes of a deleted volume do not show up in a new one': async (bench) => {
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

  'the bytes of a deleted volume do not show up in an extended one': async (bench) => {
    const [old, volume] = [await bench.volume(), await bench.volume(MiB)];
    await bench.using(old, async (device) => {
      await writePattern(device, 1, 0, device.size);
      await device.flush();
    });
    await bench.driver.delete(old, plainCall);
    const { size } = await bench.driver.extend(volume, volumeSize, plainCall);
    await bench.using(volume, (device) => assertPattern(device, 0, 0, size, 'an extended volume'));
  },

  'used bytes are what a volume takes': async (bench) => {
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

  'a device discards, zeroes and lists its extents truthfully': async (bench) => {
    const volume = await bench.volume();
    await bench.using(volume, async (device) => {
      await writePattern(device, 1, 0, volume.size);
      await device.discard(MiB, MiB);
      await device.writeZeroes(3 * MiB, MiB, { fua: true });
      for (const [seed, offset] of [1, 0, 1, 0, 1].entries())
        await assertPattern(device, offset, seed * MiB, MiB, 'after discard');
      let end = 0;
      let holes = volume.size;
      for await (const extent of device.allocatedExtents(0, volume.size)) {
        assert(extent.offset >= end && extent.length > 0, 'extents ascend and do not overlap');
        await assertPattern(device, 0, end, extent.offset - end, 'what is not listed');
        end = extent.offset + extent.length;
        holes -= extent.length;
      }
      await assertPattern(device, 0, end, volume.size - end, 'what is not listed');
      assert(end <= volume.size && holes >= 0, 'extents stay within the device');
    });
  },

  'a long mix of writes, zeroes and discards leaves what plain memory would hold': async (bench) => {
    const volume = await bench.volume();
    await bench.using(volume, async (device) => {
      const model = Buffer.alloc(volume.size);
      const random = sequence(20_261_122);
      const below = (limit: number) => Math.floor(random() * limit);
      for (let step = 1; step <= 300; step++) {
        // Mostly small, sometimes beyond every chunk and cluster size.
        const blocks = 1 + below(step % 10 === 0 ? 1024 : 24);
        const length = Math.min(blocks * device.blockSize, volume.size);
        const offset = below((volume.size - length) / device.blockSize + 1) * device.blockSize;
        const choice = random();
        if (choice < 0.5) {
          const data = pattern(step, offset, length);
          await device.write(data, offset, { fua: step % 50 === 0 });
          model.set(data, offset);
        } else if (choice < 0.8) {
          await (choice < 0.65 ? device.discard(offset, length) : device.writeZeroes(offset, length));
          model.fill(0, offset, offset + length);
        } else {
          const found = new Uint8Array(length).fill(0xa5);
          await device.read(found, offset);
          const same = Buffer.compare(found, model.subarray(offset, offset + length)) === 0;
          assert(same, `step ${step}: ${length} bytes at ${offset} are not what was written last`);
        }
      }
      const rest = Buffer.from(model);
      for await (const extent of device.allocatedExtents(0, volume.size)) {
        rest.fill(0, extent.offset, extent.offset + extent.length);
      }
      assert(
        rest.every((byte) => byte === 0),
        'allocatedExtents leaves out data',
      );
      const found = Buffer.alloc(volume.size, 0xa5);
      await device.read(found, 0);
      assert(found.equals(model), 'the volume differs from what was written');
    });
  },
};

/** Numbers from 0 to 1 that are the same in every run (a linear congruential generator). */
function sequence(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
