import type { Snapshot } from '@scoria/core';
import type { z } from 'zod';
import { dateTime, optionalDateTime } from '../date-time.ts';
import { gibibytes } from '../request-fields.ts';
import type { snapshotDetailSchema, snapshotSchema, snapshotSummarySchema } from './schemas.ts';

/** A snapshot in a short list. */
export function snapshotSummaryView(snapshot: Snapshot): z.input<typeof snapshotSummarySchema> {
  return {
    id: snapshot.id,
    name: snapshot.name,
    description: snapshot.description,
    status: snapshot.status,
    size: gibibytes(snapshot.size),
    volume_id: snapshot.volumeId,
    metadata: { ...snapshot.metadata },
    created_at: dateTime(snapshot.createdAt),
    updated_at: optionalDateTime(snapshot.updatedAt),
  };
}

/** A snapshot as it is answered when it was made or changed. */
export function snapshotView(snapshot: Snapshot): z.input<typeof snapshotSchema> {
  return { ...snapshotSummaryView(snapshot), group_snapshot_id: null, user_id: snapshot.userId, consumes_quota: true };
}

/** A snapshot in full. */
export function snapshotDetailView(snapshot: Snapshot): z.input<typeof snapshotDetailSchema> {
  return {
    ...snapshotView(snapshot),
    'os-extended-snapshot-attributes:project_id': snapshot.projectId,
    'os-extended-snapshot-attributes:progress': snapshot.status === 'creating' ? '0%' : '100%',
  };
}
