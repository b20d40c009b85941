import type { Bus } from '../bus/bus.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Outbox, Transaction } from '../event/outbox.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { WorkerSettings } from '../plugin/settings.ts';
import type { EffectStep, StepContext } from './definition.ts';
import type { WorkerScope } from './operation-repository.ts';
import type { JournalEntry, Operation, OperationStatus } from './operation.ts';
import { ProgressMeter } from './progress-meter.ts';
import { type AnyOperation, operationRegistry } from './registry.ts';
import type { OperationServices } from './services.ts';

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
}

type AnyEffect = EffectStep<unknown, unknown>;
/** How the effect that ran last came out. */
type Outcome = { readonly ok: true; readonly result: object } | { readonly ok: false; readonly error: ScoriaError };
/** A transaction step said no: the transaction was rolled back, and the next one undoes from here. */
interface Refusal {
  readonly step: number;
  readonly error: ScoriaError;
}

class Refused extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal.error.message, { cause: refusal.error });
    this.refusal = refusal;
  }
}

/** The fields of an operation that a worker moves, while it moves them. */
interface Draft {
  status: OperationStatus;
  step: number;
  started: boolean;
  state: object;
  attempts: number;
  error: ScoriaError | null;
  /** The undoing of the present step was given up. */
  abandoned: boolean;
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
    let refusal: Refusal | null = null;
    for (;;) {
      try {
        const effect: AnyEffect | null = await this.#parts.outbox.transaction((transaction) =>
          this.#advance(transaction, outcome, refusal),
        );
        if (!effect || !this.#operation) return;
        refusal = null;
        outcome = await this.#perform(effect, this.#operation);
      } catch (error) {
        if (error instanceof Refused && !refusal) refusal = error.refusal;
        else if (error instanceof ScoriaError && error.code === 'lease-lost') throw new LeaseLost();
        else throw error;
      }
    }
  }

  /** One transaction. Returns the effect to perform next, or `null` when there is nothing more to do here. */
  async #advance(transaction: Transaction, outcome: Outcome | null, refusal: Refusal | null): Promise<AnyEffect | null> {
    const now = this.#parts.clock.now();
    const { settings, scope } = this.#parts;
    const leaseUntil = now + settings.lease;
    const operation: Operation | undefined =
      this.#operation ?? (await transaction.operations.lease(this.#id, this.#lease.owner, now, leaseUntil));
    if (!operation) return null;
    const definition = operationRegistry.get(operation.name);
    if (!definition)
      throw new ScoriaError('internal', `Operation ${operation.id} is a ${operation.name}, which this version does not know`);

    const draft: Draft = {
      status: operation.status,
      step: operation.step,
      started: operation.started,
      state: definition.state.parse(operation.state) as object,
      attempts: operation.attempts,
      error: operation.error ? ScoriaError.fromData(operation.error) : null,
      abandoned: false,
    };
    const journal: Omit<JournalEntry, 'sequence'>[] = [];
    const note = (event: JournalEntry['event'], error: ScoriaError | null = null) =>
      void journal.push({
        operationId: operation.id,
        at: now,
        step: definition.steps[draft.step]?.name ?? '',
        event,
        error: error?.toData() ?? null,
      });
    const undoFrom = (error: ScoriaError) => {
      note('failed', error);
      draft.status = 'compensating';
      draft.error = error;
      if (!draft.started) draft.step -= 1;
      draft.attempts = 0;
    };
    const context = (): StepContext<unknown, unknown> => ({
      operation,
      input: definition.input.parse(operation.input),
      state: draft.state,
      services: this.#parts.services,
      now,
    });
    /** Lets the operation go: the lease is kept only for an effect of ours. */
    const write = async (patch: { role?: Operation['role']; keep: boolean }) => {
      const ended = draft.status !== 'running' && draft.status !== 'compensating';
      const backendId = (draft.state as { backendId?: string }).backendId ?? operation.backendId;
      const written = await transaction.operations.write(
        operation.id,
        this.#lease.owner,
        operation.fence,
        {
          status: draft.status,
          step: draft.step,
          started: draft.started,
          state: draft.state,
          attempts: draft.attempts,
          error: draft.error?.toData() ?? null,
          backendId,
          leaseOwner: patch.keep ? this.#lease.owner : null,
          leaseUntil: patch.keep ? leaseUntil : 0,
          ...(patch.role && { role: patch.role }),
          ...(ended && { endedAt: now }),
        },
        now,
      );
      if (journal.length > 0) await transaction.operations.appendJournal(journal);
      // Only a commit makes it so: a rolled back transaction leaves this execution as it was.
      transaction.afterCommit(() => {
        this.#operation = written;
        if (!patch.keep && !ended) this.#parts.bus.publish('operation', { operationId: operation.id });
      });
      if (ended) {
        transaction.emit({
          name: 'operation.ended',
          payload: {
            operationId: operation.id,
            projectId: operation.projectId,
            name: operation.name,
            resourceId: operation.resourceId,
            status: draft.status,
          },
        });
      }
    };

    if (outcome?.ok) {
      if (draft.status === 'running') {
        draft.state = { ...draft.state, ...outcome.result };
        note('done');
        draft.step += 1;
      } else {
        note('undone');
        draft.step -= 1;
      }
      draft.started = false;
      draft.attempts = 0;
    } else if (outcome) {
      const again = outcome.error.retryable && outcome.error.code !== 'cancelled' && draft.attempts < settings.retryPauses.length;
      if (again) {
        note('failed', outcome.error);
        draft.attempts += 1;
      } else if (draft.status === 'running') {
        undoFrom(outcome.error);
      } else {
        note('failed', outcome.error);
        draft.abandoned = true;
      }
    }

    for (;;) {
      const step = definition.steps[draft.step];
      if (draft.status === 'running') {
        if (!step) {
          draft.status = 'succeeded';
          note('ended');
          await write({ keep: false });
          return null;
        }
        if (refusal?.step === draft.step) {
          undoFrom(refusal.error);
          continue;
        }
        if ((this.#cancelled || operation.cancelRequested) && definition.cancellable) {
          undoFrom(cancelledError(operation));
          continue;
        }
        if (step.kind === 'effect' && step.when && !step.when(draft.state, operation.input)) {
          draft.step += 1;
          continue;
        }
      } else if (!step || draft.abandoned) {
        const error = draft.error ?? new ScoriaError('internal', `${operation.name} was undone for no reason`);
        const cancelled = error.code === 'cancelled';
        await definition.failed(transaction, context(), { error, undone: !draft.abandoned, cancelled });
        draft.status = cancelled ? 'cancelled' : 'failed';
        note('ended', error);
        await write({ keep: false });
        return null;
      } else if (!step.undo || (step.kind === 'effect' && step.when && !step.when(draft.state, operation.input))) {
        draft.step -= 1;
        draft.started = false;
        continue;
      }

      const served = scope.roles.includes(step.role) && (step.role === 'scheduler' || this.#serves(operation, draft));
      if (!served) {
        await write({ role: step.role, keep: false });
        return null;
      }
      if (step.kind === 'effect') {
        note(draft.status === 'running' ? 'start' : 'undo');
        draft.started = true;
        await write({ role: step.role, keep: true });
        return step;
      }
      if (draft.status === 'running') {
        const added = await this.#attempt(() => step.run(transaction, context()), draft.step);
        draft.state = { ...draft.state, ...added };
        note('done');
        draft.step += 1;
      } else {
        await step.undo?.(transaction, context());
        note('undone');
        draft.step -= 1;
      }
    }
  }

  /** Runs a transaction step; its refusal rolls the transaction back. */
  async #attempt(run: () => Promise<unknown>, step: number): Promise<object> {
    try {
      return ((await run()) as object | undefined) ?? {};
    } catch (error) {
      const refused = ScoriaError.from(error);
      if (refused.code === 'lease-lost') throw refused;
      throw new Refused({ step, error: refused });
    }
  }

  #serves(operation: Operation, draft: Draft): boolean {
    const backendId = (draft.state as { backendId?: string }).backendId ?? operation.backendId;
    return backendId !== null && backendId !== undefined && this.#parts.scope.backendIds.includes(backendId);
  }

  /** Performs an effect, renewing the lease and writing progress meanwhile. Settles only after the effect has. */
  async #perform(effect: AnyEffect, operation: Operation): Promise<Outcome> {
    const { clock, settings, services, outbox } = this.#parts;
    if (this.#interruption) {
      await this.#release(operation);
      throw this.#interruption;
    }
    const definition = operationRegistry.get(operation.name) as AnyOperation;
    const controller = new AbortController();
    const meter = new ProgressMeter(clock, effect.name);
    const undoing = operation.status === 'compensating';
    this.#lease.interrupt = (reason) => controller.abort(reason);
    this.#lease.cancel = () => {
      this.#cancelled = true;
      if (definition.cancellable && !undoing) controller.abort(cancelledError(operation));
    };
    if (this.#cancelled || operation.cancelRequested) this.#lease.cancel();

    let writing: Promise<void> = Promise.resolve();
    let renewed = clock.monotonic();
    let timer: Disposable | null = null;
    const tick = () => {
      const progress = meter.take();
      if (progress || clock.monotonic() - renewed > settings.lease / 3) {
        renewed = clock.monotonic();
        const now = clock.now();
        writing = outbox
          .transaction((transaction) =>
            transaction.operations.write(
              operation.id,
              this.#lease.owner,
              operation.fence,
              { leaseUntil: now + settings.lease, ...(progress && { progress }) },
              now,
            ),
          )
          .then((written) => {
            if (written.cancelRequested) this.#lease.cancel();
          })
          .catch((error: unknown) => {
            if (ScoriaError.from(error).code === 'lease-lost') controller.abort(new LeaseLost());
          });
      }
      timer = clock.timer(progressInterval, tick);
    };
    timer = clock.timer(progressInterval, tick);

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

function cancelledError(operation: Operation): ScoriaError {
  return new ScoriaError('cancelled', `${operation.name} was cancelled before it was done.`);
}
