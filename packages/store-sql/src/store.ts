import { AsyncLocalStorage } from 'node:async_hooks';
import { ScoriaError, type Random, type Repositories, type Store } from '@scoria/core';
import { Kysely, type Dialect, type Transaction } from 'kysely';
import { SqlAccesses } from './accesses.ts';
import { SqlAttachments } from './attachments.ts';
import { SqlBackends } from './backends.ts';
import { SharedCommitFailed } from './commit-group.ts';
import type { Database } from './database.ts';
import { SqlEvents } from './events.ts';
import { SqlMessages } from './messages.ts';
import { migrate, property, setProperty, type Migration } from './migration.ts';
import { SqlOperations } from './operations.ts';
import { SqlPlacements } from './placements.ts';
import { SqlQosSpecs } from './qos-specs.ts';
import { SqlQuotas } from './quotas.ts';
import { SqlReconciliation } from './reconciliation.ts';
import { SqlRememberedRequests } from './remembered-requests.ts';
import { SqlServices } from './services.ts';
import type { Session } from './session.ts';
import { SqlSnapshots } from './snapshots.ts';
import type { SqlFlavor } from './sql-flavor.ts';
import { SqlVolumeTypes } from './volume-types.ts';
import { SqlVolumes } from './volumes.ts';

/** What a store stands on. */
export interface SqlStoreOptions {
  /** Names the store in messages. */
  readonly where: string;
  /** For transactions: one at a time. */
  readonly writer: Dialect;
  /** For single reads; when left out they wait for their turn at the writer. */
  readonly reader?: Dialect | undefined;
  readonly flavor: SqlFlavor;
  readonly random: Random;
  readonly migrations?: readonly Migration[] | undefined;
}

/** A neighbour's fault may make a shared commit fail; the next attempt is made alone. */
const attemptsAtCommit = 3;

/** The store over any SQL engine that Kysely has a dialect for. */
export class SqlStore implements Store {
  readonly reading: Repositories;
  readonly #options: SqlStoreOptions;
  readonly #inTransaction = new AsyncLocalStorage<BoundSession>();
  #writer: Kysely<Database> | undefined;
  #reader: Kysely<Database> | undefined;
  #installationId: string | undefined;

  constructor(options: SqlStoreOptions) {
    this.#options = options;
    const reading = () => this.#forReading();
    this.reading = repositories({
      flavor: options.flavor,
      get db() {
        return reading();
      },
    });
  }

  async open(): Promise<void> {
    if (this.#writer !== undefined) throw new ScoriaError('internal', `${this.#options.where} is open already`);
    const { writer: dialect, reader, flavor, where, random, migrations } = this.#options;
    const writer = new Kysely<Database>({ dialect });
    try {
      this.#installationId = await writer.transaction().execute(async (transaction) => {
        await migrate(transaction, flavor, where, migrations);
        const known = await property(transaction, 'installation-id');
        if (known !== undefined) return known;
        const made = random.uuid();
        await setProperty(transaction, 'installation-id', made);
        return made;
      });
    } catch (error) {
      await writer.destroy();
      throw this.#failure(error);
    }
    this.#writer = writer;
    this.#reader = reader === undefined ? writer : new Kysely<Database>({ dialect: reader });
  }

  async close(): Promise<void> {
    const [reader, writer] = [this.#reader, this.#writer];
    this.#reader = undefined;
    this.#writer = undefined;
    if (reader !== writer) await reader?.destroy();
    await writer?.destroy();
  }

  async installationId(): Promise<string> {
    if (this.#installationId === undefined) throw this.#notOpen();
    return this.#installationId;
  }

  async transaction<T>(work: (repositories: Repositories) => Promise<T>): Promise<T> {
    if (this.#inTransaction.getStore()?.ended === false) {
      throw new ScoriaError('internal', 'A transaction was begun within another one, which would wait for itself');
    }
    const writer = this.#writer;
    if (writer === undefined) throw this.#notOpen();
    for (let attempt = 1; ; attempt++) {
      try {
        return await writer.transaction().execute(async (transaction) => {
          const bound = new BoundSession(transaction, this.#options.flavor);
          try {
            return await this.#inTransaction.run(bound, () => work(repositories(bound)));
          } finally {
            bound.end();
          }
        });
      } catch (error) {
        if (!(error instanceof SharedCommitFailed)) throw this.#failure(error);
        if (attempt === attemptsAtCommit) throw this.#failure(error.cause);
      }
    }
  }

  #forReading(): Kysely<Database> {
    const reader = this.#reader;
    if (reader === undefined) throw this.#notOpen();
    if (this.#inTransaction.getStore()?.ended === false) {
      throw new ScoriaError(
        'internal',
        'Within a transaction only its own repositories may be used: others do not see what it wrote',
      );
    }
    return reader;
  }

  #notOpen(): ScoriaError {
    return new ScoriaError('internal', `${this.#options.where} is not open`);
  }

  /** Errors of the engine get its place; what `work` threw stays what it is. */
  #failure(error: unknown): unknown {
    const { flavor, where } = this.#options;
    if (!(error instanceof Error) || !flavor.isEngineError(error)) return error;
    return new ScoriaError('internal', `${where} failed: ${error.message}`, { cause: error });
  }
}

/** The session of one transaction; its end is final. */
class BoundSession implements Session {
  readonly flavor: SqlFlavor;
  readonly #transaction: Transaction<Database>;
  /** Work that was started within a transaction may outlive it, and is then free to begin its own. */
  ended = false;

  constructor(transaction: Transaction<Database>, flavor: SqlFlavor) {
    this.#transaction = transaction;
    this.flavor = flavor;
  }

  get db(): Kysely<Database> {
    if (this.ended) throw new ScoriaError('internal', 'A repository was used after the end of its transaction');
    return this.#transaction;
  }

  end(): void {
    this.ended = true;
  }
}

function repositories(session: Session): Repositories {
  return {
    volumes: new SqlVolumes(session),
    snapshots: new SqlSnapshots(session),
    attachments: new SqlAttachments(session),
    accesses: new SqlAccesses(session),
    placements: new SqlPlacements(session),
    backends: new SqlBackends(session),
    volumeTypes: new SqlVolumeTypes(session),
    qosSpecs: new SqlQosSpecs(session),
    quotas: new SqlQuotas(session),
    messages: new SqlMessages(session),
    services: new SqlServices(session),
    operations: new SqlOperations(session),
    rememberedRequests: new SqlRememberedRequests(session),
    events: new SqlEvents(session),
    reconciliation: new SqlReconciliation(session),
  };
}
