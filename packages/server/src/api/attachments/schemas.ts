import { z } from 'zod';
import { since } from '../../http/versioned-schema.ts';
import { dateTimeSchema } from '../date-time.ts';
import { anything, optionalUuid, uuid } from '../request-fields.ts';
import { connectorSchema } from './connector.ts';

/** An attachment in a short list. */
export const attachmentSummarySchema = z.object({
  id: z.string(),
  status: z.string(),
  instance: z.string().nullable(),
  volume_id: z.string(),
});

/** An attachment in full, with what its host needs to reach the volume. Times that are not yet are empty. */
export const attachmentSchema = z.object({
  ...attachmentSummarySchema.shape,
  attached_at: z.union([dateTimeSchema, z.literal('')]),
  detached_at: z.union([dateTimeSchema, z.literal('')]),
  attach_mode: z.enum(['rw', 'ro']),
  connection_info: z.record(z.string(), anything),
});

/** Body of a creation. */
export const createAttachmentSchema = z.strictObject({
  attachment: z.strictObject({
    volume_uuid: uuid,
    instance_uuid: optionalUuid,
    connector: connectorSchema.nullish(),
    mode: since('3.54', z.enum(['rw', 'ro']).optional()),
  }),
});

/** Body of an update. */
export const updateAttachmentSchema = z.strictObject({ attachment: z.strictObject({ connector: connectorSchema }) });
