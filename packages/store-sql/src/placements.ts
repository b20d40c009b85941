import type { Placement, PlacementRepository, PoolClaims } from '@scoria/core';
import { sql } from 'kysely';
import { nullable, number, text, word } from './column.ts';
import { equals, insertEntity, removeRows, selectEntities, updateEntities, type Session } from './session.ts';
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
  }

  async claims(): Promise<readonly PoolClaims[]> {
    const rows = await this.#session.db
      .selectFrom('pool_claims')
      .select(['backend_id as backendId', 'pool', 'claimed', 'placements'])
      .where('placements', '>', 0)
      .execute();
    return rows.map((row) => ({ ...row }));
  }

  ofBackend(backendId: string, after: string | null, limit: number): Promise<readonly Placement[]> {
    const conditions = [equals(placementTable.ref('backendId'), backendId)];
    if (after !== null) conditions.push(sql`id > ${after}`);
    return selectEntities(this.#session, placementTable, conditions, sql`order by id limit ${limit}`);
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
          claimed: sql`pool_claims.claimed + ${claimed}`,
          placements: sql`pool_claims.placements + ${placements}`,
        }),
      )
      .execute();
  }
}
