import type { Access, AccessRepository } from '@scoria/core';
import { sql } from 'kysely';
import { flag, number, text, word } from './column.ts';
import { equals, insertEntity, removeRows, selectEntities, updateEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';
import { notFound } from './visibility.ts';

/** Table `accesses`. */
export const accessTable = defineTable<Access>()('accesses', {
  id: text(),
  volumeId: text(),
  placementId: text(),
  initiator: text(),
  readOnly: flag(),
  state: word<Access['state']>('opening', 'open', 'ending'),
  createdAt: number(),
});

const oldestFirst = sql`order by created_at, id`;

/** Accesses in SQL. */
export class SqlAccesses implements AccessRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  insert(access: Access): Promise<void> {
    const taken = `Volume ${access.volumeId} has an access for ${access.initiator} already, or access ${access.id} exists.`;
    return insertEntity(this.#session, accessTable, access, taken);
  }

  async get(id: string): Promise<Access> {
    const [access] = await selectEntities(this.#session, accessTable, [equals(accessTable.ref('id'), id)]);
    if (access === undefined) throw notFound('Access', id);
    return access;
  }

  async find(volumeId: string, initiator: string): Promise<Access | undefined> {
    const [access] = await selectEntities(this.#session, accessTable, [
      equals(accessTable.ref('volumeId'), volumeId),
      equals(accessTable.ref('initiator'), initiator),
      // Written out, not as a parameter: only then does the partial index answer.
      sql`state <> 'ending'`,
    ]);
    return access;
  }

  ofVolume(volumeId: string): Promise<readonly Access[]> {
    return selectEntities(this.#session, accessTable, [equals(accessTable.ref('volumeId'), volumeId)], oldestFirst);
  }

  all(): Promise<readonly Access[]> {
    return selectEntities(this.#session, accessTable, [], oldestFirst);
  }

  async setState(id: string, state: Access['state']): Promise<void> {
    const changed = await updateEntities(this.#session, accessTable, { state }, [equals(accessTable.ref('id'), id)]);
    if (changed === 0) throw notFound('Access', id);
  }

  async movePlacement(volumeId: string, placementId: string): Promise<void> {
    await updateEntities(this.#session, accessTable, { placementId }, [equals(accessTable.ref('volumeId'), volumeId)]);
  }

  async remove(id: string): Promise<void> {
    await removeRows(this.#session, accessTable, equals(accessTable.ref('id'), id));
  }
}
