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
import { CommitGroup, SharedCommitFailed } from './commit-group.ts';
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
    const database = ofEngine(path, () => new DatabaseSync(path, { readOnly, enableForeignKeyConstraints: true, timeout: 5000 }));
    try {
      if (!readOnly) {
        // WAL: readers and the writer do not wait for each other. FULL: what was committed survives a power cut.
        ofEngine(path, () => database.exec('pragma journal_mode = wal; pragma synchronous = full;'));
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
    return new NodeSqliteConnection(this.#options.path, this.#statements, this.#group);
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    // SQLite works on this thread and its promises are settled at once: a queue of transactions would else run to its
    // end before a timer or a socket has its turn.
    await setImmediate();
    const face = faceOf(connection);
    ofEngine(face.path, () => face.group.begin());
    face.inTransaction = true;
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    const face = faceOf(connection);
    const durable = ofEngine(face.path, () => face.group.commit());
    face.ended = true;
    face.left = true;
    try {
      await durable;
    } catch (error) {
      throw failureOf(face.path, error);
    }
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
  readonly onlyReads: boolean;
}

function faceOf(connection: DatabaseConnection): NodeSqliteConnection {
  if (connection instanceof NodeSqliteConnection) return connection;
  throw new ScoriaError('internal', 'Kysely came with a connection of another driver');
}

class NodeSqliteConnection implements DatabaseConnection {
  /** A transaction was begun; what runs without one only reads. */
  inTransaction = false;
  /** No statement may run any more. */
  ended = false;
  /** Its turn is over. */
  left = false;
  /** Names the database in messages. */
  readonly path: string;
  readonly group: CommitGroup;
  readonly #statements: PreparedStatements;

  constructor(path: string, statements: PreparedStatements, group: CommitGroup) {
    this.path = path;
    this.#statements = statements;
    this.group = group;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    return ofEngine(this.path, () => this.#run<R>(query));
  }

  #run<R>(query: CompiledQuery): QueryResult<R> {
    if (this.ended) throw new ScoriaError('internal', 'A statement was left to run after the end of its transaction');
    // After an error that undid everything, each further statement would commit by itself.
    if (this.inTransaction && !this.group.isOpen) throw new ScoriaError('store-failed', `${this.path} undid the transaction`);
    const { statement, returnsRows, onlyReads } = this.#statements.get(query.sql);
    if (!this.inTransaction && !onlyReads) throw new ScoriaError('internal', 'Only a transaction may write to the store');
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
    const onlyReads = /^\s*select\b/i.test(text);
    const prepared = { statement, returnsRows: statement.columns().length > 0, onlyReads };
    this.#prepared.set(text, prepared);
    const [oldest] = this.#prepared.keys();
    if (this.#prepared.size > preparedStatements && oldest !== undefined) this.#prepared.delete(oldest);
    return prepared;
  }
}

// Result codes, https://sqlite.org/rescode.html; the low byte is the primary one.
const sqliteConstraintPrimaryKey = 1555;
const sqliteConstraintUnique = 2067;
/** What an operator should do about a failure. Other errors are of a statement: a constraint refuses it, or it is wrong. */
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

/** Calls the engine. When it fails, as a full disk makes it, that is `store-failed`; what a statement is refused for stays as it is. */
function ofEngine<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw failureOf(path, error);
  }
}

function failureOf(path: string, error: unknown): unknown {
  if (error instanceof SharedCommitFailed) return new SharedCommitFailed(error.message, { cause: failureOf(path, error.cause) });
  const remedy = remedies[(resultCode(error) ?? 0) & 0xff];
  if (remedy === undefined || !(error instanceof Error)) return error;
  return new ScoriaError('store-failed', `The database ${path} failed: ${error.message}.`, { cause: error, remedy });
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
  isEngineError: (error) => resultCode(error) !== undefined,
};
