import {
  type Backend,
  type BackendFault,
  type BackendRepository,
  toldErrorSchema,
  type ReportedPool,
  ScoriaError,
} from '@scoria/core';
import { sql } from 'kysely';
import { z } from 'zod';
import { type Column, flag, json, nullable, number, text } from './column.ts';
import { equals, selectEntities, updateEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';
import { notFound } from './visibility.ts';

const faultSchema: z.ZodType<BackendFault> = toldErrorSchema.extend({ since: z.number().nullable() });

const poolSchema: z.ZodType<ReportedPool> = z.object({
  name: z.string(),
  fault: faultSchema.optional(),
  total: z.number(),
  free: z.number(),
  thin: z.boolean(),
  maxOverSubscription: z.number(),
  reserved: z.number(),
  instantCopies: z.boolean().optional(),
  capabilities: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});

const storedFault = json<BackendFault>(faultSchema);

/** A fault as JSON. Text that is none is a fault's message alone: so it lies in stores of an older version. */
const faultColumn: Column<BackendFault, string> = {
  ...storedFault,
  read: (sql) => {
    try {
      return storedFault.read(sql);
    } catch {
      const { code, message, remedy } = new ScoriaError('backend-unavailable', text().read(sql));
      return { code, message, remedy, since: null };
    }
  },
};

/** Table `backends`. */
export const backendTable = defineTable<Backend>()('backends', {
  id: text(),
  name: text(),
  host: text(),
  availabilityZone: text(),
  driverCapabilities: json<readonly string[]>(z.array(z.string())),
  pools: json<readonly ReportedPool[]>(z.array(poolSchema)),
  reportedAt: number(),
  fault: nullable(faultColumn),
  enabled: flag(),
  disabledReason: nullable(text()),
});

/** Columns that a report writes; the others are an administrator's. */
const reported = ['name', 'host', 'availability_zone', 'driver_capabilities', 'pools', 'reported_at', 'fault'];

/** Backends in SQL. */
export class SqlBackends implements BackendRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async report(backend: Omit<Backend, 'enabled' | 'disabledReason'>): Promise<void> {
    const insertion = backendTable.insertion({ ...backend, enabled: true, disabledReason: null });
    const assignments = sql.join(reported.map((name) => sql`${sql.ref(name)} = excluded.${sql.ref(name)}`));
    await sql`${insertion} on conflict (id) do update set ${assignments}`.execute(this.#session.db);
  }

  list(): Promise<readonly Backend[]> {
    return selectEntities(this.#session, backendTable, [], sql`order by host, name, id`);
  }

  async setEnabled(id: string, enabled: boolean, reason: string | null): Promise<void> {
    const patch = { enabled, disabledReason: enabled ? null : reason };
    const changed = await updateEntities(this.#session, backendTable, patch, [equals(backendTable.ref('id'), id)]);
    if (changed === 0) throw notFound('Backend', id);
  }
}
