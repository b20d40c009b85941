import { sql, type RawBuilder } from 'kysely';
import type { Column, SqlValue } from './column.ts';

/** `createdAt` becomes `created_at`. */
type SnakeCase<Name extends string> = Name extends `${infer Head}${infer Tail}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${SnakeCase<Tail>}`
  : Name;

/** A column for each field of an entity. */
export type Columns<Entity> = { readonly [Field in keyof Entity & string]: Column<Entity[Field], SqlValue> };

/** The row of a table, as Kysely sees it. */
export type RowOf<T> =
  T extends Table<infer _Entity, infer C>
    ? {
        [Field in keyof C & string as SnakeCase<Field>]: C[Field] extends { readonly write: (value: never) => infer Sql }
          ? Sql
          : never;
      }
    : never;

/** How the entities of one kind lie in a table. */
export interface Table<Entity, C extends Columns<Entity> = Columns<Entity>> {
  readonly name: string;
  readonly columns: C;
  readonly fields: readonly (keyof Entity & string)[];
  /** The column of a field, qualified by the table. */
  ref(field: keyof Entity & string): RawBuilder<unknown>;
  /** `insert into … values …`. */
  insertion(entity: Entity): RawBuilder<unknown>;
  /** What follows `set` for the fields that the patch has. Empty when it has none. */
  assignments(patch: Partial<Entity>): RawBuilder<unknown>[];
  /** Turns a row into an entity. */
  read(row: Readonly<Record<string, unknown>>): Entity;
}

const snakeCase = (field: string) => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/**
 * Says how entities lie in a table: the column of a field has the field's name in snake case.
 *
 * @example
 * const serviceTable = defineTable<Service>()('services', { binary: text(), host: text(), … });
 */
export function defineTable<Entity extends object>() {
  return <const C extends Columns<Entity>>(name: string, columns: C): Table<Entity, C> => {
    type Field = keyof Entity & string;
    const all: Columns<Entity> = columns;
    // `columns` has exactly the fields of the entity: the compiler saw to it.
    const fields = Object.keys(columns) as Field[];
    const names = new Map(fields.map((field) => [field, snakeCase(field)]));
    const nameOf = (field: Field) => names.get(field) ?? field;
    const write = <F extends Field>(entity: Pick<Entity, F>, field: F): SqlValue => all[field].write(entity[field]);
    const columnList = sql.join(fields.map((field) => sql.ref(nameOf(field))));
    return {
      name,
      columns,
      fields,
      ref: (field) => sql.ref(`${name}.${nameOf(field)}`),
      insertion: (entity) =>
        sql`insert into ${sql.table(name)} (${columnList}) values (${sql.join(fields.map((field) => write(entity, field)))})`,
      assignments: (patch) =>
        fields.flatMap((field) => {
          const value = patch[field];
          return value === undefined ? [] : [sql`${sql.ref(nameOf(field))} = ${all[field].write(value)}`];
        }),
      read: (row) => {
        const entity: Partial<Record<Field, unknown>> = {};
        for (const field of fields) entity[field] = all[field].read(row[nameOf(field)]);
        // Each field was read by its own column.
        return entity as Entity;
      },
    };
  };
}
