import type { BackendState } from '@scoria/core';
import { z } from 'zod';
import { route } from '../../http/route.ts';

const isoTime = z.iso.datetime();
const isoOrNull = (at: number | null) => (at === null ? null : new Date(at).toISOString());
const bytes = z.number().describe('bytes');
const faultFields = { code: z.string(), message: z.string(), remedy: z.string() };

const backendSchema = z.object({
  name: z.string().describe('its name in the configuration'),
  host: z.string().describe('host@backend'),
  id: z.string().nullable().describe('UUID found on the storage; null when it has never been read'),
  availability_zone: z.string(),
  state: z.enum(['up', 'down']),
  fault: z.object(faultFields).nullable().describe("why it is down, in its driver's words"),
  since: isoTime.nullable().describe('when it came into this state; null when nobody knows'),
  reported_at: isoTime.nullable().describe('the last answer, good or bad; null before the first'),
  enabled: z.boolean(),
  disabled_reason: z.string().nullable(),
  driver_capabilities: z.array(z.string()),
  holds_limits: z
    .boolean()
    .nullable()
    .describe('its transport holds volumes to the limits of their QoS spec; null when another process serves it'),
  pools: z
    .array(
      z.object({
        name: z.string(),
        total: bytes.nullable(),
        free: bytes.nullable(),
        claimed: bytes,
        placements: z.int().describe('volumes and snapshots that lie there'),
        fault: z
          .object({ ...faultFields, since: isoTime.nullable() })
          .nullable()
          .describe('why nothing can be placed there, though the backend is up'),
      }),
    )
    .describe('total and free are null for a pool that has a fault, or that the backend does not report'),
});

function backendView(backend: BackendState): z.input<typeof backendSchema> {
  const { name, host, id, state, fault, enabled, pools } = backend;
  return {
    name,
    host,
    id,
    availability_zone: backend.availabilityZone,
    state,
    fault,
    since: isoOrNull(backend.since),
    reported_at: isoOrNull(backend.reportedAt),
    enabled,
    disabled_reason: backend.disabledReason,
    driver_capabilities: [...backend.driverCapabilities],
    holds_limits: backend.holdsLimits,
    pools: pools.map((pool) => ({ ...pool, fault: pool.fault && { ...pool.fault, since: isoOrNull(pool.fault.since) } })),
  };
}

/** Below `/scoria/v1`, for administrators: the backends and what is wrong with them. */
export const backendRoutes = [
  route({
    method: 'GET',
    path: '/backends',
    summary: 'The backends, also those that have never been in service: state, fault and remedy, capacity',
    response: { 200: z.object({ backends: z.array(backendSchema) }) },
    async handler({ storage, context }) {
      return { backends: (await storage.backends.list(context)).map(backendView) };
    },
  }),
];
