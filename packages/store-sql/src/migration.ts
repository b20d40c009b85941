import { ScoriaError } from '@scoria/core';
import { sql, type Kysely, type Transaction } from 'kysely';
import type { Database } from './database.ts';
import { createSchema1 } from './schema-1.ts';
import { addQosSpecs } from './schema-2.ts';
import type { SqlFlavor } from './sql-flavor.ts';

/** One step from a version of the tables to the next. It uses the schema builder and `sql`: the typed tables are those of the newest version. */
export type Migration = (db: Transaction<Database>, flavor: SqlFlavor) => Promise<void>;

/** All steps, oldest first; the version of the tables is the number of steps taken. */
export const migrations: readonly Migration[] = [createSchema1, addQosSpecs];

/**
 * Brings the tables to the newest version. Part of the caller's transaction: an error leaves them as they were.
 * `data-directory-newer` when a later version of Scoria wrote them.
 */
export async function migrate(
  db: Transaction<Database>,
  flavor: SqlFlavor,
  where: string,
  steps: readonly Migration[] = migrations,
): Promise<void> {
  await sql`create table if not exists store_properties (name text primary key not null, value text not null)`.execute(db);
  const version = Number((await property(db, 'schema-version')) ?? 0);
  if (version > steps.length) {
    throw new ScoriaError(
      'data-directory-newer',
      `${where} has schema version ${version}; this version of Scoria knows versions up to ${steps.length}.`,
      { details: { found: version, known: steps.length } },
    );
  }
  for (const step of steps.slice(version)) await step(db, flavor);
  await setProperty(db, 'schema-version', String(steps.length));
}

/** A fact about the store, or `undefined`. */
export async function property(db: Kysely<Database>, name: string): Promise<string | undefined> {
  const row = await db.selectFrom('store_properties').select('value').where('name', '=', name).executeTakeFirst();
  return row?.value;
}

/** Writes a fact about the store. */
export async function setProperty(db: Kysely<Database>, name: string, value: string): Promise<void> {
  await db
    .insertInto('store_properties')
    .values({ name, value })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
    .execute();
}
