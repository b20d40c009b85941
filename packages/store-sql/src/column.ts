import { ScoriaError } from '@scoria/core';
import type { z } from 'zod';

/** What a column of ours may hold; every engine has these. Flags are 0 and 1, structures are JSON text. */
export type SqlValue = string | number | null;

/** How one field of an entity lies in a column. */
export interface Column<Value, Sql extends SqlValue> {
  readonly nullable: boolean;
  readonly write: (value: Value) => Sql;
  /** Throws `internal` when the column holds something that we never write. */
  readonly read: (sql: unknown) => Value;
}

const unexpected = (what: string, value: unknown) =>
  new ScoriaError(
    'internal',
    `The store holds ${typeof value === 'object' ? 'a null or a blob' : `'${String(value)}'`} where ${what} belongs`,
  );

/** Text. `invalid-input` for what engines cut off or change: a NUL character, half of a surrogate pair. */
export function text(): Column<string, string> {
  return {
    nullable: false,
    write: (value) => {
      if (!value.includes('\0') && value.isWellFormed()) return value;
      throw new ScoriaError(
        'invalid-input',
        `Text must not have a NUL character or half of a surrogate pair: ${JSON.stringify(value)}`,
      );
    },
    read: (sql) => {
      if (typeof sql !== 'string') throw unexpected('text', sql);
      return sql;
    },
  };
}

/** Text that programs may have printed: what cannot be kept is replaced. */
export function printedText(): Column<string, string> {
  const column = text();
  return { ...column, write: (value) => column.write(value.toWellFormed().replaceAll('\0', '\ufffd')) };
}

/** One of several words, for states and kinds. The compiler checks that none is left out. */
export function word<Word extends string>(...words: readonly Word[]): Column<Word, Word> {
  const known = new Map<unknown, Word>(words.map((each) => [each, each]));
  return {
    nullable: false,
    write: (value) => value,
    read: (sql) => {
      const found = known.get(sql);
      if (found === undefined) throw unexpected(`one of ${words.join(', ')}`, sql);
      return found;
    },
  };
}

/** A number: bytes, milliseconds, counts. */
export function number(): Column<number, number> {
  return {
    nullable: false,
    write: (value) => value,
    read: (sql) => {
      if (typeof sql !== 'number') throw unexpected('a number', sql);
      return sql;
    },
  };
}

/** `true` or `false`, as 1 or 0. */
export function flag(): Column<boolean, number> {
  return {
    nullable: false,
    write: (value) => (value ? 1 : 0),
    read: (sql) => {
      if (sql !== 0 && sql !== 1) throw unexpected('0 or 1', sql);
      return sql === 1;
    },
  };
}

/** Structured data as JSON text, parsed by its schema when read. */
export function json<Value>(schema: z.ZodType<Value>): Column<Value, string> {
  return {
    nullable: false,
    write: (value) => JSON.stringify(value),
    read: (sql) => {
      const parsed = schema.safeParse(parseJson(sql));
      if (!parsed.success) throw new ScoriaError('internal', 'The store holds JSON of an unknown shape', { cause: parsed.error });
      return parsed.data;
    },
  };
}

/** Data whose shape only its owner knows, as JSON text. */
export function opaqueJson(): Column<unknown, string> {
  return { nullable: false, write: (value) => JSON.stringify(value ?? null), read: parseJson };
}

/** The same, or null. */
export function nullable<Value, Sql extends SqlValue>(column: Column<Value, Sql>): Column<Value | null, Sql | null> {
  return {
    nullable: true,
    write: (value) => (value === null ? null : column.write(value)),
    read: (sql) => (sql === null ? null : column.read(sql)),
  };
}

function parseJson(sql: unknown): unknown {
  if (typeof sql !== 'string') throw unexpected('JSON text', sql);
  try {
    return JSON.parse(sql);
  } catch (cause) {
    throw new ScoriaError('internal', 'The store holds text that is not JSON where JSON belongs', { cause });
  }
}
