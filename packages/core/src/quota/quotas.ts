import { ScoriaError } from '../error/scoria-error.ts';
import type { Operation, OperationField } from '../operation/operation.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import { allRows } from '../store/all-rows.ts';
import type { Repositories, Store } from '../store/store.ts';
import type { RequestContext } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import { extendVolume } from '../volume/extend-volume.ts';
import { builtinQuotaLimits, type QuotaLimits } from './quota.ts';

/** Bytes of a gibibyte. */
export const gibibyte = 2 ** 30;

/** How much of each resource is in use. */
export type QuotaUsage = Readonly<Record<string, { readonly inUse: number; readonly reserved: number }>>;

/** What an addition would take. */
export interface QuotaDemand {
  readonly volumes?: number;
  readonly snapshots?: number;
  /** Bytes. */
  readonly bytes: number;
  readonly volumeTypeId: string;
  /** A change of type: the project uses it already, only the type is new to it. */
  readonly otherType?: boolean;
  /** Bytes of the one volume concerned, for the limit per volume. */
  readonly volumeBytes?: number;
}

const defaultClass = 'default';

/** Quotas. What is used is a sum over the rows, which the store writes in the transaction that changes them: there is no counter that could drift. */
@wired(tokens.Store)
export class Quotas {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Limits and use of a project. Others' are for administrators. */
  async get(context: RequestContext, projectId: string): Promise<{ readonly limits: QuotaLimits; readonly usage: QuotaUsage }> {
    requireOwn(context, projectId);
    return this.#store.transaction(async (repositories) => {
      const types = await repositories.volumeTypes.list('every-project', {});
      const limits = { ...unlimited(types), ...(await this.#limits(repositories, projectId)) };
      const used = await this.#used(repositories, projectId);
      const usage = Object.keys(limits).map((resource) => [resource, { inUse: used(resource, types), reserved: 0 }] as const);
      return { limits, usage: Object.fromEntries(usage) };
    });
  }

  /** Sets limits of a project; those not named stay. */
  async update(context: RequestContext, projectId: string, limits: QuotaLimits): Promise<QuotaLimits> {
    requireAdmin(context, 'change quotas');
    return this.#store.transaction(async (repositories) => {
      await this.#check(repositories, limits);
      await repositories.quotas.setForProject(projectId, { ...(await repositories.quotas.ofProject(projectId)), ...limits });
      return this.#limits(repositories, projectId);
    });
  }

  /** The project follows the defaults again. */
  async reset(context: RequestContext, projectId: string): Promise<void> {
    requireAdmin(context, 'change quotas');
    await this.#store.transaction(({ quotas }) => quotas.resetProject(projectId));
  }

  /** Limits of projects that have none of their own, as one of them asks; for others' only administrators may ask. */
  async defaults(context: RequestContext, projectId = context.projectId): Promise<QuotaLimits> {
    requireOwn(context, projectId);
    const { quotas, volumeTypes } = this.#store.reading;
    const types = await volumeTypes.list('every-project', {});
    return { ...unlimited(types), ...builtinQuotaLimits, ...(await quotas.ofClass(defaultClass)) };
  }

  /** Sets default limits; those not named stay. */
  async updateDefaults(context: RequestContext, limits: QuotaLimits): Promise<QuotaLimits> {
    requireAdmin(context, 'change quotas');
    await this.#store.transaction(async (repositories) => {
      await this.#check(repositories, limits);
      await repositories.quotas.setForClass(defaultClass, { ...(await repositories.quotas.ofClass(defaultClass)), ...limits });
    });
    return this.defaults(context);
  }

  /** Throws `quota-exceeded` when a project may not add what is asked. Called in the transaction that adds it. */
  async require(repositories: Repositories, projectId: string, demand: QuotaDemand): Promise<void> {
    const limits = await this.#limits(repositories, projectId);
    const used = await this.#used(repositories, projectId);
    const type = await repositories.volumeTypes.get('every-project', demand.volumeTypeId);
    const gigabytes = demand.bytes / gibibyte;
    const perVolume = limits['per_volume_gigabytes'] ?? -1;
    if (demand.volumeBytes !== undefined && perVolume >= 0 && demand.volumeBytes / gibibyte > perVolume) {
      throw new ScoriaError(
        'quota-exceeded',
        `A volume of ${demand.volumeBytes / gibibyte} GiB exceeds the limit of ${perVolume} GiB a volume.`,
      );
    }
    for (const suffix of demand.otherType ? [`_${type.name}`] : ['', `_${type.name}`]) {
      for (const [resource, wanted] of [
        ['volumes', demand.volumes ?? 0],
        ['snapshots', demand.snapshots ?? 0],
        ['gigabytes', gigabytes],
      ] as const) {
        const limit = limits[resource + suffix] ?? -1;
        const inUse = used(resource + suffix, [type]);
        if (wanted > 0 && limit >= 0 && inUse + wanted > limit) {
          throw new ScoriaError(
            'quota-exceeded',
            `The quota of ${resource}${suffix} is ${limit}, ${inUse} are in use, and ${wanted} more were asked for.`,
            {
              details: { resource: resource + suffix, limit, inUse, wanted },
            },
          );
        }
      }
    }
  }

  async #limits(repositories: Repositories, projectId: string): Promise<QuotaLimits> {
    return {
      ...builtinQuotaLimits,
      ...(await repositories.quotas.ofClass(defaultClass)),
      ...(await repositories.quotas.ofProject(projectId)),
    };
  }

  /** A function that tells the use of a resource by name, as {@link QuotaLimits} has it. */
  async #used(repositories: Repositories, projectId: string) {
    const volumes = await repositories.volumes.usage(projectId);
    const snapshots = await repositories.snapshots.usage(projectId);
    const growing = await allRows<Operation, OperationField>(
      (query) => repositories.operations.list({ projectId }, query),
      [
        { field: 'name', op: 'eq', value: extendVolume.name },
        { field: 'status', op: 'in', value: ['running', 'compensating'] },
      ],
    );
    // An extend takes its quota when it is accepted, its volume has the size only when it is done.
    const growth = growing.reduce((sum, { input }) => {
      const { size, from } = extendVolume.input.parse(input);
      return sum + size - from;
    }, 0);
    return (resource: string, types: readonly { readonly id: string; readonly name: string }[]): number => {
      const type = types.find(
        ({ name }) => resource.endsWith(`_${name}`) && perType.some((each) => resource === `${each}_${name}`),
      );
      const of = <Row extends { readonly volumeTypeId: string }>(rows: readonly Row[]) =>
        type ? rows.filter((row) => row.volumeTypeId === type.id) : rows;
      const what = type ? resource.slice(0, -type.name.length - 1) : resource;
      const sum = (rows: readonly { readonly count: number; readonly bytes: number }[], key: 'count' | 'bytes') =>
        rows.reduce((total, row) => total + row[key], 0);
      if (what === 'volumes') return sum(of(volumes), 'count');
      if (what === 'snapshots') return sum(of(snapshots), 'count');
      if (what === 'gigabytes') return (sum(of(volumes), 'bytes') + sum(of(snapshots), 'bytes') + (type ? 0 : growth)) / gibibyte;
      return 0;
    };
  }

  async #check(repositories: Repositories, limits: QuotaLimits): Promise<void> {
    const types = await repositories.volumeTypes.list('every-project', {});
    const known = new Set([
      ...Object.keys(builtinQuotaLimits),
      ...types.flatMap(({ name }) => perType.map((resource) => `${resource}_${name}`)),
    ]);
    for (const [resource, limit] of Object.entries(limits)) {
      if (!known.has(resource)) throw new ScoriaError('invalid-input', `There is no quota of "${resource}".`);
      if (!Number.isInteger(limit) || limit < -1 || limit > 2 ** 31 - 1) {
        throw new ScoriaError(
          'invalid-input',
          `The quota of ${resource} must be an integer from -1 (no limit) to 2147483647, not ${limit}.`,
        );
      }
    }
  }
}

const perType = ['volumes', 'snapshots', 'gigabytes'] as const;

/** What volume types are limited to unless somebody sets it. */
function unlimited(types: readonly { readonly name: string }[]): QuotaLimits {
  return Object.fromEntries(types.flatMap(({ name }) => perType.map((resource) => [`${resource}_${name}`, -1] as const)));
}

function requireOwn(context: RequestContext, projectId: string): void {
  if (context.isAdmin || projectId === context.projectId) return;
  throw new ScoriaError('not-permitted', `Only an administrator may see the quotas of project ${projectId}.`);
}
