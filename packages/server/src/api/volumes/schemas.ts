import { z } from 'zod';
import { since, strictSince } from '../../http/versioned-schema.ts';
import { dateTimeSchema } from '../date-time.ts';
import { linksSchema } from '../links.ts';
import { anything, flag, metadata, optionalUuid, sizeInGibibytes, text, word } from '../request-fields.ts';

/** An attachment as it shows in its volume. */
const volumeAttachmentSchema = z.object({
  id: z.string(),
  attachment_id: z.string(),
  volume_id: z.string(),
  server_id: z.string().nullable(),
  host_name: z.string().nullable(),
  device: z.string().nullable(),
  attached_at: dateTimeSchema.nullable(),
});

/** A volume in full. Fields that are optional here are for administrators. */
export const volumeSchema = z.object({
  id: z.string(),
  name: z.string().nullable(),
  description: z.string().nullable(),
  status: z.string(),
  size: z.int(),
  availability_zone: z.string(),
  created_at: dateTimeSchema,
  updated_at: dateTimeSchema.nullable(),
  volume_type: z.string().nullable(),
  snapshot_id: z.string().nullable(),
  source_volid: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
  links: linksSchema,
  user_id: z.string(),
  bootable: z.enum(['true', 'false']),
  encrypted: z.boolean(),
  replication_status: z.string().nullable(),
  consistencygroup_id: z.string().nullable(),
  multiattach: z.boolean(),
  attachments: z.array(volumeAttachmentSchema),
  migration_status: z.string().nullable().optional(),
  'os-vol-tenant-attr:tenant_id': z.string(),
  'os-vol-host-attr:host': z.string().nullable().optional(),
  'os-vol-mig-status-attr:migstat': z.string().nullable().optional(),
  'os-vol-mig-status-attr:name_id': z.string().nullable().optional(),
  group_id: since('3.13', z.string().nullable()),
  provider_id: since('3.21', z.string().nullable().optional()),
  shared_targets: since('3.48', z.boolean().nullable()),
  service_uuid: since('3.48', z.string().nullable()),
  cluster_name: since('3.61', z.string().nullable().optional()),
  volume_type_id: since('3.63', z.string().nullable()),
  consumes_quota: since('3.65', z.boolean()),
});

/** A volume in a short list. */
export const volumeSummarySchema = z.object({ id: z.string(), name: z.string().nullable(), links: linksSchema });

/** Body of a creation. */
export const createVolumeSchema = z.strictObject({
  volume: strictSince(
    '3.53',
    z.object({
      size: sizeInGibibytes.nullish(),
      name: text,
      display_name: text,
      description: text,
      display_description: text,
      volume_type: word,
      availability_zone: word,
      snapshot_id: optionalUuid,
      source_volid: optionalUuid,
      metadata: metadata.nullish(),
      multiattach: flag.nullish(),
      imageRef: word,
      image_id: word,
      consistencygroup_id: optionalUuid,
      group_id: since('3.13', word),
      backup_id: since('3.47', optionalUuid),
    }),
  ),
  'OS-SCH-HNT:scheduler_hints': z.record(z.string(), anything).nullish(),
});

/** Body of a change of name, description or metadata. */
export const updateVolumeSchema = z.strictObject({
  volume: z.strictObject({
    name: text,
    display_name: text,
    description: text,
    display_description: text,
    metadata: metadata.optional(),
  }),
});
