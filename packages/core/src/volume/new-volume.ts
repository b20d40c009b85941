import type { RequestContext } from '../tenancy/request-context.ts';
import type { VolumeType } from '../volume-type/volume-type.ts';
import type { Labels } from './labels.ts';
import type { Volume } from './volume.ts';

/** What is decided of a volume that is asked for. */
export interface NewVolumeFields {
  readonly id: string;
  /** Bytes. */
  readonly size: number;
  readonly status: 'creating' | 'managing';
  readonly availabilityZone: string;
  readonly bootable?: boolean | undefined;
  readonly multiattach?: boolean | undefined;
  readonly sourceVolumeId?: string | null | undefined;
  readonly snapshotId?: string | null | undefined;
  readonly createdAt: number;
}

/** The row of a volume that was asked for and has no storage yet. */
export function newVolume(
  context: RequestContext,
  labels: Labels,
  type: VolumeType,
  fields: NewVolumeFields,
): Omit<Volume, 'hostString'> {
  const { bootable, multiattach, sourceVolumeId, snapshotId, ...decided } = fields;
  return {
    ...decided,
    projectId: context.projectId,
    userId: context.userId,
    name: labels.name ?? null,
    description: labels.description ?? null,
    volumeTypeId: type.id,
    bootable: bootable ?? false,
    readOnly: false,
    multiattach: (multiattach ?? false) || type.extraSpecs['multiattach'] === '<is> True',
    metadata: labels.metadata ?? {},
    sourceVolumeId: sourceVolumeId ?? null,
    snapshotId: snapshotId ?? null,
    placementId: null,
    migrationStatus: null,
    updatedAt: null,
    launchedAt: null,
  };
}
