import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { nothing, route, type CallBase } from '../../http/route.ts';
import { since } from '../../http/versioned-schema.ts';
import { flagOf } from '../listing.ts';
import { anything } from '../request-fields.ts';

const usage = z.object({ limit: z.int(), in_use: z.int(), reserved: z.int(), allocated: z.int() });
const limitsSchema = z.object({ id: z.string().optional() }).catchall(z.union([z.int(), z.string()]));

/** Words that travel in the body beside the limits. */
const notLimits = ['id', 'tenant_id', 'force', 'skip_validation'];

const limit = z.union([
  z.int().min(-1).max(2_147_483_647),
  z
    .string()
    .regex(/^-?[0-9]{1,10}$/)
    .transform(Number)
    .pipe(z.int().min(-1).max(2_147_483_647)),
]);

/** Limits as they are written: anything but the words beside them is the name of a resource. */
const limitsBody = z
  .record(z.string().regex(/^[a-zA-Z0-9\-_:. ]{1,300}$/), anything)
  .transform((body) => Object.fromEntries(Object.entries(body).filter(([name]) => !notLimits.includes(name))))
  .pipe(z.record(z.string(), limit));

type LimitsAndUsage = Awaited<ReturnType<CallBase['storage']['quotas']['get']>>;

function withUsage({ limits, usage: used }: LimitsAndUsage) {
  const entries = Object.entries(limits).map(([name, value]) => {
    const present = used[name] ?? { inUse: 0, reserved: 0 };
    return [name, { limit: value, in_use: Math.ceil(present.inUse), reserved: present.reserved, allocated: 0 }] as const;
  });
  return Object.fromEntries(entries);
}

/** Limits of projects. */
const quotaSetRoutes = [
  route({
    method: 'GET',
    path: '/os-quota-sets/:id',
    summary: 'Limits of a project; `usage=True` adds what is used',
    query: z.object({ usage: z.string().optional() }),
    response: { 200: z.object({ quota_set: z.object({ id: z.string() }).catchall(z.union([z.int(), usage, z.string()])) }) },
    async handler({ storage, context, params, query }) {
      const figures = await storage.quotas.get(context, params.id);
      const set = flagOf('usage', query.usage) ? withUsage(figures) : figures.limits;
      return { quota_set: { ...set, id: params.id } };
    },
  }),
  route({
    method: 'GET',
    path: '/os-quota-sets/:id/defaults',
    summary: 'Limits of a project for which nothing was set',
    response: { 200: z.object({ quota_set: limitsSchema }) },
    handler: async ({ storage, context, params }) => ({
      quota_set: { ...(await storage.quotas.defaults(context, params.id)), id: params.id },
    }),
  }),
  route({
    method: 'PUT',
    path: '/os-quota-sets/:id',
    summary: 'Sets limits of a project',
    admin: true,
    body: z.strictObject({ quota_set: limitsBody }),
    response: { 200: z.object({ quota_set: limitsSchema }) },
    async handler({ storage, context, params, body }) {
      await storage.quotas.update(context, params.id, body.quota_set);
      return { quota_set: { ...(await storage.quotas.get(context, params.id)).limits } };
    },
  }),
  route({
    method: 'DELETE',
    path: '/os-quota-sets/:id',
    summary: 'Lets a project follow the defaults again',
    admin: true,
    response: { 200: nothing },
    async handler({ storage, context, params }) {
      await storage.quotas.reset(context, params.id);
    },
  }),
];

/** The class that all projects follow; Cinder uses no other. */
const defaultClass = 'default';

const quotaClassRoutes = [
  route({
    method: 'GET',
    path: '/os-quota-class-sets/:id',
    summary: 'Limits that projects have by default',
    admin: true,
    response: { 200: z.object({ quota_class_set: limitsSchema }) },
    async handler({ storage, context, params }) {
      const limits = params.id === defaultClass ? await storage.quotas.defaults(context) : {};
      return { quota_class_set: { ...limits, id: params.id } };
    },
  }),
  route({
    method: 'PUT',
    path: '/os-quota-class-sets/:id',
    summary: 'Sets the limits that projects have by default',
    admin: true,
    body: z.strictObject({ quota_class_set: limitsBody }),
    response: { 200: z.object({ quota_class_set: limitsSchema }) },
    async handler({ storage, context, params, body }) {
      if (params.id !== defaultClass) {
        throw new ScoriaError('not-supported', `There is no quota class ${params.id}; projects follow the class ${defaultClass}`);
      }
      await storage.quotas.updateDefaults(context, body.quota_class_set);
      return { quota_class_set: { ...(await storage.quotas.defaults(context)) } };
    },
  }),
];

const absolute = z.object({
  maxTotalVolumes: z.int(),
  maxTotalVolumeGigabytes: z.int(),
  maxTotalSnapshots: z.int(),
  maxTotalBackups: z.int(),
  maxTotalBackupGigabytes: z.int(),
  totalVolumesUsed: z.int(),
  totalGigabytesUsed: z.int(),
  totalSnapshotsUsed: z.int(),
  totalBackupsUsed: z.int(),
  totalBackupGigabytesUsed: z.int(),
});

const limitsRoute = route({
  method: 'GET',
  path: '/limits',
  summary: 'Limits and use of a project, for the project itself',
  query: z.object({ project_id: since('3.39', z.string().optional()), tenant_id: since('3.39', z.string().optional()) }),
  response: { 200: z.object({ limits: z.object({ rate: z.array(z.never()), absolute }) }) },
  async handler({ storage, context, query }) {
    const other = context.isAdmin ? (query.project_id ?? query.tenant_id) : undefined;
    const { limits, usage: used } = await storage.quotas.get(context, other ?? context.projectId);
    const maximum = (name: string) => limits[name] ?? -1;
    const inUse = (name: string) => Math.ceil(used[name]?.inUse ?? 0);
    return {
      limits: {
        rate: [],
        absolute: {
          maxTotalVolumes: maximum('volumes'),
          maxTotalVolumeGigabytes: maximum('gigabytes'),
          maxTotalSnapshots: maximum('snapshots'),
          maxTotalBackups: maximum('backups'),
          maxTotalBackupGigabytes: maximum('backup_gigabytes'),
          totalVolumesUsed: inUse('volumes'),
          totalGigabytesUsed: inUse('gigabytes'),
          totalSnapshotsUsed: inUse('snapshots'),
          totalBackupsUsed: inUse('backups'),
          totalBackupGigabytesUsed: inUse('backup_gigabytes'),
        },
      },
    };
  },
});

/** Quotas of projects, their defaults, and limits. */
export const quotaRoutes = [...quotaSetRoutes, ...quotaClassRoutes, limitsRoute];
