import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import type { Operations } from '../operation/operations.ts';
import { hostString, type NamedPlace, placeNamed, requireCapability } from '../placement/backend.ts';
import type { Backends } from '../placement/backends.ts';
import type { Clock } from '../platform/clock.ts';
import { withDeadline } from '../platform/deadline.ts';
import type { Random } from '../platform/random.ts';
import type { Settings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Quotas } from '../quota/quotas.ts';
import { orMissing } from '../store/or-missing.ts';
import type { PoolChoice, Scheduler } from '../scheduling/scheduler.ts';
import type { Repositories, Store } from '../store/store.ts';
import { type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import type { ManageableObject } from './driver.ts';
import type { VolumeType } from '../volume-type/volume-type.ts';
import { checkMetadata, type Labels } from './labels.ts';
import { manageVolume } from './manage-volume.ts';
import { newVolume } from './new-volume.ts';
import { beginUnmanaging } from './unmanage-volume.ts';
import type { Volume } from './volume.ts';

/** A volume that exists on a backend and is to become ours. */
export interface ExistingVolume extends Labels {
  /** Host string of the pool that it lies in, `host@backend#pool`. The pool may be left out where there is only one. */
  readonly host: string;
  /** Names it to the driver, as {@link ManageableObject.reference}; 1 to 1,024 characters. */
  readonly reference: string;
  /** Id or name. Default: the default type. */
  readonly volumeType?: string | null | undefined;
  /** Default: that of the backend; another one is `invalid-input`. */
  readonly availabilityZone?: string | null | undefined;
  readonly bootable?: boolean | undefined;
}

/** What a backend has that could be taken over, or is ours already. */
export interface ManageableVolume extends ManageableObject {
  /** The volume that it is already. */
  readonly volumeId: string | null;
}

/** Order and part of a list of manageable volumes. */
export interface ManageablePage {
  /** Default: by reference, descending, as in Cinder. */
  readonly sort?: readonly { readonly field: 'reference' | 'size'; readonly direction: 'asc' | 'desc' }[] | undefined;
  /** Reference of the last one before the page. */
  readonly marker?: string | undefined;
  readonly offset?: number | undefined;
  readonly limit?: number | undefined;
}

/** Longest time for a backend to list what it has, ms. */
const longestListing = 60_000;
/** A list is sorted in memory. */
const mostListed = 100_000;

/** Takes volumes over that exist on backends, and lets go of ours. For administrators. */
@wired(
  tokens.Store,
  tokens.Operations,
  tokens.Backends,
  tokens.Scheduler,
  tokens.Quotas,
  tokens.Settings,
  tokens.Clock,
  tokens.Random,
)
export class ManagedVolumes {
  readonly #store: Store;
  readonly #operations: Operations;
  readonly #backends: Backends;
  readonly #scheduler: Scheduler;
  readonly #quotas: Quotas;
  readonly #settings: Settings;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(
    store: Store,
    operations: Operations,
    backends: Backends,
    scheduler: Scheduler,
    quotas: Quotas,
    settings: Settings,
    clock: Clock,
    random: Random,
  ) {
    this.#store = store;
    this.#operations = operations;
    this.#backends = backends;
    this.#scheduler = scheduler;
    this.#quotas = quotas;
    this.#settings = settings;
    this.#clock = clock;
    this.#random = random;
  }

  /**
   * What lies on a backend, or in one pool of it: what can be taken over, and what cannot, with the reason.
   * `backend-unavailable` unless this process serves the backend.
   */
  async list(context: RequestContext, host: string, page: ManageablePage = {}): Promise<readonly ManageableVolume[]> {
    requireAdmin(context, 'list what can be managed');
    const place = await manageablePlace(this.#store.reading, host);
    const objects = await this.#objects(place);
    const { sort = [{ field: 'reference', direction: 'desc' }], marker, offset = 0, limit } = page;
    const sorted = objects.toSorted((a, b) => {
      for (const { field, direction } of sort) {
        const order = a[field] < b[field] ? -1 : a[field] > b[field] ? 1 : 0;
        if (order !== 0) return direction === 'asc' ? order : -order;
      }
      return 0;
    });
    const last = marker === undefined ? -1 : sorted.findIndex(({ reference }) => reference === marker);
    if (marker !== undefined && last < 0) throw new ScoriaError('not-found', `Marker ${marker} is nothing on ${host}.`);
    const begin = last + 1 + offset;
    const shown = sorted.slice(begin, limit === undefined ? undefined : begin + limit);
    return Promise.all(shown.map(async (object) => ({ ...object, volumeId: await this.#volumeOf(object) })));
  }

  /**
   * Accepts a volume that exists on a backend; its status goes from `managing` to `available` with the size that it
   * really has, or to `error_managing` with a user message that tells why, and the backend's volume stays as it was.
   */
  async manage(
    context: RequestContext,
    request: ExistingVolume,
  ): Promise<{ readonly volume: Volume; readonly operationId: string }> {
    requireAdmin(context, 'manage volumes');
    const { host, reference, availabilityZone } = request;
    checkMetadata(request.metadata ?? {});
    const id = this.#random.uuid();
    const { operationId, resourceId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const now = this.#clock.now();
      const { backend, pool: named } = await manageablePlace(transaction, host);
      const pool = named ?? (backend.pools.length === 1 ? backend.pools[0]?.name : undefined);
      if (pool === undefined) {
        const names = backend.pools.map(({ name }) => hostString(backend, name)).join(', ');
        throw new ScoriaError(
          'invalid-input',
          `Host ${host} has several pools; name one of ${names || 'them, when it reports any'}.`,
        );
      }
      if (availabilityZone && availabilityZone !== backend.availabilityZone) {
        throw new ScoriaError(
          'invalid-input',
          `Host ${host} is in availability zone ${backend.availabilityZone}, not ${availabilityZone}.`,
        );
      }
      const type = request.volumeType
        ? await transaction.volumeTypes.resolve(tenancyOf(context), request.volumeType)
        : await transaction.volumeTypes.resolve('every-project', this.#settings.defaultVolumeType);
      await this.#requireFit(transaction, type, { backendId: backend.id, pool });
      const { projectId } = context;
      await this.#quotas.require(transaction, projectId, { volumes: 1, bytes: 0, volumeTypeId: type.id });
      await transaction.volumes.insert(
        newVolume(context, request, type, {
          id,
          // Known when the driver has told it.
          size: 0,
          status: 'managing',
          availabilityZone: backend.availabilityZone,
          bootable: request.bootable,
          createdAt: now,
        }),
      );
      transaction.emit({ name: 'volume.changed', payload: { volumeId: id, projectId, status: 'managing' } });
      return this.#operations.begin(transaction, manageVolume, context, {
        input: { volumeId: id, backendId: backend.id, pool, reference },
        resourceKind: 'volume',
        resourceId: id,
        uses: [{ kind: 'volume', id, mode: 'change' }],
        backendId: backend.id,
        projectId,
      });
    });
    return { volume: await this.#store.reading.volumes.get(tenancyOf(context), resourceId), operationId };
  }

  /** Forgets a volume without snapshots that nobody uses; it stays on its backend with its content. */
  async unmanage(context: RequestContext, id: string): Promise<{ readonly operationId: string }> {
    requireAdmin(context, 'unmanage volumes');
    const { operationId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const volume = await transaction.volumes.get(tenancyOf(context), id);
      return beginUnmanaging(transaction, this.#operations, context, volume, this.#clock.now());
    });
    return { operationId };
  }

  /** Throws unless the pool can hold volumes of the type. The volume has its space already, so that is not asked about. */
  async #requireFit(transaction: Transaction, { name, extraSpecs }: VolumeType, place: PoolChoice): Promise<void> {
    const asked = { size: 0, availabilityZone: null, extraSpecs };
    const [refusal] = (await this.#scheduler.explain(transaction, asked, place)).refused;
    if (!refusal) return;
    const { pool, by, reason } = refusal;
    throw by === 'service'
      ? new ScoriaError('backend-unavailable', `${pool} cannot be used now: ${reason}.`)
      : new ScoriaError('invalid-input', `${pool} cannot hold volumes of type ${name}: ${reason} (${by}).`);
  }

  async #objects({ backend, pool }: NamedPlace): Promise<ManageableObject[]> {
    const { name, driver } = this.#backends.get(backend.id);
    return withDeadline(this.#clock, longestListing, `The list of what is on ${name}`, async (signal) => {
      const objects: ManageableObject[] = [];
      for await (const object of driver.listManageable?.({ signal, fence: 0, progress: () => {} }) ?? []) {
        signal.throwIfAborted();
        if (pool === undefined || object.pool === pool) objects.push(object);
        if (objects.length > mostListed) {
          throw new ScoriaError('not-supported', `There are more than ${mostListed} volumes on ${name}, too many to be listed.`, {
            remedy: 'List one pool, or take the reference from the backend itself.',
          });
        }
      }
      return objects;
    });
  }

  async #volumeOf({ placementId }: ManageableObject): Promise<string | null> {
    if (placementId === null) return null;
    const placement = await orMissing(this.#store.reading.placements.get(placementId));
    return placement?.kind === 'volume' ? placement.resourceId : null;
  }
}

/** The place that a host string names, on a backend that can take volumes over. */
async function manageablePlace(repositories: Repositories, host: string): Promise<NamedPlace> {
  const place = placeNamed(await repositories.backends.list(), host);
  if (!place) throw new ScoriaError('invalid-input', `There is no host ${host}.`);
  requireCapability(place.backend, 'manage');
  return place;
}
