import { ScoriaError, type Service, type ServiceRepository } from '@scoria/core';
import { sql } from 'kysely';
import { flag, nullable, number, text } from './column.ts';
import { equals, selectEntities, updateEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';

/** Table `services`. */
export const serviceTable = defineTable<Service>()('services', {
  binary: text(),
  host: text(),
  availabilityZone: text(),
  enabled: flag(),
  disabledReason: nullable(text()),
  seenAt: number(),
});

/** Services in SQL. */
export class SqlServices implements ServiceRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async beat(service: Pick<Service, 'binary' | 'host' | 'availabilityZone' | 'seenAt'>): Promise<void> {
    const insertion = serviceTable.insertion({ ...service, enabled: true, disabledReason: null });
    await sql`${insertion} on conflict (${sql.ref('binary')}, host) do update
      set availability_zone = excluded.availability_zone, seen_at = excluded.seen_at`.execute(this.#session.db);
  }

  list(): Promise<readonly Service[]> {
    return selectEntities(this.#session, serviceTable, [], sql`order by ${sql.ref('binary')}, host`);
  }

  async setEnabled(binary: string, host: string, enabled: boolean, reason: string | null): Promise<Service> {
    const key = [equals(serviceTable.ref('binary'), binary), equals(serviceTable.ref('host'), host)];
    await updateEntities(this.#session, serviceTable, { enabled, disabledReason: enabled ? null : reason }, key);
    const [service] = await selectEntities(this.#session, serviceTable, key);
    if (service === undefined) {
      throw new ScoriaError('not-found', `Service ${binary} on host ${host} could not be found.`, { details: { binary, host } });
    }
    return service;
  }
}
