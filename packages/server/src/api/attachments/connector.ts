import type { AttachMode, Connector } from '@scoria/core';
import { z } from 'zod';
import { flag } from '../request-fields.ts';

const name = z.string().max(255).nullish();

/** What a host says of itself. Many words go along that other transports need; they are let pass. */
export const connectorSchema = z.looseObject({
  initiator: z.string().max(223).nullish(),
  host: name,
  ip: name,
  multipath: flag.nullish(),
  mountpoint: name,
  mode: z.enum(['rw', 'ro']).nullish().catch(null),
});

/** A connector as core knows it, and the two words about the attachment that travel with it. */
export function connectorOf(body: Partial<z.output<typeof connectorSchema>>): {
  readonly connector: Connector;
  readonly mode: AttachMode | undefined;
  readonly mountpoint: string | undefined;
} {
  return {
    connector: {
      initiator: body.initiator ?? undefined,
      host: body.host ?? undefined,
      ip: body.ip ?? undefined,
      multipath: body.multipath ?? undefined,
    },
    mode: body.mode ?? undefined,
    mountpoint: body.mountpoint ?? undefined,
  };
}
