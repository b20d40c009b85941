import type { ColumnDataType, CreateTableBuilder, RawBuilder } from 'kysely';

/** What differs between SQL engines. Everything else in this package is SQL that SQLite and PostgreSQL share. */
export interface SqlFlavor {
  /** Whether a JSON text column, an object of strings, has a pair. */
  jsonHasPair(column: RawBuilder<unknown>, key: string, value: string): RawBuilder<unknown>;
  /** Whether text contains `part`, letter case ignored as far as the engine knows letters. */
  containsText(column: RawBuilder<unknown>, part: string): RawBuilder<unknown>;
  /** Whether an error says that a unique key is taken. */
  isUniqueViolation(error: unknown): boolean;
  /** Whether an error is the engine's own. Failures that an operator can end come from the dialect as `store-failed`. */
  isEngineError(error: unknown): boolean;
  /** Adds a primary key whose numbers ascend and are never given twice. */
  addSequence<Name extends string, Column extends string>(
    table: CreateTableBuilder<Name, never>,
    column: Column,
  ): CreateTableBuilder<Name, Column>;
  /** Type of whole numbers up to 2^53. */
  readonly wholeNumber: ColumnDataType;
}
