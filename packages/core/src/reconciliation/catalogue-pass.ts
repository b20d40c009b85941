import type { Attachment } from '../attachment/attachment.ts';
import { disconnectAttachment } from '../attachment/disconnect-attachment.ts';
import { settleVolume } from '../attachment/settle-volume.ts';
import type { Snapshot, SnapshotField, SnapshotStatus } from '../snapshot/snapshot.ts';
import { settledStatus } from '../volume/settled-status.ts';
import {
  settledVolumeStatuses,
  type Volume,
  type VolumeField,
  type VolumeStatus,
  type VolumeTransition,
} from '../volume/volume.ts';
import { allAttachments } from './all-attachments.ts';
import { atOnce, type MendOutcome, type Observation, type PassTools, type PassView } from './observation.ts';
import { allRows } from '../store/all-rows.ts';
import { orMissing } from '../store/or-missing.ts';

/** Looks in the store itself for what should have ended long ago. */
export async function observeCatalogue(tools: PassTools): Promise<PassView> {
  const attachments = await allAttachments(tools);
  const observations = [
    ...attachments.flatMap((attachment) => stale(tools, attachment)),
    ...(await stuckVolumes(tools)),
    ...(await stuckSnapshots(tools)),
  ];
  return { views: [{ scope: 'catalogue', observations }], failure: null };
}

const reserves = ({ status, accessId }: Attachment) => accessId === null && (status === 'reserved' || status === 'attaching');
const heardOf = ({ createdAt, updatedAt }: Attachment) => updatedAt ?? createdAt;

function stale(tools: PassTools, attachment: Attachment): Observation[] {
  const { id, volumeId, instanceId, status, createdAt, updatedAt } = attachment;
  if (tools.clock.now() - heardOf(attachment) < tools.settings.reservationLease) return [];
  const subject = {
    subjectKind: 'attachment',
    subjectId: id,
    evidence: { volumeId, instanceId, status, createdAt, updatedAt },
  } as const;
  if (reserves(attachment)) {
    const command = `openstack --os-volume-api-version 3.27 volume attachment delete ${id}`;
    const mend = { ...atOnce, begin: () => endReservation(tools, id) };
    return [{ ...subject, kind: 'stale-reservation', command, mend }];
  }
  if (status === 'detaching') {
    const command = `openstack --os-volume-api-version 3.27 volume attachment delete ${id}`;
    return [{ ...subject, kind: 'stale-detach', command }];
  }
  return [];
}

/** Ends a reservation as its owner would, unless somebody has come to complete it. */
async function endReservation(tools: PassTools, id: string): Promise<MendOutcome> {
  const { outbox, operations, context, clock, settings } = tools;
  return outbox.transaction(async (transaction) => {
    await tools.holdLease(transaction);
    const now = clock.now();
    const attachment = await orMissing(transaction.attachments.get('every-project', id));
    if (!attachment || !reserves(attachment) || now - heardOf(attachment) < settings.reservationLease) return 'gone';
    if ((await transaction.operations.using('attachment', id)).length > 0) return 'not-yet';
    const { volumeId, status, projectId } = attachment;
    const volume = await transaction.volumes.get('every-project', volumeId);
    const settled: readonly string[] = settledVolumeStatuses;
    if (!settled.includes(volume.status)) return 'not-yet';
    const begun = await operations.begin(transaction, disconnectAttachment, context, {
      input: {
        attachmentId: id,
        volumeId,
        endingAccessId: null,
        keepAttachment: false,
        before: { status, accessId: null },
      },
      resourceKind: 'attachment',
      resourceId: id,
      uses: [{ kind: 'attachment', id, mode: 'change' }],
      backendId: null,
      projectId,
    });
    await transaction.attachments.update(id, { status: 'detaching' }, now);
    await settleVolume(transaction, volumeId, now);
    return begun;
  });
}

const movingStatuses = [
  'creating',
  'extending',
  'reverting',
  'retyping',
  'maintenance',
  'managing',
  'unmanaging',
  'deleting',
] as const satisfies VolumeStatus[];
const movingSnapshotStatuses = ['creating', 'restoring', 'deleting'] as const satisfies SnapshotStatus[];

async function stuckVolumes(tools: PassTools): Promise<Observation[]> {
  const { volumes, operations } = tools.store.reading;
  const observations: Observation[] = [];
  const rows = await allRows<Volume, VolumeField>(
    (query) => volumes.list('every-project', query),
    [{ field: 'status', op: 'in', value: movingStatuses }],
  );
  for (const { id, status, updatedAt, placementId } of rows) {
    if ((await operations.using('volume', id)).length > 0) continue;
    // It may have arrived between the two questions.
    if ((await orMissing(volumes.get('every-project', id)))?.status !== status) continue;
    observations.push({
      kind: 'stuck-status',
      subjectKind: 'volume',
      subjectId: id,
      evidence: { status, updatedAt, placementId },
      command: null,
      mend: { ...atOnce, begin: () => endStuckVolume(tools, id) },
    });
  }
  return observations;
}

/** Status and operation change in one transaction, so without an operation nobody is coming. */
async function endStuckVolume({ outbox, holdLease, clock }: PassTools, id: string): Promise<MendOutcome> {
  return outbox.transaction(async (transaction) => {
    await holdLease(transaction);
    const volume = await orMissing(transaction.volumes.get('every-project', id));
    if (!volume || (await transaction.operations.using('volume', id)).length > 0) return 'gone';
    const now = clock.now();
    const end = async (name: VolumeTransition, status: VolumeStatus) => {
      await transaction.volumes.transition('every-project', id, name, now, { to: status });
      transaction.emit({ name: 'volume.changed', payload: { volumeId: id, projectId: volume.projectId, status } });
    };
    switch (volume.status) {
      case 'creating':
        await end('creationFailed', 'error');
        break;
      case 'deleting':
        await end('deletionFailed', 'error_deleting');
        break;
      case 'reverting':
        await end('revertFailed', 'error');
        break;
      case 'managing':
        await end('managingFailed', 'error_managing');
        break;
      case 'unmanaging':
        await end('unmanagingFailed', 'error');
        break;
      case 'extending':
        await end('extendEnded', settledStatus(await transaction.attachments.ofVolumes([id])));
        break;
      case 'retyping':
      case 'maintenance':
        await end('moveEnded', settledStatus(await transaction.attachments.ofVolumes([id])));
        break;
      default:
        return 'gone';
    }
    return { operationId: null };
  });
}

async function stuckSnapshots(tools: PassTools): Promise<Observation[]> {
  const { snapshots, operations } = tools.store.reading;
  const observations: Observation[] = [];
  const rows = await allRows<Snapshot, SnapshotField>(
    (query) => snapshots.list('every-project', query),
    [{ field: 'status', op: 'in', value: movingSnapshotStatuses }],
  );
  for (const { id, volumeId, status, updatedAt, placementId } of rows) {
    if ((await operations.using('snapshot', id)).length > 0) continue;
    if ((await orMissing(snapshots.get('every-project', id)))?.status !== status) continue;
    observations.push({
      kind: 'stuck-status',
      subjectKind: 'snapshot',
      subjectId: id,
      evidence: { volumeId, status, updatedAt, placementId },
      command: null,
      mend: { ...atOnce, begin: () => endStuckSnapshot(tools, id) },
    });
  }
  return observations;
}

const endings = {
  creating: { by: 'creationFailed', to: 'error' },
  deleting: { by: 'deletionFailed', to: 'error_deleting' },
  // A snapshot stays as it is while its volume goes back to it.
  restoring: { by: 'restored', to: 'available' },
} as const;
const isMoving = (status: Snapshot['status']): status is keyof typeof endings => status in endings;

async function endStuckSnapshot({ outbox, holdLease, clock }: PassTools, id: string): Promise<MendOutcome> {
  return outbox.transaction(async (transaction) => {
    await holdLease(transaction);
    const snapshot = await orMissing(transaction.snapshots.get('every-project', id));
    if (!snapshot || !isMoving(snapshot.status) || (await transaction.operations.using('snapshot', id)).length > 0) return 'gone';
    const { by, to } = endings[snapshot.status];
    await transaction.snapshots.transition('every-project', id, by, clock.now());
    const { volumeId, projectId } = snapshot;
    transaction.emit({ name: 'snapshot.changed', payload: { snapshotId: id, volumeId, projectId, status: to } });
    return { operationId: null };
  });
}
