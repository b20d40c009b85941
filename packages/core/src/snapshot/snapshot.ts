import { defineTransitions } from '../state/transition-table.ts';

/** Statuses of a snapshot, Cinder's words. */
export type SnapshotStatus = 'creating' | 'available' | 'restoring' | 'deleting' | 'error' | 'error_deleting';

/** Every change of a snapshot's status. */
export const snapshotTransitions = defineTransitions<SnapshotStatus>()({
  created: { from: ['creating'], to: ['available'] },
  creationFailed: { from: ['creating'], to: ['error'] },
  restore: { from: ['available'], to: ['restoring'] },
  restored: { from: ['restoring'], to: ['available'] },
  delete: { from: ['available', 'error', 'error_deleting'], to: ['deleting'] },
  forceDelete: { from: ['creating', 'available', 'restoring', 'deleting', 'error', 'error_deleting'], to: ['deleting'] },
  deletionFailed: { from: ['deleting'], to: ['error_deleting'] },
});
/** Name of a change of status. */
export type SnapshotTransition = keyof typeof snapshotTransitions;

/** A snapshot of a volume. */
export interface Snapshot {
  readonly id: string;
  readonly projectId: string;
  readonly userId: string;
  readonly volumeId: string;
  /** Of the volume, when it was taken. */
  readonly volumeTypeId: string;
  readonly name: string | null;
  readonly description: string | null;
  /** Bytes, of the volume when it was taken. */
  readonly size: number;
  readonly status: SnapshotStatus;
  readonly metadata: Readonly<Record<string, string>>;
  readonly placementId: string | null;
  readonly createdAt: number;
  readonly updatedAt: number | null;
}

/** Fields by which snapshots are filtered and sorted. */
export type SnapshotField =
  | 'id'
  | 'projectId'
  | 'userId'
  | 'volumeId'
  | 'name'
  | 'description'
  | 'size'
  | 'status'
  | 'volumeTypeId'
  | 'availabilityZone'
  | 'createdAt'
  | 'updatedAt';

/** Fields that may be written without a change of status. */
export type SnapshotPatch = Partial<Pick<Snapshot, 'name' | 'description' | 'metadata' | 'placementId'>>;
