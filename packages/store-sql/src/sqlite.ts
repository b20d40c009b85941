import { setImmediate } from 'node:timers/promises';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { ScoriaError } from '@scoria/core';
import {
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
} from 'kysely';
import { CommitGroup } from './commit-group.ts';
import type { SqlFlavor } from './sql-flavor.ts';

/** Statements kept prepared for each connection; lists with unusual filters push out the oldest. */
const preparedStatements = 400;

/** How a SQLite database is opened. */
export interface SqliteOptions {
  /** A file, or `:memory:`. */
  readonly path: string;
  /** Only for reading; the file must exist. */
  readonly readOnly?: boolean;
  /** Most transactions that may share a commit. More than one only where all that is run are transactions. Default: 1. */
  readonly sharedCommits?: number;
}

/** Kysely over the SQLite that is part of Node. */
export function sqliteDialect(options: SqliteOptions): Dialect {
  return {
    createAdapter: () => new TurnTakingAdapter(),
    createDriver: () => new NodeSqliteDriver(options),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

/** Turns at the one connection are given out by our driver, which knows when one is over. */
class TurnTakingAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

class NodeSqliteDriver implements Driver {
  readonly #options: SqliteOptions;
  #database: DatabaseSync | undefined;
  #statements: PreparedStatements | undefined;
  #group: CommitGroup | undefined;

  constructor(options: SqliteOptions) {
    this.#options = options;
  }

  async init(): Promise<void> {
    const { path, readOnly = false, sharedCommits = 1 } = this.#options;
    const database = new DatabaseSync(path, { readOnly, enableForeignKeyConstraints: true, timeout: 5000 });
    try {
      if (!readOnly) {
        // WAL: readers and the writer do not wait for each other. FULL: what was committed survives a power cut.
        database.exec('pragma journal_mode = wal; pragma synchronous = full;');
      }
    } catch (error) {
      database.close();
      throw error;
    }
    this.#database = database;
    this.#statements = new PreparedStatements(database);
    this.#group = new CommitGroup(database, sharedCommits);
  }

  // A new face of the one connection each time: Kysely queues statements that nobody awaited, and these must not run
  // after the end of their transaction, where each would commit by itself.
  async acquireConnection(): Promise<DatabaseConnection> {
    if (this.#statements === undefined || this.#group === undefined) throw new Error('The database is not open');
    await this.#group.enter();
    return new NodeSqliteConnection(this.#statements, this.#group);
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    // SQLite works on this thread and its promises are settled at once: a queue of transactions would else run to its
    // end before a timer or a socket has its turn.
    await setImmediate();
    faceOf(connection).group.begin();
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    const face = faceOf(connection);
    const durable = face.group.commit();
    face.ended = true;
    face.left = true;
    await durable;
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    const face = faceOf(connection);
    face.ended = true;
    // A commit that failed has been undone, and the turn is somebody else's.
    if (!face.left) face.group.rollback();
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    const face = faceOf(connection);
    face.ended = true;
    if (!face.left) face.group.leave();
    face.left = true;
  }

  async destroy(): Promise<void> {
    this.#database?.close();
    this.#database = undefined;
    this.#statements = undefined;
    this.#group = undefined;
  }
}

interface Prepared {
  readonly statement: StatementSync;
  readonly returnsRows: boolean;
}

function faceOf(connection: DatabaseConnection): NodeSqliteConnection {
  if (connection instanceof NodeSqliteConnection) return connection;
  throw new ScoriaError('internal', 'Kysely came with a connection of another driver');
}

class NodeSqliteConnection implements DatabaseConnection {
  /** No statement may run any more. */
  ended = false;
  /** Its turn is over. */
  left = false;
  readonly group: CommitGroup;
  readonly #statements: PreparedStatements;

  constructor(statements: PreparedStatements, group: CommitGroup) {
    this.#statements = statements;
    this.group = group;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    if (this.ended) throw new ScoriaError('internal', 'A statement was left to run after the end of its transaction');
    const { statement, returnsRows } = this.#statements.get(query.sql);
    const parameters = query.parameters as readonly SQLInputValue[];
    if (returnsRows) return { rows: statement.all(...parameters) as R[] };
    const { changes } = statement.run(...parameters);
    return { rows: [], numAffectedRows: BigInt(changes) };
  }

  async *streamQuery<R>(query: CompiledQuery): AsyncIterableIterator<QueryResult<R>> {
    yield await this.executeQuery<R>(query);
  }
}

class PreparedStatements {
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<string, Prepared>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get(text: string): Prepared {
    const known = this.#prepared.get(text);
    if (known !== undefined) {
      // A map keeps insertion order: what was used last goes to the end.
      this.#prepared.delete(text);
      this.#prepared.set(text, known);
      return known;
    }
    const statement = this.#database.prepare(text);
    const prepared = { statement, returnsRows: statement.columns().length > 0 };
    this.#prepared.set(text, prepared);
    const [oldest] = this.#prepared.keys();
    if (this.#prepared.size > preparedStatements && oldest !== undefined) this.#prepared.delete(oldest);
    return prepared;
  }
}

// Result codes, https://sqlite.org/rescode.html; the low byte is the primary one.
const sqliteConstraintPrimaryKey = 1555;
const sqliteConstraintUnique = 2067;
const remedies: Readonly<Record<number, string>> = {
  5: 'Stop the other program that writes to this database.',
  8: 'Make the data directory writable.',
  10: 'Look at the log of the kernel: the disk that holds the data directory fails.',
  11: 'Restore the data directory from a backup: its database is damaged.',
  13: 'Free space on the disk that holds the data directory.',
  14: 'See to it that the data directory exists and can be written to.',
  26: 'Name another data directory: this file is not a database of Scoria.',
};

function resultCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : undefined;
}

/** What is SQLite's own. */
export const sqliteFlavor: SqlFlavor = {
  wholeNumber: 'integer',
  jsonHasPair: (column, key, value) =>
    sql`exists (select 1 from json_each(${column}) as pair where pair.key = ${key} and pair.value = ${value})`,
  containsText: (column, part) =>
    sql`lower(${column}) like lower(${`%${part.replaceAll(/[\\%_]/g, (special) => `\\${special}`)}%`}) escape '\\'`,
  addSequence: (table, column) => table.addColumn(column, 'integer', (built) => built.primaryKey().autoIncrement()),
  isUniqueViolation: (error) => {
    const code = resultCode(error);
    return code === sqliteConstraintPrimaryKey || code === sqliteConstraintUnique;
  },
  remedyFor: (error) => {
    const code = resultCode(error);
    return code === undefined ? undefined : (remedies[code & 0xff] ?? null);
  },
};
