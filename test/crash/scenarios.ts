import { attachmentScenarios } from './attachment-scenarios.ts';
import { grown, image, volumeSize } from './content.ts';
import { attachedVolume, exists, must, volumeOf } from './expectations.ts';
import { moveScenarios } from './move-scenarios.ts';
import { reconciliationScenarios } from './reconciliation-scenarios.ts';
import type { Outcome, Prepared, Scenario } from './scenario.ts';
import { alice, root, type Site } from './site.ts';

const all = ['instant', 'allocating', 'bare', 'file'] as const;
const larger = 2 * volumeSize;
const smaller = volumeSize / 2;

/** Something of this name, newly asked for. */
const made = 'made';

async function madeVolume(site: Site) {
  const [volume] = await site.store.reading.volumes.list('every-project', { where: [{ field: 'name', op: 'eq', value: made }] });
  return volume;
}

async function madeSnapshot(site: Site) {
  const [snapshot] = await site.store.reading.snapshots.list('every-project', {
    where: [{ field: 'name', op: 'eq', value: made }],
  });
  return snapshot;
}

/** A volume that is asked for under the name {@link made}, and then holds `content`. */
function creation(
  site: Site,
  request: { readonly size?: number; readonly snapshotId?: string; readonly sourceVolumeId?: string },
  content: Uint8Array,
): Prepared {
  return {
    begin: (storage) => storage.volumes.create(alice, { volumeType: 'here', ...request, name: made }),
    async expect(outcome) {
      const volume = await madeVolume(site);
      if (outcome === 'done') {
        must(volume?.status === 'available', `the volume is ${volume?.status}`);
        site.contents.set(volume?.id ?? '', content);
      } else {
        must(volume === undefined || volume.status === 'error', `the volume is ${volume?.status}`);
      }
    },
  };
}

function snapshotting(site: Site, volumeId: string, content: Uint8Array): Prepared {
  return {
    begin: (storage) => storage.snapshots.create(alice, { volumeId, name: made, force: true }),
    async expect(outcome) {
      const snapshot = await madeSnapshot(site);
      if (outcome === 'done') {
        must(snapshot?.status === 'available', `the snapshot is ${snapshot?.status}`);
        site.contents.set(snapshot?.id ?? '', content);
      } else {
        must(snapshot === undefined || snapshot.status === 'error', `the snapshot is ${snapshot?.status}`);
      }
    },
  };
}

function extension(site: Site, volumeId: string, settled: 'available' | 'in-use'): Prepared {
  return {
    begin: (storage) => storage.volumes.extend(alice, volumeId, larger),
    async expect(outcome) {
      const { status, size } = await volumeOf(site, volumeId);
      must(status === settled, `the volume is ${status}`);
      // Hosts that could not be told of the new size do not make the volume smaller again.
      must(size === larger || (outcome === 'undone' && size === volumeSize), `the volume has ${size} bytes`);
      if (size === larger) site.contents.set(volumeId, grown(image(10), larger));
    },
  };
}

function shrinking(site: Site, volumeId: string): Prepared {
  return {
    begin: (storage) => storage.volumes.shrink(alice, volumeId, smaller, volumeId),
    async expect(outcome) {
      const { status, size } = await volumeOf(site, volumeId);
      must(status === 'available', `the volume is ${status}`);
      must(size === (outcome === 'done' ? smaller : volumeSize), `the volume has ${size} bytes`);
      if (size === smaller) site.contents.set(volumeId, image(10).subarray(0, smaller));
    },
  };
}

/** References of volumes on the first array that are nobody's. */
async function foreign(site: Site): Promise<readonly string[]> {
  const { storage } = await site.running();
  const found = await site.time.drive(storage.managedVolumes.list(root, 'host@here'));
  return found.flatMap(({ reference, refusal }) => (refusal === null ? [reference] : []));
}

/** Lets go of a volume that holds {@link image} 10. Returns what it is called then. */
async function letGo(site: Site): Promise<string> {
  const known = new Set(await foreign(site));
  const volumeId = await site.volume(10);
  const { storage } = await site.running();
  const { operationId } = await site.time.drive(storage.managedVolumes.unmanage(root, volumeId));
  await site.time.drive(storage.operations.wait(operationId, 60_000));
  const [reference] = (await foreign(site)).filter((each) => !known.has(each));
  must(reference !== undefined, 'nothing is left of the volume');
  return reference ?? '';
}

async function takingOver(site: Site): Promise<Prepared> {
  const reference = await letGo(site);
  return {
    begin: (storage) => storage.managedVolumes.manage(root, { host: 'host@here', reference, volumeType: 'here', name: made }),
    async expect(outcome) {
      const volume = await madeVolume(site);
      const isForeign = (await foreign(site)).includes(reference);
      if (outcome === 'done') {
        must(volume?.status === 'available' && volume.size === volumeSize, `the volume is ${volume?.status}`);
        must(!isForeign, 'the volume is nobody’s');
        site.contents.set(volume?.id ?? '', image(10));
      } else {
        must(volume === undefined || volume.status === 'error_managing', `the volume is ${volume?.status}`);
      }
    },
  };
}

async function lettingGo(site: Site): Promise<Prepared> {
  const volumeId = await site.volume(10);
  const known = (await foreign(site)).length;
  return {
    begin: (storage) => storage.managedVolumes.unmanage(root, volumeId),
    async expect(outcome) {
      const there = await exists(volumeOf(site, volumeId));
      must(there === (outcome === 'undone'), `the volume is ${there ? 'still there' : 'gone'}`);
      must((await foreign(site)).length === known + (there ? 0 : 1), 'the bytes of the volume are gone');
    },
  };
}

async function reversion(site: Site): Promise<Prepared> {
  const volumeId = await site.volume(10);
  const snapshotId = await site.snapshot(volumeId);
  await site.fill(volumeId, image(20));
  return {
    begin: (storage) => storage.volumes.revert(alice, volumeId, snapshotId),
    async expect(outcome) {
      const { status } = await volumeOf(site, volumeId);
      if (outcome === 'done') {
        must(status === 'available', `the volume is ${status}`);
        site.contents.set(volumeId, image(10));
        return;
      }
      must(status === 'available' || status === 'error', `the volume is ${status}`);
      // A copy that stopped half-way leaves neither content.
      if (status === 'error') site.contents.delete(volumeId);
    },
  };
}

function deletion(site: Site, volumeId: string, snapshots: readonly string[]): Prepared {
  return {
    begin: (storage) => storage.volumes.delete(alice, volumeId, { cascade: snapshots.length > 0 }),
    async expect(outcome) {
      const there = await exists(volumeOf(site, volumeId));
      const left = await Promise.all(snapshots.map((id) => exists(site.store.reading.snapshots.get('every-project', id))));
      if (outcome === 'done') must(!there && left.every((each) => !each), 'the volume or a snapshot is still there');
      else must(there && left.every(Boolean), 'the volume or a snapshot is gone');
    },
  };
}

async function fromSnapshot(site: Site): Promise<Prepared> {
  const volumeId = await site.volume(10);
  const snapshotId = await site.snapshot(volumeId);
  await site.fill(volumeId, image(20));
  return creation(site, { snapshotId, size: larger }, grown(image(10), larger));
}

async function clone(site: Site): Promise<Prepared> {
  return creation(site, { sourceVolumeId: await site.volume(10) }, image(10));
}

/** Every operation, in all the ways that lead through different steps. */
export const scenarios: readonly Scenario[] = [
  {
    name: 'an empty volume',
    operation: 'volume.create',
    arrays: ['instant', 'file'],
    prepare: async (site) => creation(site, { size: volumeSize }, new Uint8Array(volumeSize)),
  },
  { name: 'a larger volume from a snapshot', operation: 'volume.create', arrays: all, prepare: fromSnapshot },
  { name: 'a clone', operation: 'volume.create', arrays: ['instant', 'allocating'], prepare: clone },
  {
    name: 'a clone of a volume in use',
    operation: 'volume.create',
    arrays: ['instant'],
    prepare: async (site) => creation(site, { sourceVolumeId: await attachedVolume(site) }, image(10)),
  },
  {
    name: 'a volume that cannot be grown',
    operation: 'volume.create',
    arrays: ['instant'],
    broken: 'driver.extend',
    prepare: fromSnapshot,
  },
  {
    name: 'a clone that cannot be filled',
    operation: 'volume.create',
    arrays: ['bare'],
    broken: 'transport.copy',
    prepare: clone,
  },
  {
    name: 'an extension',
    operation: 'volume.extend',
    arrays: ['instant'],
    prepare: async (site) => extension(site, await site.volume(10), 'available'),
  },
  {
    name: 'an extension in use',
    operation: 'volume.extend',
    arrays: ['instant', 'file'],
    prepare: async (site) => extension(site, await attachedVolume(site), 'in-use'),
  },
  {
    name: 'an extension that the array refuses',
    operation: 'volume.extend',
    arrays: ['instant'],
    broken: 'driver.extend',
    prepare: async (site) => extension(site, await site.volume(10), 'available'),
  },
  {
    name: 'a shrinking',
    operation: 'volume.shrink',
    arrays: ['instant', 'file'],
    prepare: async (site) => shrinking(site, await site.volume(10)),
  },
  {
    name: 'a shrinking that the array refuses',
    operation: 'volume.shrink',
    arrays: ['instant'],
    broken: 'driver.shrink',
    prepare: async (site) => shrinking(site, await site.volume(10)),
  },
  { name: 'a taking over', operation: 'volume.manage', arrays: ['instant', 'file'], prepare: takingOver },
  {
    name: 'a taking over that the array refuses',
    operation: 'volume.manage',
    arrays: ['instant'],
    broken: 'driver.manage',
    prepare: takingOver,
  },
  { name: 'a letting go', operation: 'volume.unmanage', arrays: ['instant', 'file'], prepare: lettingGo },
  { name: 'a revert', operation: 'volume.revert', arrays: ['instant', 'bare', 'file'], prepare: reversion },
  {
    name: 'a deletion',
    operation: 'volume.delete',
    arrays: ['instant'],
    prepare: async (site) => deletion(site, await site.volume(10), []),
  },
  {
    name: 'a deletion with snapshots',
    operation: 'volume.delete',
    arrays: ['instant', 'file'],
    async prepare(site) {
      const volumeId = await site.volume(10);
      return deletion(site, volumeId, [await site.snapshot(volumeId), await site.snapshot(volumeId)]);
    },
  },
  {
    name: 'a snapshot',
    operation: 'snapshot.create',
    arrays: ['instant', 'file'],
    prepare: async (site) => snapshotting(site, await site.volume(10), image(10)),
  },
  {
    name: 'a snapshot of a volume in use',
    operation: 'snapshot.create',
    arrays: ['instant', 'allocating'],
    prepare: async (site) => snapshotting(site, await attachedVolume(site), image(10)),
  },
  {
    name: 'a snapshot that cannot be filled',
    operation: 'snapshot.create',
    arrays: ['allocating'],
    broken: 'transport.copy',
    prepare: async (site) => snapshotting(site, await site.volume(10), image(10)),
  },
  {
    name: 'the deletion of a snapshot',
    operation: 'snapshot.delete',
    arrays: ['instant', 'file'],
    async prepare(site) {
      const snapshotId = await site.snapshot(await site.volume(10));
      return {
        begin: (storage) => storage.snapshots.delete(alice, snapshotId),
        async expect(outcome: Outcome) {
          const there = await exists(site.store.reading.snapshots.get('every-project', snapshotId));
          must(there === (outcome === 'undone'), `the snapshot is ${there ? 'still there' : 'gone'}`);
        },
      };
    },
  },
  ...attachmentScenarios,
  ...moveScenarios,
  ...reconciliationScenarios,
];
