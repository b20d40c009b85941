import { qosConsumers } from '@scoria/core';
import { z } from 'zod';

const consumer = z.enum(qosConsumers);

/** A QoS spec. */
export const qosSpecSchema = z.object({
  id: z.string(),
  name: z.string(),
  consumer,
  specs: z.record(z.string(), z.string()),
});

/** A volume type that has a QoS spec. */
export const associationSchema = z.object({ association_type: z.literal('volume_type'), name: z.string(), id: z.string() });

const isKey = (text: string): boolean => /^[a-zA-Z0-9\-_:. /]{1,255}$/.test(text);
const value = z.union([z.string().max(255), z.int().transform(String)]);

/** Keys beside the fields that have a name of their own. */
const withSpecs = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z
    .object(shape)
    .catchall(value)
    .refine((body) => Object.keys(body).every(isKey), 'keys have letters, digits, blanks and -_:./, 255 at most');

/** Body of a creation. */
export const createQosSpecSchema = z.strictObject({
  qos_specs: withSpecs({ name: z.string().trim().min(1).max(255), consumer: consumer.optional() }),
});

/** Body of a change; the name stays. */
export const updateQosSpecSchema = z.strictObject({
  qos_specs: withSpecs({ consumer: consumer.optional(), name: z.never().optional() }),
});

/** Body of a removal of keys. */
export const deleteKeysSchema = z.strictObject({ keys: z.array(z.string().min(1).max(255)).max(1000) });
