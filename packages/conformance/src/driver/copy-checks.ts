import assert from 'node:assert/strict';
import type { BackendObject, CreatedCopy } from '@scoria/core';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, volumeSize, type DriverBench } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;

type Copy = (bench: DriverBench, target: BackendObject, source: BackendObject) => Promise<CreatedCopy>;

function copyChecks(
  prefix: string,
  verb: 'clone' | 'createFromSnapshot',
  source: (bench: DriverBench, volume: BackendObject) => Promise<BackendObject>,
  copy: Copy,
): DriverChecks {
  const prepare = async (bench: DriverBench) => {
    const volume = await bench.volume();
    await bench.using(volume, (device) => writePattern(device, 1, 0, 4 * MiB));
    return { volume, from: await source(bench, volume) };
  };
  return {
    [`${prefix}-content`]: {
      verb,
      contract: '`true`: the content is there, as it was at one moment during the call.',
      demand: 'a copy has the content of its source, and neither changes with the other',
      run: async (bench) => {
        const { volume, from } = await prepare(bench);
        const request = bench.request();
        const target = await bench.filled(request, await copy(bench, request, from), from);
        assert.equal((await bench.listed(target))?.kind, 'volume');
        await bench.using(target, async (device) => {
          await assertPattern(device, 1, 0, 4 * MiB, 'the copy');
          await assertPattern(device, 0, 4 * MiB, volumeSize - 4 * MiB, 'the copy');
          await writePattern(device, 2, 0, MiB);
        });
        await bench.using(volume, (device) => writePattern(device, 3, MiB, MiB));
        await bench.using(from, (device) => assertPattern(device, 1, 0, MiB, 'the source'));
        await bench.using(target, async (device) => {
          await assertPattern(device, 2, 0, MiB, 'the copy');
          await assertPattern(device, 1, MiB, 3 * MiB, 'the copy');
        });
      },
    },

    [`${prefix}-larger`]: {
      verb,
      contract: 'Real size in bytes, at least what was asked for.',
      demand: 'a copy may be larger than its source; the rest reads as zeroes',
      run: async (bench) => {
        const { from } = await prepare(bench);
        const request = bench.request(2 * volumeSize);
        const target = await bench.filled(request, await copy(bench, request, from), from);
        await bench.using(target, async (device) => {
          assert.equal(device.size, target.size);
          await assertPattern(device, 1, 0, 4 * MiB, 'the copy');
          await assertPattern(device, 0, 4 * MiB, device.size - 4 * MiB, 'the rest');
        });
      },
    },

    [`${prefix}-repeated`]: {
      verb,
      contract:
        'Every verb may be called again with the same ids, after a crash or a lost reply, and then gives the same result; deleting what is gone succeeds.',
      demand: 'a repeated copy gives the same volume and leaves its content',
      run: async (bench) => {
        const { from } = await prepare(bench);
        const request = bench.request();
        const first = await copy(bench, request, from);
        const target = await bench.filled(request, first, from);
        await bench.using(target, (device) => writePattern(device, 2, 0, MiB));
        assert.deepEqual(await copy(bench, request, from), first);
        assert.deepEqual(await copy(bench, target, from), first);
        await bench.using(target, (device) => assertPattern(device, 2, 0, MiB, 'the copy'));
      },
    },

    [`${prefix}-outlives`]: {
      verb,
      contract: 'Removes a snapshot. Its volume and copies made of it are not affected.',
      demand: 'a copy outlives its source',
      run: async (bench) => {
        const { volume, from } = await prepare(bench);
        const request = bench.request();
        const target = await bench.filled(request, await copy(bench, request, from), from);
        if (from === volume) await bench.driver.delete(from, plainCall);
        else await bench.driver.deleteSnapshot(from, plainCall);
        await bench.using(target, (device) => assertPattern(device, 1, 0, 4 * MiB, 'the copy'));
        const listed = await bench.listed(target);
        assert(listed && listed.usedBytes >= 4 * MiB, 'a copy that lives alone takes the space of its data');
      },
    },

    [`${prefix}-many-at-once`]: {
      verb,
      contract: 'Names the object on the backend, and makes every verb idempotent.',
      demand: 'copies of several sources that are made at the same time each have the content of theirs',
      run: async (bench) => {
        const sources: BackendObject[] = [];
        for (let seed = 1; seed <= 4; seed++) {
          const volume = await bench.volume(MiB);
          await bench.using(volume, (device) => writePattern(device, seed, 0, MiB));
          sources.push(await source(bench, volume));
        }
        const copies = await Promise.all(
          [...sources, ...sources].map(async (from) => {
            const request = bench.request(MiB);
            return bench.filled(request, await copy(bench, request, from), from);
          }),
        );
        for (const [index, target] of copies.entries()) {
          await bench.using(target, (device) => assertPattern(device, 1 + (index % 4), 0, MiB, `copy ${index}`));
        }
      },
    },

    [`${prefix}-lost`]: {
      verb,
      contract: 'Every verb may be called again with the same ids, after a crash or a lost reply, and then gives the same result',
      demand: 'a copy whose reply was lost in a crash is found again without its reference, with what was written since',
      run: async (bench) => {
        const { volume, from } = await prepare(bench);
        const request = bench.request();
        const first = await copy(bench, request, from);
        const target = await bench.filled(request, first, from);
        await bench.using(target, (device) => writePattern(device, 2, 0, MiB));
        await bench.using(volume, (device) => writePattern(device, 3, 0, 4 * MiB));
        await bench.restart();
        assert.deepEqual(await copy(bench, request, from), first);
        await bench.using(request, async (device) => {
          await assertPattern(device, 2, 0, MiB, 'the copy');
          await assertPattern(device, 1, MiB, 3 * MiB, 'the copy');
        });
      },
    },

    [`${prefix}-missing`]: {
      verb,
      contract: 'Where this host opens a volume or snapshot. Fails with `backend-object-missing`.',
      demand: 'a copy of what is missing fails and leaves nothing',
      run: async (bench) => {
        await assert.rejects(copy(bench, bench.request(), bench.request()), { code: 'backend-object-missing' });
        assert.deepEqual(await bench.list(), []);
      },
    },
  };
}

/** Capability `clone`. */
export const cloneChecks: DriverChecks = copyChecks(
  'clone',
  'clone',
  async (_bench, volume) => volume,
  (bench, target, source) => {
    assert(bench.driver.clone, 'the driver declares "clone" and has no such method');
    return bench.driver.clone(target, source, plainCall);
  },
);

/** Capability `create-from-snapshot`. */
export const createFromSnapshotChecks: DriverChecks = copyChecks(
  'from-snapshot',
  'createFromSnapshot',
  (bench, volume) => bench.snapshot(volume),
  (bench, target, source) => {
    assert(bench.driver.createFromSnapshot, 'the driver declares "create-from-snapshot" and has no such method');
    return bench.driver.createFromSnapshot(target, source, plainCall);
  },
);

/** Capability `revert`. */
export const revertChecks: DriverChecks = {
  'revert-content': {
    verb: 'revert',
    contract: 'puts a volume back to a snapshot, which goes on to exist.',
    demand: 'revert puts the volume back, drops what came later, and may be repeated; the snapshot stays',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, 4 * MiB));
      const snapshot = await bench.snapshot(volume);
      for (const seed of [2, 3]) {
        await bench.using(volume, (device) => writePattern(device, seed, 2 * MiB, 6 * MiB));
        await revert(bench, volume, snapshot);
        await revert(bench, volume, snapshot);
        await bench.using(volume, async (device) => {
          assert.equal(device.size, volume.size);
          await assertPattern(device, 1, 0, 4 * MiB, 'the volume');
          await assertPattern(device, 0, 4 * MiB, volumeSize - 4 * MiB, 'the volume');
        });
        await bench.using(snapshot, (device) => assertPattern(device, 1, 0, 4 * MiB, 'the snapshot'));
      }
      await bench.using(volume, (device) => writePattern(device, 4, 0, MiB));
      await bench.using(snapshot, (device) => assertPattern(device, 1, 0, MiB, 'the snapshot after a write'));
      assert.equal((await bench.list()).length, 2);
    },
  },

  'revert-extended': {
    verb: 'revert',
    contract: 'puts a volume back to a snapshot, which goes on to exist.',
    demand: 'a volume that was extended since keeps its size; the rest reads as zeroes',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, volumeSize));
      const snapshot = await bench.snapshot(volume);
      const larger = { ...volume, ...(await bench.driver.extend(volume, 2 * volumeSize, plainCall)) };
      await bench.using(larger, (device) => writePattern(device, 2, 0, device.size));
      await revert(bench, larger, snapshot);
      await bench.using(larger, async (device) => {
        assert.equal(device.size, larger.size);
        await assertPattern(device, 1, 0, volumeSize, 'the volume');
        await assertPattern(device, 0, volumeSize, device.size - volumeSize, 'the rest');
      });
    },
  },

  'revert-missing': {
    verb: 'revert',
    contract: 'Where this host opens a volume or snapshot. Fails with `backend-object-missing`.',
    demand: 'revert to a snapshot that is missing fails and leaves the volume',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, MiB));
      await assert.rejects(revert(bench, volume, bench.request()), { code: 'backend-object-missing' });
      await bench.using(volume, (device) => assertPattern(device, 1, 0, MiB, 'the volume'));
    },
  },
};

async function revert(bench: DriverBench, volume: BackendObject, snapshot: BackendObject): Promise<void> {
  assert(bench.driver.revert, 'the driver declares "revert" and has no such method');
  const { done } = await bench.driver.revert(volume, snapshot, plainCall);
  if (!done) await bench.copy(snapshot, volume);
}
