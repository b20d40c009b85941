import type { DatabaseSync } from 'node:sqlite';

/** The commit that a transaction shared with others failed. By itself it may go through. */
export class SharedCommitFailed extends Error {}

/**
 * Gives out turns at a connection, and lets transactions that follow one another at once share a commit. One that ends
 * while another waits is not committed yet: the other runs first, in the same transaction of the engine, each in a
 * savepoint of its own. One sync then makes all of them durable, and none has ended before. Where nobody waits, each has
 * its own commit as ever.
 */
export class CommitGroup {
  readonly #database: DatabaseSync;
  readonly #largest: number;
  readonly #waiting: (() => void)[] = [];
  #members: PromiseWithResolvers<void>[] = [];
  #taken = false;
  /** Transactions still to be committed each by itself, after a shared commit has failed. */
  #alone = 0;

  /** @param largest - most transactions that share a commit; the first of them waits for all. */
  constructor(database: DatabaseSync, largest: number) {
    this.#database = database;
    this.#largest = largest;
  }

  /** Whether what was begun is still there: an error may have made the engine roll everything back. */
  get isOpen(): boolean {
    return this.#database.isTransaction;
  }

  /** Waits for the turn. First come, first served. */
  async enter(): Promise<void> {
    if (this.#taken) await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    this.#taken = true;
  }

  /** Begins a transaction in this turn. */
  begin(): void {
    // Taking the write lock at once spares the deadlock of two transactions that read first and write later.
    if (!this.#database.isTransaction) this.#database.exec('begin immediate');
    this.#database.exec('savepoint member');
  }

  /** Ends the transaction and the turn. Settles when it is durable; rejects with {@link SharedCommitFailed} or the engine's error. */
  commit(): Promise<void> {
    this.#database.exec('release member');
    const member = Promise.withResolvers<void>();
    this.#members.push(member);
    this.leave();
    return member.promise;
  }

  /** Undoes the transaction; the turn goes on until {@link leave}. */
  rollback(): void {
    if (this.#database.isTransaction) this.#database.exec('rollback to member; release member');
    // After a full disk or an I/O error SQLite has rolled everything back by itself, and those who wait for their commit with it.
    else this.#refuse(new Error('The database rolled back what was not committed yet'), true);
  }

  /** Ends the turn. */
  leave(): void {
    const largest = this.#alone > 0 ? 1 : this.#largest;
    const next = this.#waiting.shift();
    if (next === undefined || this.#members.length >= largest) this.#commitAll();
    else if (this.#members.length === 0 && this.#database.isTransaction) this.#database.exec('rollback');
    if (next === undefined) this.#taken = false;
    else next();
  }

  #commitAll(): void {
    if (!this.#database.isTransaction) return;
    try {
      this.#database.exec('commit');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('rollback');
      this.#refuse(error, this.#members.length > 1);
      return;
    }
    const members = this.#members.splice(0);
    this.#alone = Math.max(0, this.#alone - members.length);
    for (const { resolve } of members) resolve();
  }

  /** @param shared - it may be the fault of another one. */
  #refuse(error: unknown, shared: boolean): void {
    const members = this.#members.splice(0);
    // Those that come again meet others that came meanwhile: twice as many are kept apart.
    this.#alone = shared ? Math.max(this.#alone, 2 * members.length) : Math.max(0, this.#alone - members.length);
    for (const { reject } of members) reject(shared ? new SharedCommitFailed('A shared commit failed', { cause: error }) : error);
  }
}
