import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import type { BegunOperation, Operations } from '../operation/operations.ts';
import { placeNamed } from '../placement/backend.ts';
import type { Clock } from '../platform/clock.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Quotas } from '../quota/quotas.ts';
import type { Store } from '../store/store.ts';
import { type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import { migrateVolume, retypeVolume } from './move-volume.ts';
import { requireNoSnapshots } from './no-snapshots.ts';
import type { Volume } from './volume.ts';

/** Whether a retype may move the volume to where its new type can be had. */
export type MigrationPolicy = 'never' | 'on-demand';

/** Retype and migration. */
@wired(tokens.Store, tokens.Operations, tokens.Quotas, tokens.Clock)
export class VolumeMoves {
  readonly #store: Store;
  readonly #operations: Operations;
  readonly #quotas: Quotas;
  readonly #clock: Clock;

  constructor(store: Store, operations: Operations, quotas: Quotas, clock: Clock) {
    this.#store = store;
    this.#operations = operations;
    this.#quotas = quotas;
    this.#clock = clock;
  }

  /** Gives a volume another type (id or name). The volume moves only if it must, and the policy allows it. */
  async retype(
    context: RequestContext,
    id: string,
    newType: string,
    policy: MigrationPolicy,
  ): Promise<{ readonly operationId: string }> {
    const { operationId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const volume = await transaction.volumes.get(tenancyOf(context), id);
      const type = await transaction.volumeTypes.resolve(tenancyOf(context), newType);
      if (type.id === volume.volumeTypeId)
        throw new ScoriaError('invalid-input', `Volume ${id} is of type ${type.name} already.`);
      await this.#quotas.require(transaction, volume.projectId, {
        volumes: 1,
        bytes: volume.size,
        volumeTypeId: type.id,
        otherType: true,
      });
      await transaction.volumes.transition('every-project', id, 'retype', this.#clock.now());
      const retype = { volumeTypeId: type.id, mayMove: policy === 'on-demand' };
      return this.#begin(transaction, context, volume, retypeVolume, { retype, target: null, extraSpecs: type.extraSpecs });
    });
    return { operationId };
  }

  /**
   * Moves a volume to a host string `host@backend`, or `host@backend#pool`, also while it is attached. For administrators.
   * `lock` keeps everybody else away from an available volume meanwhile.
   */
  async migrate(
    context: RequestContext,
    id: string,
    host: string,
    options: { readonly lock?: boolean } = {},
  ): Promise<{ readonly operationId: string }> {
    requireAdmin(context, 'migrate volumes');
    const { operationId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const now = this.#clock.now();
      const volume = await transaction.volumes.get(tenancyOf(context), id);
      const place = placeNamed(await transaction.backends.list(), host);
      if (!place) throw new ScoriaError('invalid-input', `There is no host ${host} to migrate to.`);
      const { backend, pool } = place;
      if (volume.hostString === host || (pool === undefined && volume.hostString?.startsWith(`${host}#`))) {
        throw new ScoriaError('invalid-input', `Volume ${id} lies on ${host} already.`);
      }
      if (volume.status !== 'available' && volume.status !== 'in-use') {
        throw new ScoriaError(
          'invalid-state',
          `Volume ${id} is ${volume.status}; it must be available or in-use to be migrated.`,
        );
      }
      await requireNoSnapshots(transaction, id, 'cannot move with it');
      if (options.lock && volume.status === 'available') await transaction.volumes.transition('every-project', id, 'lock', now);
      await transaction.volumes.update('every-project', id, { migrationStatus: 'migrating' }, now);
      const { extraSpecs } = await transaction.volumeTypes.get('every-project', volume.volumeTypeId);
      return this.#begin(transaction, context, volume, migrateVolume, {
        retype: null,
        target: { backendId: backend.id, pool: pool ?? null },
        // The administrator has chosen the backend, so its name is not asked for.
        extraSpecs: Object.fromEntries(Object.entries(extraSpecs).filter(([key]) => !key.endsWith('volume_backend_name'))),
      });
    });
    return { operationId };
  }

  /**
   * Hears of the end of a migration from someone who believes to have a part in it. Migrations complete by themselves: a
   * finished one is confirmed, `failed` cancels one under way, anything else is `invalid-state`.
   */
  async complete(context: RequestContext, id: string, options: { readonly failed: boolean }): Promise<Volume> {
    requireAdmin(context, 'complete migrations');
    const volume = await this.#store.reading.volumes.get(tenancyOf(context), id);
    const [running] = (await this.#store.reading.operations.using('volume', id)).filter(
      ({ name }) => name === migrateVolume.name,
    );
    if (running && options.failed) {
      await this.#operations.cancel(context, running.id);
      return volume;
    }
    if (running) throw new ScoriaError('invalid-state', `Volume ${id} is still being migrated; that completes by itself.`);
    if (volume.migrationStatus !== 'success') throw new ScoriaError('invalid-state', `Volume ${id} was not migrated.`);
    return volume;
  }

  async #begin(
    transaction: Transaction,
    context: RequestContext,
    volume: Volume,
    definition: typeof migrateVolume,
    input: Pick<ReturnType<typeof migrateVolume.input.parse>, 'retype' | 'target' | 'extraSpecs'>,
  ): Promise<BegunOperation> {
    const { id, size, projectId } = volume;
    const { placementId } = volume;
    if (placementId === null) throw new ScoriaError('invalid-state', `Volume ${id} has no storage yet.`);
    const { backendId } = await transaction.placements.get(placementId);
    const { status } = await transaction.volumes.get('every-project', id);
    transaction.emit({ name: 'volume.changed', payload: { volumeId: id, projectId, status } });
    return this.#operations.begin(transaction, definition, context, {
      input: { volumeId: id, placementId, size, ...input },
      resourceKind: 'volume',
      resourceId: id,
      uses: [{ kind: 'volume', id, mode: 'change' }],
      backendId,
      projectId,
    });
  }
}
