import { type ListedPool, ScoriaError, type Service } from '@scoria/core';
import { z } from 'zod';
import { route } from '../../http/route.ts';
import { since } from '../../http/versioned-schema.ts';
import { dateTime, dateTimeSchema } from '../date-time.ts';
import { flagOf } from '../listing.ts';
import { anything, exactGibibytes } from '../request-fields.ts';

const serviceSchema = z.object({
  binary: z.string(),
  host: z.string(),
  zone: z.string(),
  status: z.enum(['enabled', 'disabled']),
  state: z.enum(['up', 'down']),
  updated_at: dateTimeSchema,
  disabled_reason: z.string().nullable(),
  cluster: since('3.7', z.string().nullable()),
  replication_status: z.string().nullable().optional(),
  active_backend_id: z.string().nullable().optional(),
  frozen: z.boolean().optional(),
  backend_state: since('3.49', z.string().optional()),
});

function serviceView(service: Service & { readonly state: 'up' | 'down' }): z.input<typeof serviceSchema> {
  return {
    binary: service.binary,
    host: service.host,
    zone: service.availabilityZone,
    status: service.enabled ? 'enabled' : 'disabled',
    state: service.state,
    updated_at: dateTime(service.seenAt),
    disabled_reason: service.disabledReason,
    cluster: null,
    ...(service.binary === 'cinder-volume' && {
      replication_status: 'not-capable',
      active_backend_id: null,
      frozen: false,
      backend_state: service.state,
    }),
  };
}

const named = z.object({
  host: z.string().min(1).max(255),
  binary: z.string().max(255).optional(),
  service: z.string().max(255).optional(),
});

const changed = z.object({
  host: z.string(),
  service: z.string(),
  binary: z.string(),
  status: z.enum(['enabled', 'disabled']),
  disabled: z.boolean(),
  disabled_reason: z.string().optional(),
});

function binaryOf(body: z.output<typeof named>): string {
  const binary = body.binary || body.service;
  if (binary) return binary;
  throw new ScoriaError('invalid-input', 'Invalid input for field/attribute body. binary, or the older word service, is needed');
}

/** Services. */
const serviceRoutes = [
  route({
    method: 'GET',
    path: '/os-services',
    summary: 'Lists the services, with their last sign of life',
    admin: true,
    query: z.object({ host: z.string().optional(), binary: z.string().optional() }),
    response: { 200: z.object({ services: z.array(serviceSchema) }) },
    async handler({ storage, context, query }) {
      // A host stands for the services of all its backends, as in Cinder.
      const ofHost = (host: string) => query.host === undefined || host === query.host || host.startsWith(`${query.host}@`);
      const services = (await storage.services.list(context)).filter(
        (service) => ofHost(service.host) && (query.binary === undefined || service.binary === query.binary),
      );
      return { services: services.map(serviceView) };
    },
  }),
  route({
    method: 'PUT',
    path: '/os-services/enable',
    summary: 'Lets a service take work again',
    admin: true,
    body: named,
    response: { 200: changed },
    async handler({ storage, context, body }) {
      const binary = binaryOf(body);
      await storage.services.setEnabled(context, binary, body.host, true);
      return { host: body.host, service: body.service ?? '', binary, status: 'enabled' as const, disabled: false };
    },
  }),
  route({
    method: 'PUT',
    path: '/os-services/disable',
    summary: 'Keeps new work from a service',
    admin: true,
    body: named,
    response: { 200: changed },
    async handler({ storage, context, body }) {
      const binary = binaryOf(body);
      await storage.services.setEnabled(context, binary, body.host, false);
      return { host: body.host, service: body.service ?? '', binary, status: 'disabled' as const, disabled: true };
    },
  }),
  route({
    method: 'PUT',
    path: '/os-services/disable-log-reason',
    summary: 'Keeps new work from a service, and says why',
    admin: true,
    body: z.object({ ...named.shape, disabled_reason: z.string().trim().min(1).max(255) }),
    response: { 200: changed },
    async handler({ storage, context, body }) {
      const binary = binaryOf(body);
      await storage.services.setEnabled(context, binary, body.host, false, body.disabled_reason);
      return {
        host: body.host,
        service: body.service ?? '',
        binary,
        status: 'disabled' as const,
        disabled: true,
        disabled_reason: body.disabled_reason,
      };
    },
  }),
];

const poolSchema = z.object({ name: z.string(), capabilities: z.record(z.string(), anything).optional() });

function capabilities({ report, backendName, allocated, placements, hostString, availabilityZone, holdsLimits }: ListedPool) {
  return {
    storage_protocol: 'iSCSI',
    vendor_name: 'Scoria',
    ...report.capabilities,
    volume_backend_name: backendName,
    pool_name: report.name,
    location_info: hostString,
    availability_zone: availabilityZone,
    total_capacity_gb: exactGibibytes(report.fault ? 0 : report.total),
    free_capacity_gb: exactGibibytes(report.fault ? 0 : report.free),
    backend_state: report.fault ? 'down' : 'up',
    allocated_capacity_gb: exactGibibytes(allocated),
    provisioned_capacity_gb: exactGibibytes(allocated),
    reserved_percentage: Math.round(report.reserved * 100),
    max_over_subscription_ratio: String(report.maxOverSubscription),
    thin_provisioning_support: report.thin,
    thick_provisioning_support: !report.thin,
    total_volumes: placements,
    multiattach: true,
    QoS_support: holdsLimits,
  };
}

const backendCapabilitiesSchema = z.object({
  namespace: z.string(),
  vendor_name: z.string().nullable(),
  volume_backend_name: z.string().nullable(),
  pool_name: z.null(),
  driver_version: z.null(),
  storage_protocol: z.string().nullable(),
  display_name: z.null(),
  description: z.null(),
  visibility: z.null(),
  replication_targets: z.array(z.never()),
  properties: z.object({}),
});

/** Pools and zones. */
const placeRoutes = [
  route({
    method: 'GET',
    path: '/scheduler-stats/get_pools',
    summary: 'The pools as the scheduler sees them',
    admin: true,
    query: z.object({
      detail: z.string().optional(),
      name: since('3.28', z.string().optional()),
      'volume-type': since('3.35', z.string().optional()),
      volume_type: since('3.35', z.string().optional()),
    }),
    response: { 200: z.object({ pools: z.array(poolSchema) }) },
    async handler({ storage, context, query }) {
      const typeName = query['volume-type'] ?? query.volume_type;
      const type = typeName === undefined ? undefined : await storage.volumeTypes.get(context, typeName);
      const backend = type?.extraSpecs.volume_backend_name;
      const pools = (await storage.pools.list(context)).filter(
        (pool) =>
          (query.name === undefined || pool.hostString === query.name) && (backend === undefined || pool.backendName === backend),
      );
      const detail = flagOf('detail', query.detail);
      return { pools: pools.map((pool) => ({ name: pool.hostString, ...(detail && { capabilities: capabilities(pool) }) })) };
    },
  }),
  route({
    method: 'GET',
    path: '/capabilities/:host',
    summary: 'What a backend is and can do, by the host of its service',
    admin: true,
    response: { 200: backendCapabilitiesSchema },
    async handler({ storage, context, params }) {
      const services = await storage.services.list(context);
      if (!services.some(({ host, binary }) => binary === 'cinder-volume' && host === params.host)) {
        throw new ScoriaError('not-found', `Can't find service: ${params.host}`);
      }
      const [pool] = (await storage.pools.list(context)).filter(({ hostString }) => hostString.startsWith(`${params.host}#`));
      const told = pool && capabilities(pool);
      return {
        namespace: `OS::Storage::Capabilities::${params.host}`,
        vendor_name: told?.vendor_name ?? null,
        volume_backend_name: told?.volume_backend_name ?? null,
        pool_name: null,
        driver_version: null,
        storage_protocol: told?.storage_protocol ?? null,
        display_name: null,
        description: null,
        visibility: null,
        replication_targets: [],
        properties: {},
      };
    },
  }),
  route({
    method: 'GET',
    path: '/os-availability-zone',
    summary: 'The availability zones',
    response: {
      200: z.object({
        availabilityZoneInfo: z.array(z.object({ zoneName: z.string(), zoneState: z.object({ available: z.boolean() }) })),
      }),
    },
    async handler({ storage }) {
      const zones = await storage.pools.availabilityZones();
      return { availabilityZoneInfo: zones.map(({ name, available }) => ({ zoneName: name, zoneState: { available } })) };
    },
  }),
];

/** Services, pools and availability zones. */
export const infrastructureRoutes = [...serviceRoutes, ...placeRoutes];
