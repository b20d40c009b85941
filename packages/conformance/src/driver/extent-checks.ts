import assert from 'node:assert/strict';
import type { AnyVolumeDriver, BackendObject, BlockDevice, Extent, ExtentSupport } from '@scoria/core';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, volumeSize, type DriverBench } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;

/** The driver with the group, which it declares. */
function telling(driver: AnyVolumeDriver): ExtentSupport {
  const { allocatedExtents, changedExtents } = driver;
  assert(allocatedExtents && changedExtents, 'the driver declares "extents" and lacks a method of it');
  return {
    allocatedExtents: (object, call) => allocatedExtents.call(driver, object, call),
    changedExtents: (from, to, call) => changedExtents.call(driver, from, to, call),
  };
}

/** Collects extents of an object; fails when they are out of order, overlap or leave it. */
async function collected(extents: AsyncIterable<Extent>, size: number): Promise<Extent[]> {
  const found: Extent[] = [];
  let end = 0;
  for await (const extent of extents) {
    const { offset, length } = extent;
    assert(offset >= end && length > 0 && offset + length <= size, `${length} bytes at ${offset} after ${end}, within ${size}`);
    end = offset + length;
    found.push(extent);
  }
  return found;
}

const allocated = (bench: DriverBench, object: BackendObject) =>
  collected(telling(bench.driver).allocatedExtents(object, plainCall), object.size);
const changed = (bench: DriverBench, from: BackendObject, to: BackendObject) =>
  collected(telling(bench.driver).changedExtents(from, to, plainCall), Math.max(from.size, to.size));
const bytesOf = (extents: readonly Extent[]) => extents.reduce((sum, { length }) => sum + length, 0);

/** The parts of `size` bytes that the extents leave out. */
function gaps(extents: readonly Extent[], size: number): Extent[] {
  const starts = [0, ...extents.map(({ offset, length }) => offset + length)];
  const ends = [...extents.map(({ offset }) => offset), size];
  return starts.flatMap((offset, index) => {
    const length = (ends[index] ?? size) - offset;
    return length > 0 ? [{ offset, length }] : [];
  });
}

async function contentOf(device: BlockDevice, { offset, length }: Extent): Promise<Uint8Array> {
  const content = new Uint8Array(length);
  await device.read(content, offset);
  return content;
}

/** Knowing where data are. */
export const extentChecks: DriverChecks = {
  'extents-allocated': {
    verb: 'allocatedExtents',
    contract: 'Parts that may hold data; all else reads as zeroes.',
    demand: 'what the extents of a volume or snapshot leave out reads as zeroes, and nothing that was written is left out',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, async (device) => {
        await writePattern(device, 1, MiB, MiB);
        await writePattern(device, 1, 4 * MiB, 2 * MiB);
        await writePattern(device, 1, volumeSize - 4096, 4096);
        await device.flush();
      });
      const snapshot = await bench.snapshot(volume);
      for (const object of [volume, snapshot]) {
        const extents = await allocated(bench, object);
        assert(bytesOf(extents) >= 3 * MiB + 4096, `data of ${3 * MiB + 4096} bytes are told as ${bytesOf(extents)}`);
        const device = await bench.open(object, true);
        for (const { offset, length } of gaps(extents, object.size)) {
          await assertPattern(device, 0, offset, length, 'what is not listed');
        }
        await bench.close(device);
      }
    },
  },

  'extents-order': {
    verb: 'allocatedExtents',
    contract: 'Extents come in ascending order and do not overlap.',
    demand: 'many extents come in order, each within the volume',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, async (device) => {
        // From the end on, so that the order of writing is not that of the volume.
        for (let at = volumeSize - MiB; at >= 0; at -= MiB) await writePattern(device, 1, at, 4096);
        await device.flush();
      });
      assert(bytesOf(await allocated(bench, volume)) >= (volumeSize / MiB) * 4096);
    },
  },

  'extents-holes': {
    verb: 'allocatedExtents',
    contract: 'knows which parts of things have data, without reading them.',
    demand: 'in a thin pool an empty volume has no data to tell of, and one with a little tells of a little',
    run: async (bench) => {
      if (!bench.pool.thin) return;
      const volume = await bench.volume(4 * volumeSize);
      const empty = bytesOf(await allocated(bench, volume));
      assert(empty <= volumeSize, `an empty volume has ${empty} bytes of data`);
      await bench.using(volume, async (device) => {
        await writePattern(device, 1, 0, 4096);
        await device.flush();
      });
      const little = bytesOf(await allocated(bench, volume));
      assert(little >= 4096 && little <= 2 * volumeSize, `a volume with 4096 bytes of data has ${little}`);
    },
  },

  'extents-changed': {
    verb: 'changedExtents',
    contract:
      'Parts that may differ between two snapshots of one volume, whatever their order in time; all else is the same in both.',
    demand: 'two snapshots have the same bytes wherever no change is told, whichever is named first',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, async (device) => {
        await writePattern(device, 1, 0, 4 * MiB);
        await device.flush();
      });
      const before = await bench.snapshot(volume);
      await bench.using(volume, async (device) => {
        await writePattern(device, 2, MiB, MiB);
        await device.discard(2 * MiB, MiB);
        await writePattern(device, 3, 6 * MiB, 4096);
        await device.flush();
      });
      const after = await bench.snapshot(volume);
      const [one, other] = [await bench.open(before, true), await bench.open(after, true)];
      for (const [from, to] of [
        [before, after],
        [after, before],
      ] as const) {
        const extents = await changed(bench, from, to);
        for (const gap of gaps(extents, volume.size)) {
          const same = Buffer.compare(await contentOf(one, gap), await contentOf(other, gap)) === 0;
          assert(same, `something differs in the ${gap.length} bytes at ${gap.offset}, where no change is told`);
        }
      }
      await bench.close(one, other);
      const again = await bench.snapshot(volume);
      const twins = bytesOf(await changed(bench, after, again));
      const worst = bytesOf(await changed(bench, before, after));
      assert(twins <= worst, `snapshots of the same content differ in ${twins} bytes, others in ${worst}`);
    },
  },

  'extents-others': {
    verb: 'changedExtents',
    contract: '`not-supported` when they are of different volumes.',
    demand: 'snapshots of different volumes are not compared',
    run: async (bench) => {
      const snapshots = [await bench.snapshot(await bench.volume()), await bench.snapshot(await bench.volume())] as const;
      await assert.rejects(changed(bench, ...snapshots), { code: 'not-supported' });
    },
  },
};
