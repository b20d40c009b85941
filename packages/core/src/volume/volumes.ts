import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import { hasEnded, type Operations } from '../operation/operations.ts';
import { backendOf, requireCapability } from '../placement/backend.ts';
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import type { Settings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import { gibibyte, type Quotas } from '../quota/quotas.ts';
import type { Snapshot, SnapshotField } from '../snapshot/snapshot.ts';
import { allRows } from '../store/all-rows.ts';
import type { ListQuery } from '../store/list-query.ts';
import type { Store } from '../store/store.ts';
import { listTenancy, type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import { changedLabels, checkMetadata, type Labels, type Metadata, withMetadata, withoutMetadataKey } from './labels.ts';
import { createVolume } from './create-volume.ts';
import { deleteVolume } from './delete-volume.ts';
import { extendVolume } from './extend-volume.ts';
import { revertVolume } from './revert-volume.ts';
import { newVolume } from './new-volume.ts';
import { requireNoSnapshots } from './no-snapshots.ts';
import { requireShrinkable, shrinkVolume } from './shrink-volume.ts';
import { beginUnmanaging } from './unmanage-volume.ts';
import { requireUnused } from './unused-volume.ts';
import { sourceOf } from './volume-source.ts';
import type { VolumeSummary } from './volume-repository.ts';
import type { Volume, VolumeField, VolumePatch } from './volume.ts';

/** What a new volume may say. Of `snapshotId` and `sourceVolumeId` at most one. */
export interface NewVolume extends Labels {
  /** Bytes. May be left out with a source: then its size. */
  readonly size?: number | undefined;
  /** Id or name. Default: the source's type, else the default type. */
  readonly volumeType?: string | null | undefined;
  readonly availabilityZone?: string | null | undefined;
  readonly snapshotId?: string | null | undefined;
  readonly sourceVolumeId?: string | null | undefined;
  readonly multiattach?: boolean | undefined;
}

interface ListOptions {
  /** For administrators: not only the own project's. */
  readonly allProjects?: boolean;
}

/** How long a forced deletion waits for operations that it cancelled, ms. */
const cancelPatience = 10_000;

/** Volumes. Changes that take work return the id of the operation that does it; the volume's status tells of its end. */
@wired(tokens.Store, tokens.Operations, tokens.Quotas, tokens.Settings, tokens.Clock, tokens.Random)
export class Volumes {
  readonly #store: Store;
  readonly #operations: Operations;
  readonly #quotas: Quotas;
  readonly #settings: Settings;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(store: Store, operations: Operations, quotas: Quotas, settings: Settings, clock: Clock, random: Random) {
    this.#store = store;
    this.#operations = operations;
    this.#quotas = quotas;
    this.#settings = settings;
    this.#clock = clock;
    this.#random = random;
  }

  async get(context: RequestContext, id: string): Promise<Volume> {
    return this.#store.reading.volumes.get(tenancyOf(context), id);
  }

  async list(context: RequestContext, query: ListQuery<VolumeField>, options: ListOptions = {}): Promise<readonly Volume[]> {
    return this.#store.reading.volumes.list(listTenancy(context, options.allProjects ?? false), query);
  }

  async count(context: RequestContext, query: ListQuery<VolumeField>, options: ListOptions = {}): Promise<number> {
    return this.#store.reading.volumes.count(listTenancy(context, options.allProjects ?? false), query);
  }

  async summary(context: RequestContext, query: ListQuery<VolumeField>, options: ListOptions = {}): Promise<VolumeSummary> {
    return this.#store.reading.volumes.summary(listTenancy(context, options.allProjects ?? false), query);
  }

  /** Accepts a new volume; its status goes from `creating` to `available`, or to `error` with a user message that tells why. */
  async create(context: RequestContext, request: NewVolume): Promise<{ readonly volume: Volume; readonly operationId: string }> {
    if (request.snapshotId && request.sourceVolumeId) {
      throw new ScoriaError('invalid-input', 'A volume is made from a snapshot or from a volume, not from both.');
    }
    checkMetadata(request.metadata ?? {});
    const id = this.#random.uuid();
    const { operationId, resourceId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const now = this.#clock.now();
      const source = await sourceOf(transaction, context, request);
      await requireZone(transaction, request.availabilityZone ?? null);
      const size = request.size ?? source?.size;
      if (size === undefined) throw new ScoriaError('invalid-input', 'The size of the volume is missing.');
      if (source && size < source.size) {
        throw new ScoriaError(
          'invalid-input',
          `The volume would have ${size / gibibyte} GiB, less than the ${source.size / gibibyte} GiB of ${source.kind} ${source.id}.`,
        );
      }
      const type = request.volumeType
        ? await transaction.volumeTypes.resolve(tenancyOf(context), request.volumeType)
        : source
          ? await transaction.volumeTypes.get('every-project', source.volumeTypeId)
          : await transaction.volumeTypes.resolve('every-project', this.#settings.defaultVolumeType);
      const { projectId } = context;
      await this.#quotas.require(transaction, projectId, { volumes: 1, bytes: size, volumeTypeId: type.id, volumeBytes: size });
      await transaction.volumes.insert(
        newVolume(context, request, type, {
          id,
          size,
          status: 'creating',
          availabilityZone: request.availabilityZone ?? this.#settings.availabilityZone,
          bootable: source?.bootable,
          multiattach: request.multiattach,
          sourceVolumeId: request.sourceVolumeId,
          snapshotId: request.snapshotId,
          createdAt: now,
        }),
      );
      transaction.emit({ name: 'volume.changed', payload: { volumeId: id, projectId, status: 'creating' } });
      return this.#operations.begin(transaction, createVolume, context, {
        input: {
          volumeId: id,
          size,
          availabilityZone: request.availabilityZone ?? null,
          extraSpecs: type.extraSpecs,
          source: source && { kind: source.kind, id: source.id, placementId: source.placementId },
        },
        resourceKind: 'volume',
        resourceId: id,
        uses: [
          { kind: 'volume', id, mode: 'change' },
          ...(source ? [{ kind: source.kind, id: source.id, mode: 'read' } as const] : []),
        ],
        backendId: null,
        projectId,
      });
    });
    return { volume: await this.get(context, resourceId), operationId };
  }

  /** Changes what a user says of a volume. `metadata` replaces all of it. */
  async update(context: RequestContext, id: string, labels: Labels): Promise<Volume> {
    return this.#patch(context, id, () => changedLabels(labels));
  }

  /** Adds and replaces pairs of metadata. */
  async setMetadata(context: RequestContext, id: string, metadata: Metadata): Promise<Volume> {
    return this.#patch(context, id, (present) => ({ metadata: withMetadata(present.metadata, metadata) }));
  }

  /** `not-found` when there is no such key. */
  async deleteMetadataKey(context: RequestContext, id: string, key: string): Promise<Volume> {
    return this.#patch(context, id, (present) => ({ metadata: withoutMetadataKey(present.metadata, key, `volume ${id}`) }));
  }

  async setBootable(context: RequestContext, id: string, bootable: boolean): Promise<Volume> {
    return this.#patch(context, id, () => ({ bootable }));
  }

  /** Whether hosts may only read the volume. Not while it is attached. */
  async setReadOnly(context: RequestContext, id: string, readOnly: boolean): Promise<Volume> {
    return this.#patch(context, id, (volume) => {
      if (volume.status !== 'available') {
        throw new ScoriaError(
          'invalid-state',
          `Volume ${id} is ${volume.status}; its access mode can be changed when it is available.`,
        );
      }
      return { readOnly };
    });
  }

  /** Makes a volume larger. `size` in bytes, more than now. */
  async extend(context: RequestContext, id: string, size: number): Promise<{ readonly operationId: string }> {
    const { operationId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const now = this.#clock.now();
      const volume = await transaction.volumes.get(tenancyOf(context), id);
      if (size <= volume.size) {
        throw new ScoriaError(
          'invalid-input',
          `Volume ${id} has ${volume.size / gibibyte} GiB; its new size must be larger, not ${size / gibibyte} GiB.`,
        );
      }
      await transaction.volumes.transition('every-project', id, 'extend', now);
      await this.#quotas.require(transaction, volume.projectId, {
        bytes: size - volume.size,
        volumeTypeId: volume.volumeTypeId,
        volumeBytes: size,
      });
      const placementId = requirePlacement(volume);
      const { extraSpecs } = await transaction.volumeTypes.get('every-project', volume.volumeTypeId);
      transaction.emit({ name: 'volume.changed', payload: { volumeId: id, projectId: volume.projectId, status: 'extending' } });
      return this.#operations.begin(transaction, extendVolume, context, {
        input: { volumeId: id, placementId, from: volume.size, size, extraSpecs },
        resourceKind: 'volume',
        resourceId: id,
        uses: [{ kind: 'volume', id, mode: 'change' }],
        backendId: null,
        projectId: volume.projectId,
      });
    });
    return { operationId };
  }

  /**
   * Makes an available volume without snapshots smaller, for good. `size` in bytes, less than now.
   *
   * @param confirmation - the volume's id, to show that the loss is meant; anything else is `invalid-input`.
   */
  async shrink(
    context: RequestContext,
    id: string,
    size: number,
    confirmation: string | undefined,
  ): Promise<{ readonly operationId: string }> {
    const { operationId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const volume = await transaction.volumes.get(tenancyOf(context), id);
      requireShrinkable(volume, size, confirmation);
      await transaction.volumes.transition('every-project', id, 'shrink', this.#clock.now());
      await requireUnused(transaction, volume);
      await requireNoSnapshots(transaction, id, 'would be larger than it, so that it could not go back to them');
      const placementId = requirePlacement(volume);
      const backend = await backendOf(transaction, placementId);
      requireCapability(backend, 'shrink');
      const { projectId } = volume;
      transaction.emit({ name: 'volume.changed', payload: { volumeId: id, projectId, status: 'extending' } });
      return this.#operations.begin(transaction, shrinkVolume, context, {
        input: { volumeId: id, placementId, from: volume.size, size },
        resourceKind: 'volume',
        resourceId: id,
        uses: [{ kind: 'volume', id, mode: 'change' }],
        backendId: backend.id,
        projectId,
      });
    });
    return { operationId };
  }

  /** Puts a volume back to its latest snapshot. */
  async revert(context: RequestContext, id: string, snapshotId: string): Promise<{ readonly operationId: string }> {
    const { operationId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const now = this.#clock.now();
      const volume = await transaction.volumes.get(tenancyOf(context), id);
      const [latest] = await transaction.snapshots.list('every-project', {
        where: [{ field: 'volumeId', op: 'eq', value: id }],
        sort: [{ field: 'createdAt', direction: 'desc' }],
        limit: 1,
      });
      const snapshot = await transaction.snapshots.get(tenancyOf(context), snapshotId);
      if (snapshot.volumeId !== id) throw new ScoriaError('invalid-input', `Snapshot ${snapshotId} is not of volume ${id}.`);
      if (latest?.id !== snapshotId) {
        throw new ScoriaError(
          'invalid-input',
          `Snapshot ${snapshotId} is not the latest of volume ${id}; ${latest?.id ?? 'none'} is.`,
        );
      }
      if (snapshot.size !== volume.size) {
        throw new ScoriaError(
          'invalid-input',
          `Volume ${id} has grown since snapshot ${snapshotId} was taken and cannot be reverted to it.`,
        );
      }
      await transaction.volumes.transition('every-project', id, 'revert', now);
      await transaction.snapshots.transition('every-project', snapshotId, 'restore', now);
      const placementId = requirePlacement(volume);
      const { backendId } = await transaction.placements.get(placementId);
      const { projectId } = volume;
      transaction.emit({ name: 'volume.changed', payload: { volumeId: id, projectId, status: 'reverting' } });
      transaction.emit({ name: 'snapshot.changed', payload: { snapshotId, volumeId: id, projectId, status: 'restoring' } });
      return this.#operations.begin(transaction, revertVolume, context, {
        input: { volumeId: id, placementId, snapshotId, snapshotPlacementId: snapshot.placementId ?? '' },
        resourceKind: 'volume',
        resourceId: id,
        uses: [
          { kind: 'volume', id, mode: 'change' },
          { kind: 'snapshot', id: snapshotId, mode: 'read' },
        ],
        backendId,
        projectId,
      });
    });
    return { operationId };
  }

  /**
   * Deletes a volume. `cascade` takes its snapshots along. `force` (administrators) also takes a volume whose state would
   * not allow it, after cancelling what is under way. An attached volume is never deleted.
   */
  async delete(
    context: RequestContext,
    id: string,
    options: { readonly force?: boolean; readonly cascade?: boolean } = {},
  ): Promise<{ readonly operationId: string }> {
    if (options.force) {
      if (!context.isAdmin) throw new ScoriaError('not-permitted', 'Only an administrator may force a deletion.');
      await this.#cancelOperations(context, id);
    }
    const { operationId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const now = this.#clock.now();
      const volume = await transaction.volumes.get(tenancyOf(context), id);
      // It was never ours: it is let go, and its bytes stay.
      if (volume.status === 'error_managing') return beginUnmanaging(transaction, this.#operations, context, volume, now);
      await requireUnused(transaction, volume);
      const snapshots = await allRows<Snapshot, SnapshotField>(
        (query) => transaction.snapshots.list('every-project', query),
        [{ field: 'volumeId', op: 'eq', value: id }],
      );
      if (snapshots.length > 0 && !options.cascade) {
        throw new ScoriaError(
          'invalid-state',
          `Volume ${id} still has ${snapshots.length} dependent snapshots; delete them first, or all at once.`,
        );
      }
      await transaction.volumes.transition('every-project', id, options.force ? 'forceDelete' : 'delete', now);
      for (const snapshot of snapshots) {
        await transaction.snapshots.transition('every-project', snapshot.id, options.force ? 'forceDelete' : 'delete', now);
      }
      const { projectId, placementId } = volume;
      const backendId = placementId === null ? null : (await transaction.placements.get(placementId)).backendId;
      transaction.emit({ name: 'volume.changed', payload: { volumeId: id, projectId, status: 'deleting' } });
      return this.#operations.begin(transaction, deleteVolume, context, {
        input: {
          volumeId: id,
          placementId,
          snapshots: snapshots.map((each) => ({ id: each.id, placementId: each.placementId })),
        },
        resourceKind: 'volume',
        resourceId: id,
        uses: [
          { kind: 'volume', id, mode: 'change' },
          ...snapshots.map((each) => ({ kind: 'snapshot', id: each.id, mode: 'change' }) as const),
        ],
        backendId,
        projectId,
      });
    });
    return { operationId };
  }

  async #cancelOperations(context: RequestContext, id: string): Promise<void> {
    for (const operation of await this.#store.reading.operations.using('volume', id)) {
      if (hasEnded(operation.status)) continue;
      try {
        await this.#operations.cancel(context, operation.id);
        await this.#operations.wait(operation.id, cancelPatience);
      } catch (error) {
        // It may end by itself meanwhile, or refuse; the deletion finds out which.
        if (ScoriaError.from(error).fault === 'bug') throw error;
      }
    }
  }

  async #patch(context: RequestContext, id: string, change: (volume: Volume) => VolumePatch): Promise<Volume> {
    await this.#operations.accept(context, async (transaction) => {
      const volume = await transaction.volumes.get(tenancyOf(context), id);
      const updated = await transaction.volumes.update(tenancyOf(context), id, change(volume), this.#clock.now());
      transaction.emit({
        name: 'volume.changed',
        payload: { volumeId: id, projectId: updated.projectId, status: updated.status },
      });
      return { resourceId: id, operationId: null };
    });
    return this.get(context, id);
  }
}

function requirePlacement(volume: Volume): string {
  if (volume.placementId === null) throw new ScoriaError('invalid-state', `Volume ${volume.id} has no storage yet.`);
  return volume.placementId;
}

/** A zone that no backend is in would only be found out of by the scheduler, when the caller has gone. */
async function requireZone(transaction: Transaction, zone: string | null): Promise<void> {
  if (zone === null) return;
  const zones = new Set((await transaction.backends.list()).map(({ availabilityZone }) => availabilityZone));
  if (zones.has(zone)) return;
  throw new ScoriaError(
    'invalid-input',
    `Availability zone '${zone}' is invalid. There are: ${[...zones].join(', ') || 'none'}.`,
  );
}
