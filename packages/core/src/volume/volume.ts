import { defineTransitions } from '../state/transition-table.ts';

/** Statuses of a volume, Cinder's words. */
export const volumeStatuses = [
  'creating',
  'available',
  'reserved',
  'attaching',
  'in-use',
  'detaching',
  'extending',
  'reverting',
  'retyping',
  'maintenance',
  'managing',
  'unmanaging',
  'deleting',
  'error',
  'error_deleting',
  'error_managing',
] as const;
/** See {@link volumeStatuses}. */
export type VolumeStatus = (typeof volumeStatuses)[number];

/** Statuses in which a volume takes nothing of its project's quotas: taking it over came to nothing. */
export const uncountedVolumeStatuses = ['error_managing'] as const satisfies VolumeStatus[];

/** Statuses that follow from the attachments alone, while nothing else is done to the volume. */
export const settledVolumeStatuses = [
  'available',
  'reserved',
  'attaching',
  'in-use',
  'detaching',
] as const satisfies VolumeStatus[];
/** See {@link settledVolumeStatuses}. */
export type SettledVolumeStatus = (typeof settledVolumeStatuses)[number];

/** Every change of a volume's status. */
export const volumeTransitions = defineTransitions<VolumeStatus>()({
  created: { from: ['creating'], to: ['available'] },
  creationFailed: { from: ['creating'], to: ['error'] },
  attachmentsChanged: { from: [...settledVolumeStatuses], to: [...settledVolumeStatuses] },
  extend: { from: ['available', 'in-use'], to: ['extending'] },
  /** Cinder's clients know no word of its own for this. */
  shrink: { from: ['available'], to: ['extending'] },
  /** Of an extend or a shrink, also a failed one: the volume is as it was, and a user message tells why. */
  extendEnded: { from: ['extending'], to: [...settledVolumeStatuses] },
  revert: { from: ['available'], to: ['reverting'] },
  reverted: { from: ['reverting'], to: ['available'] },
  revertFailed: { from: ['reverting'], to: ['available', 'error'] },
  retype: { from: ['available', 'in-use'], to: ['retyping'] },
  /** A migration that keeps everybody else away from the volume. */
  lock: { from: ['available'], to: ['maintenance'] },
  /** Also after a retype or migration that came to nothing: the volume is as it was, and a user message tells why. */
  moveEnded: { from: ['retyping', 'maintenance', ...settledVolumeStatuses], to: [...settledVolumeStatuses] },
  managed: { from: ['managing'], to: ['available'] },
  managingFailed: { from: ['managing'], to: ['error_managing'] },
  unmanage: { from: ['available', 'error', 'error_managing'], to: ['unmanaging'] },
  /** The volume is as it was, and a user message tells why. */
  unmanagingFailed: { from: ['unmanaging'], to: ['available', 'error', 'error_managing'] },
  delete: { from: ['available', 'error', 'error_deleting'], to: ['deleting'] },
  /** Not while the volume is taken over or let go: its bytes may be somebody else's. */
  forceDelete: { from: volumeStatuses.filter((status) => !status.endsWith('managing')), to: ['deleting'] },
  deletionFailed: { from: ['deleting'], to: ['error_deleting'] },
});
/** Name of a change of status. */
export type VolumeTransition = keyof typeof volumeTransitions;

/** How a migration stands, Cinder's words. */
export const migrationStatuses = ['migrating', 'completing', 'success', 'error'] as const;
/** See {@link migrationStatuses}. */
export type MigrationStatus = (typeof migrationStatuses)[number];

/** A volume. Times are milliseconds since 1970 UTC. */
export interface Volume {
  readonly id: string;
  readonly projectId: string;
  readonly userId: string;
  readonly name: string | null;
  readonly description: string | null;
  /** Bytes, as asked for. */
  readonly size: number;
  readonly status: VolumeStatus;
  readonly volumeTypeId: string;
  readonly availabilityZone: string;
  readonly bootable: boolean;
  readonly readOnly: boolean;
  readonly multiattach: boolean;
  readonly metadata: Readonly<Record<string, string>>;
  readonly sourceVolumeId: string | null;
  readonly snapshotId: string | null;
  /** The placement that holds its bytes; `null` before one is chosen. */
  readonly placementId: string | null;
  /** How a move to another backend stands or ended; `null` when there was none. */
  readonly migrationStatus: MigrationStatus | null;
  /** Label of where it lies, `host@backend#pool`. Read from the placement, not written. */
  readonly hostString: string | null;
  readonly createdAt: number;
  readonly updatedAt: number | null;
  /** When it became available first. */
  readonly launchedAt: number | null;
}

/** Fields by which volumes are filtered and sorted. */
export type VolumeField =
  | 'id'
  | 'projectId'
  | 'userId'
  | 'name'
  | 'description'
  | 'size'
  | 'status'
  | 'volumeTypeId'
  | 'availabilityZone'
  | 'bootable'
  | 'multiattach'
  | 'sourceVolumeId'
  | 'snapshotId'
  | 'hostString'
  | 'migrationStatus'
  | 'createdAt'
  | 'updatedAt'
  | 'launchedAt';

/** Fields that may be written without a change of status. */
export type VolumePatch = Partial<
  Pick<
    Volume,
    | 'name'
    | 'description'
    | 'size'
    | 'bootable'
    | 'readOnly'
    | 'metadata'
    | 'placementId'
    | 'volumeTypeId'
    | 'migrationStatus'
    | 'launchedAt'
    | 'availabilityZone'
  >
>;
