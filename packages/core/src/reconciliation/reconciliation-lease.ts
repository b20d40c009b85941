import { ScoriaError } from '../error/scoria-error.ts';
import type { Outbox, Transaction } from '../event/outbox.ts';
import type { Clock } from '../platform/clock.ts';
import { withDeadline } from '../platform/deadline.ts';
import type { Random } from '../platform/random.ts';

/** How long a lease lasts without being renewed, ms. */
const duration = 60_000;

/** The right to reconcile one part of an installation, held in the store. A holder that dies loses it after a minute. */
export class ReconciliationLease {
  readonly #outbox: Outbox;
  readonly #clock: Clock;
  readonly #name: string;
  readonly #owner: string;

  constructor(outbox: Outbox, clock: Clock, random: Random, name: string) {
    this.#outbox = outbox;
    this.#clock = clock;
    this.#name = name;
    this.#owner = random.uuid();
  }

  /** Takes or renews the lease in a transaction. Throws `lease-lost` when another has it. */
  async hold(transaction: Transaction): Promise<void> {
    if (await this.#take(transaction)) return;
    throw new ScoriaError('lease-lost', `Another instance reconciles ${this.#name} now.`);
  }

  /** Runs `work` without a lease, at most `ms` milliseconds. */
  within<T>(ms: number, work: (signal: AbortSignal) => Promise<T>, outer: AbortSignal): Promise<T> {
    return withDeadline(this.#clock, ms, `Reconciling ${this.#name}`, work, outer);
  }

  /** Runs `work` under the lease, at most `ms` milliseconds, renewing it meanwhile. `undefined` when another has it. */
  async run<T>(ms: number, work: (signal: AbortSignal) => Promise<T>, outer: AbortSignal): Promise<T | undefined> {
    if (!(await this.#outbox.transaction((transaction) => this.#take(transaction)))) return undefined;
    const lost = new AbortController();
    let renewing: Promise<void> = Promise.resolve();
    let timer: Disposable | null = null;
    let ended = false;
    const again = () => {
      if (ended) return;
      timer = this.#clock.timer(duration / 3, () => {
        renewing = this.#outbox
          .transaction((transaction) => this.hold(transaction))
          .then(again)
          .catch((error: unknown) => lost.abort(error));
      });
    };
    const dispose = () => timer?.[Symbol.dispose]();
    again();
    let working: Promise<unknown> = Promise.resolve();
    const kept = (signal: AbortSignal) => {
      const running = work(signal);
      working = running.catch(() => {});
      return running;
    };
    try {
      return await this.within(ms, kept, AbortSignal.any([outer, lost.signal]));
    } finally {
      ended = true;
      dispose();
      await renewing;
      // What was aborted may still write: nobody else may begin before it has settled.
      await working;
      await this.#outbox.transaction(({ reconciliation }) => reconciliation.release(this.#name, this.#owner));
    }
  }

  #take({ reconciliation }: Transaction): Promise<boolean> {
    const now = this.#clock.now();
    return reconciliation.lease(this.#name, this.#owner, now, now + duration);
  }
}
