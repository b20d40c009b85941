import { z } from 'zod';
import { flag, text } from '../request-fields.ts';

/** A volume type. */
export const volumeTypeSchema = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string().nullable(),
  is_public: z.boolean(),
  'os-volume-type-access:is_public': z.boolean(),
  extra_specs: z.record(z.string(), z.string()),
  qos_specs_id: z.string().nullable().optional(),
});

const name = z.string().trim().min(1).max(255);

/** Extra specs, as they are written. */
export const extraSpecs = z.record(z.string().regex(/^[a-zA-Z0-9\-_:. /]{1,255}$/), z.string().max(255));

/** Body of a creation. */
export const createVolumeTypeSchema = z.strictObject({
  volume_type: z.strictObject({
    name,
    description: text,
    extra_specs: z.record(z.string().regex(/^[a-zA-Z0-9\-_:. /]{1,255}$/), z.string().max(255).nullable()).optional(),
    'os-volume-type-access:is_public': flag.optional(),
  }),
});

/** Body of a change. */
export const updateVolumeTypeSchema = z.strictObject({
  volume_type: z.strictObject({ name: name.nullish(), description: text, is_public: flag.optional() }),
});
