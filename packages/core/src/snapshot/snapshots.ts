import { ScoriaError } from '../error/scoria-error.ts';
import type { Operations } from '../operation/operations.ts';
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Quotas } from '../quota/quotas.ts';
import type { ListQuery } from '../store/list-query.ts';
import type { Store } from '../store/store.ts';
import { listTenancy, type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import { changedLabels, checkMetadata, type Labels, type Metadata, withMetadata, withoutMetadataKey } from '../volume/labels.ts';
import { createSnapshot } from './create-snapshot.ts';
import { deleteSnapshot } from './delete-snapshot.ts';
import type { Snapshot, SnapshotField, SnapshotPatch } from './snapshot.ts';

/** What a new snapshot may say. */
export interface NewSnapshot extends Labels {
  readonly volumeId: string;
  /** Allows a snapshot of a volume in use; it is one point in time all the same. */
  readonly force?: boolean | undefined;
}

interface ListOptions {
  /** For administrators: not only the own project's. */
  readonly allProjects?: boolean;
}

/** Snapshots of volumes. */
@wired(tokens.Store, tokens.Operations, tokens.Quotas, tokens.Clock, tokens.Random)
export class Snapshots {
  readonly #store: Store;
  readonly #operations: Operations;
  readonly #quotas: Quotas;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(store: Store, operations: Operations, quotas: Quotas, clock: Clock, random: Random) {
    this.#store = store;
    this.#operations = operations;
    this.#quotas = quotas;
    this.#clock = clock;
    this.#random = random;
  }

  async get(context: RequestContext, id: string): Promise<Snapshot> {
    return this.#store.reading.snapshots.get(tenancyOf(context), id);
  }

  async list(context: RequestContext, query: ListQuery<SnapshotField>, options: ListOptions = {}): Promise<readonly Snapshot[]> {
    return this.#store.reading.snapshots.list(listTenancy(context, options.allProjects ?? false), query);
  }

  async count(context: RequestContext, query: ListQuery<SnapshotField>, options: ListOptions = {}): Promise<number> {
    return this.#store.reading.snapshots.count(listTenancy(context, options.allProjects ?? false), query);
  }

  /** Accepts a new snapshot; its status goes from `creating` to `available`, or to `error` with a user message that tells why. */
  async create(
    context: RequestContext,
    request: NewSnapshot,
  ): Promise<{ readonly snapshot: Snapshot; readonly operationId: string }> {
    checkMetadata(request.metadata ?? {});
    const id = this.#random.uuid();
    const { operationId, resourceId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const volume = await transaction.volumes.get(tenancyOf(context), request.volumeId);
      const allowed = request.force ? ['available', 'in-use'] : ['available'];
      if (!allowed.includes(volume.status) || volume.placementId === null) {
        throw new ScoriaError(
          'invalid-state',
          `Volume ${volume.id} is ${volume.status}; it must be ${allowed.join(' or ')} for a snapshot${request.force ? '' : ', or "force" must be given'}.`,
          {
            details: { status: volume.status, allowed },
          },
        );
      }
      const { projectId, volumeTypeId, size } = volume;
      await this.#quotas.require(transaction, projectId, { snapshots: 1, bytes: size, volumeTypeId });
      await transaction.snapshots.insert({
        id,
        projectId,
        userId: context.userId,
        volumeId: volume.id,
        volumeTypeId,
        name: request.name ?? null,
        description: request.description ?? null,
        size,
        status: 'creating',
        metadata: request.metadata ?? {},
        placementId: null,
        createdAt: this.#clock.now(),
        updatedAt: null,
      });
      transaction.emit({
        name: 'snapshot.changed',
        payload: { snapshotId: id, volumeId: volume.id, projectId, status: 'creating' },
      });
      const { extraSpecs } = await transaction.volumeTypes.get('every-project', volumeTypeId);
      return this.#operations.begin(transaction, createSnapshot, context, {
        input: { snapshotId: id, volumeId: volume.id, volumePlacementId: volume.placementId, size, extraSpecs },
        resourceKind: 'snapshot',
        resourceId: id,
        uses: [
          { kind: 'snapshot', id, mode: 'change' },
          { kind: 'volume', id: volume.id, mode: 'read' },
        ],
        backendId: null,
        projectId,
      });
    });
    return { snapshot: await this.get(context, resourceId), operationId };
  }

  /** Changes what a user says of a snapshot. `metadata` replaces all of it. */
  async update(context: RequestContext, id: string, labels: Labels): Promise<Snapshot> {
    return this.#patch(context, id, () => changedLabels(labels));
  }

  /** Adds and replaces pairs of metadata. */
  async setMetadata(context: RequestContext, id: string, metadata: Metadata): Promise<Snapshot> {
    return this.#patch(context, id, (present) => ({ metadata: withMetadata(present.metadata, metadata) }));
  }

  /** `not-found` when there is no such key. */
  async deleteMetadataKey(context: RequestContext, id: string, key: string): Promise<Snapshot> {
    return this.#patch(context, id, (present) => ({ metadata: withoutMetadataKey(present.metadata, key, `snapshot ${id}`) }));
  }

  /** Deletes a snapshot. `force` (administrators) also takes one whose state would not allow it. */
  async delete(
    context: RequestContext,
    id: string,
    options: { readonly force?: boolean } = {},
  ): Promise<{ readonly operationId: string }> {
    if (options.force && !context.isAdmin) throw new ScoriaError('not-permitted', 'Only an administrator may force a deletion.');
    const { operationId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const snapshot = await transaction.snapshots.get(tenancyOf(context), id);
      const { projectId, placementId, volumeId } = snapshot;
      await transaction.snapshots.transition('every-project', id, options.force ? 'forceDelete' : 'delete', this.#clock.now());
      const backendId = placementId === null ? null : (await transaction.placements.get(placementId)).backendId;
      transaction.emit({ name: 'snapshot.changed', payload: { snapshotId: id, volumeId, projectId, status: 'deleting' } });
      return this.#operations.begin(transaction, deleteSnapshot, context, {
        input: { snapshotId: id, volumeId, placementId },
        resourceKind: 'snapshot',
        resourceId: id,
        uses: [
          { kind: 'snapshot', id, mode: 'change' },
          { kind: 'volume', id: volumeId, mode: 'read' },
        ],
        backendId,
        projectId,
      });
    });
    return { operationId };
  }

  async #patch(context: RequestContext, id: string, change: (snapshot: Snapshot) => SnapshotPatch): Promise<Snapshot> {
    await this.#operations.accept(context, async (transaction) => {
      const snapshot = await transaction.snapshots.get(tenancyOf(context), id);
      const updated = await transaction.snapshots.update(tenancyOf(context), id, change(snapshot), this.#clock.now());
      const { projectId, status, volumeId } = updated;
      transaction.emit({ name: 'snapshot.changed', payload: { snapshotId: id, volumeId, projectId, status } });
      return { resourceId: id, operationId: null };
    });
    return this.get(context, id);
  }
}
