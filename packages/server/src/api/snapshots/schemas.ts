import { z } from 'zod';
import { since } from '../../http/versioned-schema.ts';
import { dateTimeSchema } from '../date-time.ts';
import { flag, metadata, text, uuid } from '../request-fields.ts';

const fields = {
  id: z.string(),
  name: z.string().nullable(),
  description: z.string().nullable(),
  status: z.string(),
  size: z.int(),
  volume_id: z.string(),
  metadata: z.record(z.string(), z.string()),
  created_at: dateTimeSchema,
  updated_at: dateTimeSchema.nullable(),
};

/** A snapshot in a short list. */
export const snapshotSummarySchema = z.object(fields);

/** A snapshot as it is answered when it was made or changed. */
export const snapshotSchema = z.object({
  ...fields,
  group_snapshot_id: since('3.14', z.string().nullable()),
  user_id: since('3.41', z.string()),
  consumes_quota: since('3.65', z.boolean()),
});

/** A snapshot in full. */
export const snapshotDetailSchema = z.object({
  ...snapshotSchema.shape,
  'os-extended-snapshot-attributes:project_id': z.string(),
  'os-extended-snapshot-attributes:progress': z.string(),
});

/** Body of a creation. */
export const createSnapshotSchema = z.strictObject({
  snapshot: z.strictObject({
    volume_id: uuid,
    name: text,
    display_name: text,
    description: text,
    display_description: text,
    force: flag.nullish(),
    metadata: metadata.nullish(),
  }),
});

/** Body of a change. */
export const updateSnapshotSchema = z.strictObject({
  snapshot: z
    .strictObject({ name: text, display_name: text, description: text, display_description: text })
    .refine((body) => Object.keys(body).length > 0, 'There is nothing to change'),
});
