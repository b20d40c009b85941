import type { BlockStorage, RequestContext, Snapshot, Volume } from '@scoria/core';
import { unit } from './world.ts';

/** Something that must be refused. */
export type Trespass = (storage: BlockStorage) => Promise<unknown>;

/** What somebody can try to do with what is another project's. */
export function trespasses(me: RequestContext, volume: Volume | undefined, snapshot: Snapshot | undefined): readonly Trespass[] {
  return [
    ...(volume
      ? [
          (storage: BlockStorage) => storage.volumes.get(me, volume.id),
          (storage: BlockStorage) => storage.volumes.delete(me, volume.id),
          (storage: BlockStorage) => storage.volumes.extend(me, volume.id, volume.size + unit),
          (storage: BlockStorage) => storage.volumes.shrink(me, volume.id, volume.size - unit, volume.id),
          (storage: BlockStorage) => storage.managedVolumes.unmanage(me, volume.id),
          (storage: BlockStorage) => storage.volumes.create(me, { sourceVolumeId: volume.id }),
          (storage: BlockStorage) => storage.snapshots.create(me, { volumeId: volume.id, force: true }),
          (storage: BlockStorage) => storage.attachments.create(me, { volumeId: volume.id }),
        ]
      : []),
    ...(snapshot
      ? [
          (storage: BlockStorage) => storage.snapshots.get(me, snapshot.id),
          (storage: BlockStorage) => storage.snapshots.delete(me, snapshot.id),
          (storage: BlockStorage) => storage.volumes.create(me, { snapshotId: snapshot.id }),
        ]
      : []),
  ];
}
