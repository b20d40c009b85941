import type { Bus } from '../bus/bus.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Outbox, Transaction } from '../event/outbox.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { WorkerSettings } from '../plugin/settings.ts';
import type { WorkerScope } from './operation-repository.ts';
import type { Operation, Progress } from './operation.ts';
import { ProgressMeter } from './progress-meter.ts';
import type { OperationServices } from './services.ts';
import { type AnyEffect, cancelledError, committed, definitionOf, type Outcome, Refusal, Turn } from './turn.ts';

/** Another worker has the operation now; this one must not write any more. */
export class LeaseLost extends Error {}
/** This process stops; the operation goes on elsewhere or later. */
export class Shutdown extends Error {}

/** A worker's hold on an operation, and the ways to disturb it. */
export interface Lease {
  readonly owner: string;
  /** Asks for the end of the operation, if it can be cancelled. */
  cancel(): void;
  /** Aborts the step under way; the operation stays as the journal has it. */
  interrupt(reason: Error): void;
}

/** What an execution works with. */
export interface ExecutionParts {
  readonly outbox: Outbox;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly services: OperationServices;
  readonly settings: WorkerSettings;
  readonly scope: WorkerScope;
  /** Whether the operation may work on a backend, which has room for only so many. Asked before each step of role `volume`. */
  takeSlot(backendId: string): boolean;
}

const progressInterval = 100;

/**
 * Drives one operation under one lease: transaction, effect, transaction, effect, … Each transaction records what the
 * effect before it gave, runs the transaction steps that follow, and journals the intent of the next effect, so that an
 * operation costs one commit more than it has effects.
 */
export class Execution {
  readonly #id: string;
  readonly #lease: Lease;
  readonly #parts: ExecutionParts;
  #operation: Operation | null = null;
  #cancelled = false;
  #interruption: Error | null = null;

  constructor(id: string, lease: Lease, parts: ExecutionParts) {
    this.#id = id;
    this.#lease = lease;
    this.#parts = parts;
  }

  /** Settles when the operation has ended, went to another role, or could not be had. Throws {@link LeaseLost} or {@link Shutdown}. */
  async run(): Promise<void> {
    this.#idle();
    let outcome: Outcome | null = null;
    let refusals: Refusal[] = [];
    for (;;) {
      try {
        const effect: AnyEffect | null = await this.#parts.outbox.transaction((transaction) =>
          this.#advance(transaction, outcome, refusals),
        );
        if (!effect || !this.#operation) return;
        refusals = [];
        outcome = await this.#perform(effect, this.#operation);
      } catch (error) {
        if (error instanceof Refusal && !refusals.some((each) => each.isOf(error.step, error.undoing))) refusals.push(error);
        else if (error instanceof ScoriaError && error.code === 'lease-lost') throw new LeaseLost();
        else throw error;
      }
    }
  }

  /** One turn in the caller's transaction, on the operation as it was written last, or leased now. */
  async #advance(transaction: Transaction, outcome: Outcome | null, refusals: readonly Refusal[]): Promise<AnyEffect | null> {
    const { clock, bus, services, settings, scope, takeSlot } = this.#parts;
    const { owner } = this.#lease;
    const now = clock.now();
    const operation = this.#operation ?? (await transaction.operations.lease(this.#id, owner, now, now + settings.lease));
    if (!operation) return null;
    // Only a commit makes it so: a rolled back transaction leaves this execution as it was.
    const written = (row: Operation) => {
      this.#operation = row;
    };
    const turn = new Turn({ transaction, operation, owner, now, bus, services, settings, scope, takeSlot, written });
    return turn.take(outcome, refusals, this.#cancelled || operation.cancelRequested);
  }

  /** Performs an effect, renewing the lease and writing progress meanwhile. Settles only after the effect has. */
  async #perform(effect: AnyEffect, operation: Operation): Promise<Outcome> {
    const { clock, settings, services, outbox, log } = this.#parts;
    if (this.#interruption) {
      await this.#release(operation);
      throw this.#interruption;
    }
    const definition = definitionOf(operation);
    const controller = new AbortController();
    const meter = new ProgressMeter(clock, effect.name);
    const undoing = operation.status === 'compensating';
    this.#lease.interrupt = (reason) => {
      // An effect that ends all the same is the last one here.
      this.#interruption = reason;
      controller.abort(reason);
    };
    this.#lease.cancel = () => {
      this.#cancelled = true;
      if (definition.cancellable && !undoing && !committed(definition, operation.step))
        controller.abort(cancelledError(operation));
    };
    if (this.#cancelled || operation.cancelRequested) this.#lease.cancel();

    const call = {
      operation,
      input: definition.input.parse(operation.input),
      state: definition.state.parse(operation.state),
      services,
      now: clock.now(),
      signal: controller.signal,
      fence: operation.fence,
      progress: (done: number, total: number) => meter.report(done, total),
    };
    let writing: Promise<void> | null = null;
    let renewed = clock.monotonic();
    const renew = async (progress: Progress | null): Promise<void> => {
      renewed = clock.monotonic();
      const { id, fence } = operation;
      try {
        const { cancelRequested } = await outbox.transaction((transaction) => {
          const now = clock.now();
          const patch = { leaseUntil: now + settings.lease, ...(progress && { progress }) };
          return transaction.operations.write(id, this.#lease.owner, fence, patch, now);
        });
        if (cancelRequested) this.#lease.cancel();
      } catch (thrown) {
        const error = ScoriaError.from(thrown);
        if (error.code === 'lease-lost') controller.abort(new LeaseLost());
        else log.warn({ err: error, operationId: id }, 'a lease could not be renewed; it is tried again');
      }
    };
    const tick = () => {
      timer = clock.timer(progressInterval, tick);
      // A slow store is not asked for more than it manages.
      if (writing) return;
      const progress = meter.take();
      if (!progress && clock.monotonic() - renewed <= settings.lease / 3) return;
      writing = renew(progress).finally(() => {
        writing = null;
      });
    };
    let timer = clock.timer(progressInterval, tick);
    let outcome: Outcome;
    try {
      const pause = operation.attempts > 0 ? settings.retryPauses[operation.attempts - 1] : undefined;
      if (pause !== undefined) await clock.sleep(pause, controller.signal);
      const result = await (undoing ? effect.undo?.(call) : effect.run(call));
      outcome = { ok: true, result: result ?? {} };
    } catch (error) {
      outcome = { ok: false, error: ScoriaError.from(error) };
    } finally {
      timer[Symbol.dispose]();
      await writing;
      this.#idle();
    }
    const reason: unknown = controller.signal.reason;
    if (reason instanceof LeaseLost) throw reason;
    if (reason instanceof Shutdown && !outcome.ok) {
      await this.#release(operation);
      throw reason;
    }
    // The operation stays as the journal has it, and goes on when the store is well again.
    if (!outcome.ok && outcome.error.code === 'store-failed') throw outcome.error;
    // Whatever an aborted effect threw, the reason of the abort is what happened.
    if (!outcome.ok && reason instanceof ScoriaError) return { ok: false, error: reason };
    return outcome;
  }

  /** Between two effects, a disturbance is remembered. */
  #idle(): void {
    this.#lease.cancel = () => {
      this.#cancelled = true;
    };
    this.#lease.interrupt = (reason) => {
      this.#interruption = reason;
    };
  }

  /** Gives the lease back with the journal as it is, so that the next worker need not wait for it to run out. */
  async #release(operation: Operation): Promise<void> {
    const now = this.#parts.clock.now();
    await this.#parts.outbox.transaction((transaction) =>
      transaction.operations.write(operation.id, this.#lease.owner, operation.fence, { leaseOwner: null, leaseUntil: 0 }, now),
    );
  }
}
