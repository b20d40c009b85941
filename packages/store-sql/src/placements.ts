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

  insert(placement: Placement): Promise<void> {
    return insertEntity(this.#session, placementTable, placement, `Placement ${placement.id} exists already.`);
  }

  async get(id: string): Promise<Placement> {
    const [placement] = await selectEntities(this.#session, placementTable, [equals(placementTable.ref('id'), id)]);
    if (placement === undefined) throw notFound('Placement', id);
    return placement;
  }

  async update(id: string, patch: Partial<Pick<Placement, 'claimed' | 'size' | 'backendRef'>>): Promise<void> {
    await updateEntities(this.#session, placementTable, patch, [equals(placementTable.ref('id'), id)]);
  }

  async remove(id: string): Promise<void> {
    await removeRows(this.#session, placementTable, equals(placementTable.ref('id'), id));
  }

  async claims(): Promise<readonly PoolClaims[]> {
    const rows = await this.#session.db
      .selectFrom('placements')
      .select((expression) => [
        'backend_id as backendId',
        'pool',
        expression.fn.sum<number>('claimed').as('claimed'),
        expression.fn.countAll<number>().as('placements'),
      ])
      .groupBy(['backend_id', 'pool'])
      .execute();
    return rows.map((row) => ({ ...row }));
  }

  ofBackend(backendId: string, after: string | null, limit: number): Promise<readonly Placement[]> {
    const conditions = [equals(placementTable.ref('backendId'), backendId)];
    if (after !== null) conditions.push(sql`id > ${after}`);
    return selectEntities(this.#session, placementTable, conditions, sql`order by id limit ${limit}`);
  }
}
