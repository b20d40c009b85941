import {
  eventSchemas,
  ScoriaError,
  type EventName,
  type EventRepository,
  type NewEvent,
  type StoredEvent,
  type Tenancy,
} from '@scoria/core';
import { z } from 'zod';
import { json } from './column.ts';
import { removeOldest, type Session } from './session.ts';

const payloadColumn = json<Readonly<Record<string, string>>>(z.record(z.string(), z.string()));

/** The outbox in SQL. */
export class SqlEvents implements EventRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async append(events: readonly NewEvent[], now: number): Promise<void> {
    if (events.length === 0) return;
    const rows = events.map(({ name, payload }) => ({
      at: now,
      project_id: payload.projectId,
      name,
      payload: payloadColumn.write(payload),
    }));
    await this.#session.db.insertInto('events').values(rows).execute();
  }

  async after(tenancy: Tenancy, sequence: number, limit: number): Promise<readonly StoredEvent[]> {
    let query = this.#session.db.selectFrom('events').selectAll().where('sequence', '>', sequence);
    if (tenancy !== 'every-project') query = query.where('project_id', '=', tenancy.projectId);
    const rows = await query.orderBy('sequence').limit(limit).execute();
    return rows.map((row) => ({
      sequence: row.sequence,
      at: row.at,
      projectId: row.project_id,
      name: eventName(row.name),
      payload: payloadColumn.read(row.payload),
    }));
  }

  async latest(): Promise<number> {
    const row = await this.#session.db
      .selectFrom('events')
      .select((expression) => expression.fn.max('sequence').as('latest'))
      .executeTakeFirst();
    return row?.latest ?? 0;
  }

  removeOlderThan(before: number, limit: number): Promise<number> {
    return removeOldest(this.#session, { table: 'events', key: ['sequence'], time: 'at' }, before, limit);
  }
}

function eventName(name: string): EventName {
  for (const known of Object.keys(eventSchemas) as EventName[]) if (known === name) return known;
  throw new ScoriaError('internal', `The store holds an event of unknown name '${name}'`);
}
