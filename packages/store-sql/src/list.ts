import { ScoriaError, type Condition, type ListQuery } from '@scoria/core';
import { sql, type RawBuilder } from 'kysely';
import { allOf, anyOf, isOneOf, type Row, type Session } from './session.ts';

/** A field that a list can be filtered and sorted by. */
interface ListField {
  readonly column: RawBuilder<unknown>;
  readonly nullable: boolean;
  /** Whether the column belongs to a joined table. */
  readonly joined?: boolean;
  /** Replaces plain equality. */
  readonly matches?: (value: string) => RawBuilder<unknown>;
}

/** What a list is read from. */
export interface ListSource<Field extends string> {
  /** The kind of thing, for messages: `Volume`. */
  readonly label: string;
  readonly table: string;
  /** Left joins that follow the table; they add columns, never rows. */
  readonly joins?: RawBuilder<unknown>;
  readonly select: RawBuilder<unknown>;
  readonly id: RawBuilder<unknown>;
  readonly fields: Readonly<Record<Field | 'createdAt', ListField>>;
  /** JSON text column that {@link ListQuery.metadata} is about. */
  readonly metadata?: RawBuilder<unknown>;
}

const defaultLimit = 1000;

/**
 * Reads one page. Pages are keyset pages: what comes after the marker is found by the marker's own sort keys, so a page
 * deep in a list costs what the first one does.
 */
export async function listRows<Field extends string>(
  session: Session,
  source: ListSource<Field>,
  visible: readonly RawBuilder<unknown>[],
  query: ListQuery<Field>,
): Promise<readonly Row[]> {
  const keys = sortKeys(source, query.sort);
  const conditions = [...visible, ...queryConditions(session, source, query)];
  if (query.marker !== undefined) conditions.push(await afterMarker(session, source, visible, keys, query.marker));
  const order = sql.join(keys.map(({ column, direction, nullable }) => sql`${column} ${orderOf(direction, nullable)}`));
  const page = sql`limit ${query.limit ?? defaultLimit} offset ${query.offset ?? 0}`;
  const statement = sql<Row>`select ${source.select} from ${tables(source)} where ${allOf(conditions)} order by ${order} ${page}`;
  return (await statement.execute(session.db)).rows;
}

/** Number of rows that the query's conditions select. */
export async function countRows<Field extends string>(
  session: Session,
  source: ListSource<Field>,
  visible: readonly RawBuilder<unknown>[],
  query: ListQuery<Field>,
): Promise<number> {
  const conditions = allOf([...visible, ...queryConditions(session, source, query)]);
  const { rows } = await sql<{
    count: number;
  }>`select count(*) as count from ${tablesOfConditions(source, query)} where ${conditions}`.execute(session.db);
  return rows[0]?.count ?? 0;
}

/** The tables that a query's conditions are about. Without a join that nothing needs, counting reads an index alone. */
export function tablesOfConditions<Field extends string>(
  source: ListSource<Field>,
  query: ListQuery<Field>,
): RawBuilder<unknown> {
  return query.where?.some(({ field }) => source.fields[field].joined) ? tables(source) : sql.table(source.table);
}

const tables = <Field extends string>({ table, joins }: ListSource<Field>): RawBuilder<unknown> =>
  joins === undefined ? sql.table(table) : sql`${sql.table(table)} ${joins}`;

/** The conditions of a query as SQL. */
export function queryConditions<Field extends string>(
  session: Session,
  source: ListSource<Field>,
  query: ListQuery<Field>,
): RawBuilder<unknown>[] {
  const conditions = (query.where ?? []).map((condition) => comparison(session, source.fields[condition.field], condition));
  for (const [key, value] of Object.entries(query.metadata ?? {})) {
    if (source.metadata === undefined)
      throw new ScoriaError('invalid-input', `A list of this kind (${source.label}) has no metadata to filter by`);
    conditions.push(session.flavor.jsonHasPair(source.metadata, key, value));
  }
  return conditions;
}

function comparison<Field extends string>(session: Session, field: ListField, condition: Condition<Field>): RawBuilder<unknown> {
  const { column } = field;
  const { value, op } = condition;
  if (typeof value === 'object' && value !== null) {
    const matched = equality(field, value);
    return op === 'neq' ? sql`not ${matched}` : matched;
  }
  if (value === null) {
    // Nothing is more or less than null, or contains it.
    if (op === 'neq') return sql`${column} is not null`;
    return op === 'eq' || op === 'in' ? sql`${column} is null` : sql`1 = 0`;
  }
  const plain = typeof value === 'boolean' ? Number(value) : value;
  switch (op) {
    case 'eq':
    case 'in':
      return equality(field, [plain]);
    case 'neq':
      return sql`(not ${equality(field, [plain])} or ${column} is null)`;
    case 'gt':
      return sql`${column} > ${plain}`;
    case 'gte':
      return sql`${column} >= ${plain}`;
    case 'lt':
      return sql`${column} < ${plain}`;
    case 'lte':
      return sql`${column} <= ${plain}`;
    case 'like':
      return session.flavor.containsText(column, String(plain));
  }
}

function equality(field: ListField, values: readonly (string | number)[]): RawBuilder<unknown> {
  const { matches, column } = field;
  if (matches !== undefined) return anyOf(values.map((value) => matches(String(value))));
  const [only] = values;
  return values.length === 1 && only !== undefined ? sql`${column} = ${only}` : isOneOf(column, values);
}

interface SortKey {
  readonly column: RawBuilder<unknown>;
  readonly nullable: boolean;
  readonly direction: 'asc' | 'desc';
}

/** The keys of the order. The id comes last, in the direction of the key before it, so that one index serves both. */
function sortKeys<Field extends string>(source: ListSource<Field>, sort: ListQuery<Field>['sort']): SortKey[] {
  const asked: { readonly field: Field | 'createdAt'; readonly direction: 'asc' | 'desc' }[] = sort?.length
    ? [...sort]
    : [{ field: 'createdAt', direction: 'desc' }];
  const keys: SortKey[] = [];
  const seen = new Set<string>();
  for (const { field, direction } of asked) {
    if (field === 'id') return [...keys, { column: source.id, nullable: false, direction }];
    if (seen.has(field)) continue;
    seen.add(field);
    const { column, nullable } = source.fields[field];
    keys.push({ column, nullable, direction });
  }
  return [...keys, { column: source.id, nullable: false, direction: keys.at(-1)?.direction ?? 'desc' }];
}

/** Nulls count as less than any value, on every engine. */
function orderOf(direction: 'asc' | 'desc', nullable: boolean): RawBuilder<unknown> {
  if (direction === 'asc') return nullable ? sql`asc nulls first` : sql`asc`;
  return nullable ? sql`desc nulls last` : sql`desc`;
}

async function afterMarker<Field extends string>(
  session: Session,
  source: ListSource<Field>,
  visible: readonly RawBuilder<unknown>[],
  keys: readonly SortKey[],
  marker: string,
): Promise<RawBuilder<unknown>> {
  const columns = sql.join(keys.map(({ column }, index) => sql`${column} as ${sql.ref(`k${index}`)}`));
  const condition = allOf([sql`${source.id} = ${marker}`, ...visible]);
  const { rows } = await sql<Row>`select ${columns} from ${tables(source)} where ${condition}`.execute(session.db);
  const [row] = rows;
  if (row === undefined) throw new ScoriaError('not-found', `Marker ${marker} could not be found.`, { details: { marker } });
  return pastKeys(
    keys,
    keys.map((_, index) => row[`k${index}`]),
  );
}

/** Rows that come after the one with these key values: a lexicographic comparison. */
function pastKeys(keys: readonly SortKey[], values: readonly unknown[]): RawBuilder<unknown> {
  const [first] = keys;
  if (keys.every(({ nullable, direction }) => !nullable && direction === first?.direction)) {
    const comparator = first?.direction === 'desc' ? sql`<` : sql`>`;
    return sql`(${sql.join(keys.map(({ column }) => column))}) ${comparator} (${sql.join(values)})`;
  }
  const alternatives = keys.map((key, index) =>
    allOf([...keys.slice(0, index).map((earlier, at) => sameKey(earlier, values[at])), pastKey(key, values[index])]),
  );
  const exact = anyOf(alternatives.map((each) => sql`(${each})`));
  const bound = first === undefined ? undefined : leadingBound(first, values[0]);
  // Redundant, but an engine seeks in an index by it, and not by the alternatives.
  return bound === undefined ? exact : sql`(${bound} and ${exact})`;
}

function sameKey({ column }: SortKey, value: unknown): RawBuilder<unknown> {
  return value === null ? sql`${column} is null` : sql`${column} = ${value}`;
}

function pastKey({ column, direction, nullable }: SortKey, value: unknown): RawBuilder<unknown> {
  if (direction === 'asc') return value === null ? sql`${column} is not null` : sql`${column} > ${value}`;
  if (value === null) return sql`1 = 0`;
  return nullable ? sql`(${column} < ${value} or ${column} is null)` : sql`${column} < ${value}`;
}

function leadingBound({ column, direction, nullable }: SortKey, value: unknown): RawBuilder<unknown> | undefined {
  if (value === null) return direction === 'asc' ? undefined : sql`${column} is null`;
  if (direction === 'asc') return sql`${column} >= ${value}`;
  return nullable ? undefined : sql`${column} <= ${value}`;
}
