import { ScoriaError } from '@scoria/core';
import { sql, type Kysely, type RawBuilder } from 'kysely';
import type { Database } from './database.ts';
import type { SqlFlavor } from './sql-flavor.ts';
import type { Table } from './table.ts';

/** What the repositories work on: a transaction, or the connection for single reads. */
export interface Session {
  /** Throws `internal` after the end of the transaction. */
  readonly db: Kysely<Database>;
  readonly flavor: SqlFlavor;
}

/** A row before its columns are read. */
export type Row = Readonly<Record<string, unknown>>;

/** Inserts an entity. `conflict` with `taken` as its message when a unique key is taken. */
export async function insertEntity<Entity>(
  session: Session,
  table: Table<Entity>,
  entity: NoInfer<Entity>,
  taken: string,
): Promise<void> {
  try {
    await table.insertion(entity).execute(session.db);
  } catch (error) {
    throw session.flavor.isUniqueViolation(error) ? new ScoriaError('conflict', taken, { cause: error }) : error;
  }
}

/** Writes the fields of a patch; returns the number of rows changed. A patch without fields changes nothing. */
export async function updateEntities<Entity>(
  session: Session,
  table: Table<Entity>,
  patch: Partial<NoInfer<Entity>>,
  conditions: readonly RawBuilder<unknown>[],
): Promise<number> {
  const assignments = table.assignments(patch);
  if (assignments.length === 0) return 0;
  const result = await sql`update ${sql.table(table.name)} set ${sql.join(assignments)} where ${allOf(conditions)}`.execute(
    session.db,
  );
  return Number(result.numAffectedRows ?? 0);
}

/** Removes rows; returns how many. */
export async function removeRows(
  session: Session,
  table: { readonly name: string },
  ...conditions: RawBuilder<unknown>[]
): Promise<number> {
  const result = await sql`delete from ${sql.table(table.name)} where ${allOf(conditions)}`.execute(session.db);
  return Number(result.numAffectedRows ?? 0);
}

/** What is removed by its age: a table, its key, and the column of its time. */
export interface Ageing {
  readonly table: string;
  readonly key: readonly string[];
  readonly time: string;
}

/** Removes rows from before `before`, the oldest first, at most `limit`; returns how many. */
export function removeOldest(session: Session, { table, key, time }: Ageing, before: number, limit: number): Promise<number> {
  const keys = sql.join(key.map((column) => sql.ref(column)));
  const oldest = sql`select ${keys} from ${sql.table(table)} where ${sql.ref(time)} < ${before} order by ${sql.ref(time)} limit ${limit}`;
  return removeRows(session, { name: table }, sql`(${keys}) in (${oldest})`);
}

/** The entities of a table that meet the conditions, in the given order. */
export async function selectEntities<Entity>(
  session: Session,
  table: Table<Entity>,
  conditions: readonly RawBuilder<unknown>[],
  rest: RawBuilder<unknown> = sql``,
): Promise<Entity[]> {
  const { rows } = await sql<Row>`select * from ${sql.table(table.name)} where ${allOf(conditions)} ${rest}`.execute(session.db);
  return rows.map((row) => table.read(row));
}

/** Joins conditions by AND; true when there is none. */
export function allOf(conditions: readonly RawBuilder<unknown>[]): RawBuilder<unknown> {
  return conditions.length === 0 ? sql`1 = 1` : sql.join(conditions, sql` and `);
}

/** Joins conditions by OR; false when there is none. */
export function anyOf(conditions: readonly RawBuilder<unknown>[]): RawBuilder<unknown> {
  return conditions.length === 0 ? sql`1 = 0` : sql`(${sql.join(conditions, sql` or `)})`;
}

/** A column of sums, which may be more than 2^53: then the nearest number, not the engine's refusal to tell it. */
export function largeSum(column: string): RawBuilder<number> {
  return sql<number>`cast(${sql.ref(column)} as real)`;
}

/** `column = value`. */
export function equals(column: RawBuilder<unknown>, value: string | number): RawBuilder<unknown> {
  return sql`${column} = ${value}`;
}

/** `column in (…)`; false for an empty list. */
export function isOneOf(column: RawBuilder<unknown>, values: readonly (string | number)[]): RawBuilder<unknown> {
  return values.length === 0 ? sql`1 = 0` : sql`${column} in (${sql.join(values)})`;
}
