import type { Placement, PlacementRepository, PoolClaims } from '@scoria/core';
import { sql } from 'kysely';
import { nullable, number, text, word } from './column.ts';
import { equals, insertEntity, largeSum, removeRows, selectEntities, updateEntities, type Row, type Session } from './session.ts';
import { defineTable } from './table.ts';
import { notFound } from './visibility.ts';

/** Table `placements`. */
export const placementTable = defineTable<Placement>()('placements', {
  id: text(),
  backendId: text(),
  pool: text(),
  kind: word<Placement['kind']>('volume', 'snapshot'),
  resourceId: text(),
  claimed: number(),
  size: nullable(number()),
  backendRef: nullable(text()),
  createdAt: number(),
});

/** Engines limit the parameters of a statement. */
const idsAtOnce = 500;

/** Placements in SQL. */
export class SqlPlacements implements PlacementRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async insert(placement: Placement): Promise<void> {
    await insertEntity(this.#session, placementTable, placement, `Placement ${placement.id} exists already.`);
    await this.#claim(placement, placement.claimed, 1);
  }

  async get(id: string): Promise<Placement> {
    const placement = await this.#find(id);
    if (!placement) throw notFound('Placement', id);
    return placement;
  }

  async update(id: string, patch: Partial<Pick<Placement, 'claimed' | 'size' | 'backendRef'>>): Promise<void> {
    if (patch.claimed !== undefined) {
      const placement = await this.#find(id);
      if (placement) await this.#claim(placement, patch.claimed - placement.claimed, 0);
    }
    await updateEntities(this.#session, placementTable, patch, [equals(placementTable.ref('id'), id)]);
  }

  async remove(id: string): Promise<void> {
    const placement = await this.#find(id);
    if (!placement) return;
    await removeRows(this.#session, placementTable, equals(placementTable.ref('id'), id));
    await this.#claim(placement, -placement.claimed, -1);
    await this.#session.db
      .insertInto('removed_placements')
      .values({ id, noticed_at: null })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .execute();
  }

  async claims(): Promise<readonly PoolClaims[]> {
    const rows = await this.#session.db
      .selectFrom('pool_claims')
      .select(['backend_id as backendId', 'pool', 'placements', largeSum('claimed').as('claimed')])
      .where('placements', '>', 0)
      .execute();
    return rows.map((row) => ({ ...row }));
  }

  ofBackend(backendId: string, after: string | null, limit: number): Promise<readonly Placement[]> {
    const conditions = [equals(placementTable.ref('backendId'), backendId)];
    if (after !== null) conditions.push(sql`id > ${after}`);
    return selectEntities(this.#session, placementTable, conditions, sql`order by id limit ${limit}`);
  }

  async strays(backendId: string, limit: number): Promise<readonly Placement[]> {
    const { rows } = await sql<Row>`
      select placements.* from placements
      left join volumes on placements.kind = 'volume' and volumes.id = placements.resource_id
      left join snapshots on placements.kind = 'snapshot' and snapshots.id = placements.resource_id
      where placements.backend_id = ${backendId}
        and coalesce(volumes.placement_id, snapshots.placement_id, '') <> placements.id
      order by placements.id limit ${limit}`.execute(this.#session.db);
    return rows.map((row) => placementTable.read(row));
  }

  async removedAmong(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    for (let at = 0; at < ids.length; at += idsAtOnce) {
      const rows = await this.#session.db
        .selectFrom('removed_placements')
        .where('id', 'in', ids.slice(at, at + idsAtOnce))
        .select('id')
        .execute();
      for (const { id } of rows) found.add(id);
    }
    return found;
  }

  async forgetRemoved(now: number, before: number): Promise<void> {
    const { db } = this.#session;
    await db.updateTable('removed_placements').set({ noticed_at: now }).where('noticed_at', 'is', null).execute();
    await db.deleteFrom('removed_placements').where('noticed_at', '<', before).execute();
  }

  async #find(id: string): Promise<Placement | undefined> {
    const [placement] = await selectEntities(this.#session, placementTable, [equals(placementTable.ref('id'), id)]);
    return placement;
  }

  /** Adds to the sums of a placement's pool. */
  async #claim({ backendId, pool }: Placement, claimed: number, placements: number): Promise<void> {
    await this.#session.db
      .insertInto('pool_claims')
      .values({ backend_id: backendId, pool, claimed, placements })
      .onConflict((conflict) =>
        conflict.columns(['backend_id', 'pool']).doUpdateSet({
          claimed: sql`pool_claims.claimed + excluded.claimed`,
          placements: sql`pool_claims.placements + excluded.placements`,
        }),
      )
      .execute();
  }
}
