import assert from 'node:assert/strict';
import { type AnyVolumeDriver, type BackendObject, type ManageableObject, type ManageSupport, systemRandom } from '@scoria/core';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, recorded, volumeSize, type DriverBench } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;

/** The driver with the group, which it declares. */
function managing(driver: AnyVolumeDriver): ManageSupport {
  const { listManageable, manage, unmanage } = driver;
  assert(listManageable && manage && unmanage, 'the driver declares "manage" and lacks a method of it');
  return {
    listManageable: (call) => listManageable.call(driver, call),
    manage: (target, reference, call) => manage.call(driver, target, reference, call),
    unmanage: (volume, call) => unmanage.call(driver, volume, call),
  };
}

async function manageable(bench: DriverBench): Promise<ManageableObject[]> {
  const found: ManageableObject[] = [];
  for await (const object of managing(bench.driver).listManageable(plainCall)) found.push(object);
  return found;
}

async function free(bench: DriverBench): Promise<ManageableObject[]> {
  return (await manageable(bench)).filter(({ placementId, refusal }) => placementId === null && refusal === null);
}

/** Takes a volume over under a new id. */
async function takeOver(bench: DriverBench, reference: string, request = bench.request(0)): Promise<BackendObject> {
  return recorded(request, await managing(bench.driver).manage(request, reference, plainCall));
}

/** A volume that was ours and is nobody's now. */
interface LetGo {
  /** What it was. */
  readonly volume: BackendObject;
  readonly found: ManageableObject;
}

/** Lets go of a volume with data in it, for the time of some work; whatever is nobody's afterwards becomes ours, to be swept. */
async function withForeign(bench: DriverBench, work: (gone: LetGo) => Promise<void>): Promise<void> {
  const before = new Set((await free(bench)).map(({ reference }) => reference));
  const added = async () => (await free(bench)).filter(({ reference }) => !before.has(reference));
  const volume = await bench.volume();
  await bench.using(volume, async (device) => {
    await writePattern(device, 1, MiB, MiB);
    await device.flush();
  });
  try {
    await managing(bench.driver).unmanage(volume, plainCall);
    const [found, ...others] = await added();
    assert(found && others.length === 0, `after a volume was let go ${found ? others.length + 1 : 0} can be taken over`);
    await work({ volume, found });
  } finally {
    for (const { reference } of await added().catch(() => [])) await takeOver(bench, reference).catch(() => {});
  }
}

/** Volumes that are taken over and let go. */
export const manageChecks: DriverChecks = {
  'unmanage-stays': {
    verb: 'unmanage',
    contract: 'Lets go of a volume: it stays with its content, and is not listed as ours.',
    demand: 'a volume that was let go is none of ours, and can be taken over',
    run: async (bench) => {
      await withForeign(bench, async ({ volume, found }) => {
        assert.equal(await bench.listed(volume), undefined);
        await assert.rejects(bench.driver.locate(volume, plainCall), { code: 'backend-object-missing' });
        assert.equal(found.size, volume.size);
        assert.equal(found.pool, volume.pool);
        assert(found.reference.length > 0 && found.reference.length <= 1024, 'a reference has 1 to 1,024 characters');
      });
    },
  },

  'unmanage-repeated': {
    verb: 'unmanage',
    contract: 'Succeeds when it is gone.',
    demand: 'letting go may be repeated, of a volume that never was too',
    run: async (bench) => {
      await withForeign(bench, async ({ volume, found }) => {
        await managing(bench.driver).unmanage(volume, plainCall);
        await bench.restart();
        await managing(bench.driver).unmanage({ ...volume, backendRef: null }, plainCall);
        await managing(bench.driver).unmanage(bench.request(), plainCall);
        assert.deepEqual(
          (await free(bench)).filter(({ reference }) => reference === found.reference),
          [found],
        );
      });
    },
  },

  'unmanage-lost': {
    verb: 'unmanage',
    contract: 'Names the object on the backend, and makes every verb idempotent.',
    demand: 'a volume whose taking over was not recorded is let go by its id alone, with its content',
    run: async (bench) => {
      await withForeign(bench, async ({ found }) => {
        const request = bench.request(0);
        await takeOver(bench, found.reference, request);
        await bench.restart();
        await managing(bench.driver).unmanage(request, plainCall);
        assert.equal(await bench.listed(request), undefined);
        const [again, ...others] = (await free(bench)).filter(({ size }) => size === found.size);
        assert(again && others.length === 0, 'the volume is not there once');
        const volume = await takeOver(bench, again.reference);
        await bench.using(volume, (device) => assertPattern(device, 1, MiB, MiB, 'the volume'));
      });
    },
  },

  'manage-content': {
    verb: 'manage',
    contract: 'Makes an existing volume ours, with its content, under `target.placementId`; `target.size` is 0.',
    demand: 'a volume that was taken over has its size and content, and is one of ours in every way',
    run: async (bench) => {
      await withForeign(bench, async ({ found }) => {
        const volume = await takeOver(bench, found.reference);
        assert.equal(volume.size, found.size);
        const { kind, size, backendRef } = (await bench.listed(volume)) ?? {};
        assert.deepEqual({ kind, size, backendRef }, { kind: 'volume', size: volume.size, backendRef: volume.backendRef });
        assert(!(await free(bench)).some(({ reference }) => reference === found.reference), 'it is still offered');
        await bench.using(volume, async (device) => {
          assert.equal(device.size, volume.size);
          await assertPattern(device, 0, 0, MiB, 'the beginning');
          await assertPattern(device, 1, MiB, MiB, 'the data');
          await assertPattern(device, 0, 2 * MiB, device.size - 2 * MiB, 'the rest');
        });
        const larger = { ...volume, ...(await bench.driver.extend(volume, 2 * volumeSize, plainCall)) };
        const snapshot = await bench.snapshot(larger);
        await bench.using(snapshot, (device) => assertPattern(device, 1, MiB, MiB, 'its snapshot'));
        await bench.driver.deleteSnapshot(snapshot, plainCall);
        await bench.driver.delete(larger, plainCall);
        assert.equal(await bench.listed(larger), undefined);
        assert(!(await manageable(bench)).some(({ size }) => size === larger.size), 'what was deleted is offered');
      });
    },
  },

  'manage-repeated': {
    verb: 'manage',
    contract: 'A repeat with the same placement id gives the same.',
    demand: 'taking over may be repeated, also after a crash, and leaves what was written since',
    run: async (bench) => {
      await withForeign(bench, async ({ found }) => {
        const request = bench.request(0);
        const first = await managing(bench.driver).manage(request, found.reference, plainCall);
        const volume = recorded(request, first);
        await bench.using(volume, (device) => writePattern(device, 2, 0, MiB));
        assert.deepEqual(await managing(bench.driver).manage(request, found.reference, plainCall), first);
        await bench.restart();
        assert.deepEqual(await managing(bench.driver).manage(request, found.reference, plainCall), first);
        await bench.using(volume, (device) => assertPattern(device, 2, 0, MiB, 'what was written since'));
        assert.equal((await bench.list()).filter(({ placementId }) => placementId === volume.placementId).length, 1);
      });
    },
  },

  'manage-refused': {
    verb: 'manage',
    contract: '`not-found` when the reference names nothing, `conflict` when it is ours or in use.',
    demand: 'what is not there is not found, what is ours is a conflict, and nothing changes',
    run: async (bench) => {
      const { manage } = managing(bench.driver);
      await assert.rejects(manage(bench.request(0), systemRandom.uuid(), plainCall), { code: 'not-found' });
      await assert.rejects(manage(bench.request(0), '../../etc/passwd', plainCall), { code: 'not-found' });
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, MiB));
      const mine = (await manageable(bench)).find(({ placementId }) => placementId === volume.placementId);
      if (mine) await assert.rejects(manage(bench.request(0), mine.reference, plainCall), { code: 'conflict' });
      assert.deepEqual(
        (await bench.list()).map(({ placementId }) => placementId),
        [volume.placementId],
      );
      await bench.using(volume, (device) => assertPattern(device, 1, 0, MiB, 'the volume'));
    },
  },

  'manageable-ours': {
    verb: 'listManageable',
    contract: 'What could be taken over, and what cannot with the reason, in any order.',
    demand: 'what is ours is not offered, and has its id and a reason where it is listed; references are of one thing each',
    run: async (bench) => {
      await withForeign(bench, async () => {
        const volumes = [await bench.volume(), await bench.volume(MiB)];
        const all = await manageable(bench);
        assert.equal(new Set(all.map(({ reference }) => reference)).size, all.length, 'two have one reference');
        assert.equal((await free(bench)).length, 1, 'the volume that was let go is all that is offered');
        const known = new Set(volumes.map(({ placementId }) => placementId));
        for (const { placementId, refusal } of all) {
          if (placementId === null) continue;
          assert(known.has(placementId), `${placementId} is none of ours`);
          assert(refusal !== null && refusal.length > 0, `${placementId} is ours, and no reason is given`);
        }
      });
    },
  },
};
