import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import { type RequestContext, tenancyOf } from '../tenancy/request-context.ts';

/** What a new volume may name as its source: at most one of them. */
export interface VolumeSourceIds {
  readonly snapshotId?: string | null | undefined;
  readonly sourceVolumeId?: string | null | undefined;
}

/** What the content of a new volume is copied from. */
export interface VolumeSource {
  readonly kind: 'volume' | 'snapshot';
  readonly id: string;
  readonly placementId: string;
  readonly size: number;
  readonly volumeTypeId: string;
  /** Whether a machine can start from the content. */
  readonly bootable: boolean;
}

/** Finds the source that a request names, `null` when it names none. `not-found` for one that the caller may not see, `invalid-state` for one that cannot be copied now. */
export async function sourceOf(
  transaction: Transaction,
  context: RequestContext,
  request: VolumeSourceIds,
): Promise<VolumeSource | null> {
  if (request.snapshotId) {
    const { id, size, status, placementId, volumeTypeId, volumeId } = await transaction.snapshots.get(
      tenancyOf(context),
      request.snapshotId,
    );
    if (status !== 'available' || placementId === null) {
      throw new ScoriaError('invalid-state', `Snapshot ${id} is ${status}; it must be available to make a volume from it.`, {
        details: { status },
      });
    }
    const { bootable } = await transaction.volumes.get('every-project', volumeId);
    return { kind: 'snapshot', id, size, placementId, volumeTypeId, bootable };
  }
  if (request.sourceVolumeId) {
    const { id, size, status, placementId, volumeTypeId, bootable } = await transaction.volumes.get(
      tenancyOf(context),
      request.sourceVolumeId,
    );
    if ((status !== 'available' && status !== 'in-use') || placementId === null) {
      throw new ScoriaError('invalid-state', `Volume ${id} is ${status}; it must be available or in-use to be cloned.`, {
        details: { status },
      });
    }
    return { kind: 'volume', id, size, placementId, volumeTypeId, bootable };
  }
  return null;
}
