import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { sequence } from '../sequence.ts';
import { volumeSize } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;

/** The devices that a driver's volumes open as. */
export const deviceChecks: DriverChecks = {
  'device-persists': {
    verb: 'locate',
    contract:
      'A completed write is seen by every later read, and is on stable storage only after `fua` or a later {@link flush}.',
    demand: 'what is written and flushed is read again after closing',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, async (device) => {
        await writePattern(device, 1, 0, device.size);
        await device.flush();
      });
      await bench.using(volume, (device) => assertPattern(device, 1, 0, device.size, 'a volume opened again'));
    },
  },

  'device-holes': {
    verb: 'locate',
    contract: 'The parts of a range that may hold data, in ascending order, not overlapping; what is not listed reads as zeroes.',
    demand: 'a device discards, zeroes and lists its extents truthfully',
    run: async (bench) => {
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
  },

  'device-long-mix': {
    verb: 'locate',
    contract: 'Reads of what was never written, or was discarded, give zeroes.',
    demand: 'a long mix of writes, zeroes and discards leaves what plain memory would hold',
    run: async (bench) => {
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
  },

  'device-range': {
    verb: 'locate',
    contract:
      'Offsets and lengths are bytes and multiples of {@link blockSize}; all within {@link size}, else `device-out-of-range`.',
    demand: 'what is not whole blocks within the device is refused and changes nothing',
    run: async (bench) => {
      const volume = await bench.volume(MiB);
      await bench.using(volume, async (device) => {
        const { size, blockSize } = device;
        const refused = { code: 'device-out-of-range' };
        await assert.rejects(device.write(pattern(1, 0, blockSize * 2), size - blockSize), refused, 'a write across the end');
        await assert.rejects(device.write(pattern(1, 0, blockSize), size), refused, 'a write behind the end');
        await assert.rejects(device.write(pattern(1, 0, blockSize), blockSize / 2), refused, 'an unaligned write');
        await assert.rejects(device.read(new Uint8Array(blockSize), size), refused, 'a read behind the end');
        await assert.rejects(device.read(new Uint8Array(blockSize - 1), 0), refused, 'a read of part of a block');
        await assert.rejects(device.discard(size, blockSize), refused, 'a discard behind the end');
        await assert.rejects(device.writeZeroes(size - blockSize, 2 * blockSize), refused, 'zeroes across the end');
        await assertPattern(device, 0, 0, size, 'the volume');
        assert.equal(await device.refreshSize(), size);
      });
    },
  },

  'device-read-only': {
    verb: 'locate',
    contract: 'Open the device for writing, or do not write to it.',
    demand: 'a device opened for reading only refuses every change with device-not-permitted',
    run: async (bench) => {
      const volume = await bench.volume(MiB);
      await bench.using(volume, (device) => writePattern(device, 1, 0, MiB));
      const device = await bench.open(volume, true);
      assert.equal(device.readOnly, true);
      const refused = { code: 'device-not-permitted' };
      await assert.rejects(device.write(pattern(2, 0, 4096), 0), refused);
      await assert.rejects(device.writeZeroes(0, 4096), refused);
      await assert.rejects(device.discard(0, 4096), refused);
      await assertPattern(device, 1, 0, MiB, 'the volume');
    },
  },

  'device-close': {
    verb: 'locate',
    contract: 'Waits for calls under way, then lets go of the device. A second call does nothing.',
    demand: 'close waits for writes under way and may be repeated; a closed device does nothing more',
    run: async (bench) => {
      const volume = await bench.volume();
      const device = await bench.open(volume);
      const writing = Promise.allSettled([0, 1, 2, 3].map((piece) => device.write(pattern(1, piece * MiB, MiB), piece * MiB)));
      await device.close();
      // What has settled by now may say so.
      await setImmediate();
      const written = await Promise.race([writing, Promise.resolve(undefined)]);
      await device.close();
      await assert.rejects(device.write(pattern(2, 0, 4096), 0), 'a closed device took a write');
      assert(written, 'close settled before the writes under way had');
      await bench.using(volume, async (again) => {
        for (const [piece, { status }] of written.entries()) {
          if (status === 'fulfilled') await assertPattern(again, 1, piece * MiB, MiB, 'written before close');
        }
      });
    },
  },

  'device-concurrent': {
    verb: 'locate',
    contract: 'Concurrent calls are allowed. Overlapping writes may land in either order, each block from one of them.',
    demand: 'writes at the same time all land, and overlapping ones tear no block',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, async (device) => {
        const unit = 64 * 1024;
        const units = Array.from({ length: volumeSize / unit }, (_, index) => index * unit);
        await Promise.all(units.map((offset) => device.write(pattern(1 + offset / unit, offset, unit), offset)));
        for (const offset of units) await assertPattern(device, 1 + offset / unit, offset, unit, 'a write among many');
        const seeds = [501, 502, 503, 504];
        await Promise.all(seeds.map((seed) => device.write(pattern(seed, 0, MiB), 0)));
        for (let offset = 0; offset < MiB; offset += device.blockSize) {
          const block = new Uint8Array(device.blockSize);
          await device.read(block, offset);
          const whole = seeds.some((seed) => Buffer.compare(block, pattern(seed, offset, device.blockSize)) === 0);
          assert(whole, `the block at ${offset} is of no single write`);
        }
      });
    },
  },

  'device-seen-by-all': {
    verb: 'locate',
    contract: 'A completed write is seen by every later read',
    demand: 'a volume that is open twice is one volume',
    run: async (bench) => {
      const volume = await bench.volume();
      const [first, second] = [await bench.open(volume), await bench.open(volume)];
      await assertPattern(second, 0, 0, MiB, 'the volume');
      await writePattern(first, 1, 0, MiB);
      await assertPattern(second, 1, 0, MiB, 'seen through the other');
      await second.discard(0, MiB / 2);
      await assertPattern(first, 0, 0, MiB / 2, 'seen through the other');
    },
  },
};
