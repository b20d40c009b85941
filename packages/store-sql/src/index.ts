import { systemRandom, type Random, type Store } from '@scoria/core';
import { sqliteDialect, sqliteFlavor } from './sqlite.ts';
import { SqlStore } from './store.ts';

/** Transactions that may share one sync. More would make the first of them wait long. */
const sharedCommits = 32;

/** Where a SQLite store lies. */
export interface SqliteStoreOptions {
  /** A file, made when it is missing; or `:memory:` for a store that is gone when it is closed. */
  readonly path: string;
  /** Makes the installation's id. Default: the machine's. */
  readonly random?: Random;
}

/**
 * A store in a SQLite database. One process at a time may use a file: whoever opens it holds a lock on its directory.
 *
 * @example
 * const store = createSqliteStore({ path: './scoria-data/scoria.db' });
 * await store.open();
 */
export function createSqliteStore(options: SqliteStoreOptions): Store {
  const { path, random = systemRandom } = options;
  const inMemory = path === ':memory:';
  return new SqlStore({
    where: inMemory ? 'The store in memory' : `The store ${path}`,
    writer: sqliteDialect({ path, sharedCommits: inMemory ? 1 : sharedCommits }),
    // A database in memory belongs to its one connection.
    reader: inMemory ? undefined : sqliteDialect({ path, readOnly: true }),
    flavor: sqliteFlavor,
    random,
  });
}
