import type { QosSpec } from '@scoria/core';
import type { z } from 'zod';
import type { qosSpecSchema } from './schemas.ts';

/** A QoS spec. */
export function qosSpecView({ id, name, consumer, specs }: QosSpec): z.input<typeof qosSpecSchema> {
  return { id, name, consumer, specs: { ...specs } };
}
