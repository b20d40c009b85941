import type { Bus } from '../bus/bus.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import type { WorkerSettings } from '../plugin/settings.ts';
import type { EffectStep, StepContext, TransactionStep } from './definition.ts';
import type { WorkerScope } from './operation-repository.ts';
import type { JournalEntry, Operation, OperationRole, OperationStatus } from './operation.ts';
import { type AnyOperation, operationRegistry } from './registry.ts';
import type { OperationServices } from './services.ts';

/** An effect of whatever operation. */
export type AnyEffect = EffectStep<unknown, unknown>;
type AnyStep = TransactionStep<unknown, unknown> | AnyEffect;

/** How the effect that ran last came out. */
export type Outcome = { readonly ok: true; readonly result: object } | { readonly ok: false; readonly error: ScoriaError };

/** A transaction step said no. The transaction was rolled back; the next one undoes from there, or gives its undoing up. */
export class Refusal extends Error {
  readonly step: number;
  /** It was to be undone. */
  readonly undoing: boolean;
  readonly error: ScoriaError;

  constructor(step: number, undoing: boolean, error: ScoriaError) {
    super(error.message, { cause: error });
    this.step = step;
    this.undoing = undoing;
    this.error = error;
  }

  isOf(step: number, undoing: boolean): boolean {
    return this.step === step && this.undoing === undoing;
  }
}

/** What is not a step's own answer: the operation stays as the journal has it. */
const notOfTheStep: ReadonlySet<string> = new Set(['lease-lost', 'store-failed']);

/** What one turn works with. */
export interface TurnParts {
  readonly transaction: Transaction;
  readonly operation: Operation;
  /** Holder of the lease. */
  readonly owner: string;
  readonly now: number;
  readonly bus: Bus;
  readonly services: OperationServices;
  readonly settings: WorkerSettings;
  readonly scope: WorkerScope;
  /** Whether the operation may work on a backend. Asked only about those in `scope`. */
  takeSlot(backendId: string): boolean;
  /** Called with the operation as written, once that is durable. */
  readonly written: (operation: Operation) => void;
}

/** The error of an operation that somebody cancelled. */
export function cancelledError(operation: Operation): ScoriaError {
  return new ScoriaError('cancelled', `${operation.name} was cancelled before it was done.`);
}

/** The definition of an operation. `internal` when this version does not have it. */
export function definitionOf(operation: Operation): AnyOperation {
  const definition = operationRegistry.get(operation.name);
  if (definition) return definition;
  throw new ScoriaError('internal', `Operation ${operation.id} is a ${operation.name}, which this version does not know`);
}

/** Whether a step before the one with this index has made an operation final. */
export function committed(definition: AnyOperation, step: number): boolean {
  return definition.steps.slice(0, Math.max(step, 0)).some((each) => each.kind === 'transaction' && each.commits);
}

/**
 * One turn of an operation, within one transaction: records what the effect before it gave, runs the transaction steps
 * that follow, and journals the intent of the next effect; or writes the end.
 */
export class Turn {
  readonly #parts: TurnParts;
  readonly #definition: AnyOperation;
  readonly #journal: Omit<JournalEntry, 'sequence'>[] = [];
  #status: OperationStatus;
  /** Index of the step to run next, or while compensating to undo next. */
  #step: number;
  /** The effect of that step may exist. */
  #started: boolean;
  #state: object;
  #attempts: number;
  #error: ScoriaError | null;
  /** When the present step is tried again by whoever takes the operation then. */
  #notBefore: number | null = null;
  /** The undoing of the present step was given up. */
  #abandoned = false;

  constructor(parts: TurnParts) {
    const { operation } = parts;
    this.#parts = parts;
    this.#definition = definitionOf(operation);
    this.#status = operation.status;
    this.#step = operation.step;
    this.#started = operation.started;
    this.#state = this.#definition.state.parse(operation.state) as object;
    this.#attempts = operation.attempts;
    this.#error = operation.error ? ScoriaError.fromData(operation.error) : null;
  }

  /**
   * Takes the turn. Returns the effect to perform next, or `null` when there is nothing more to do here: the operation
   * has ended or goes on in another role. Throws {@link Refusal}.
   */
  async take(outcome: Outcome | null, refusals: readonly Refusal[], cancelRequested: boolean): Promise<AnyEffect | null> {
    if (outcome) this.#record(outcome);
    if (this.#notBefore !== null) return this.#handOver(this.#parts.operation.role);
    for (;;) {
      const step = this.#definition.steps[this.#step];
      const undoing = this.#status === 'compensating';
      const refusal = refusals.find((each) => each.isOf(this.#step, undoing));
      if (!undoing) {
        if (!step) return this.#succeed();
        if (refusal) this.#undoFrom(refusal.error);
        else if (cancelRequested && this.#cancellable()) this.#undoFrom(cancelledError(this.#parts.operation));
        else if (this.#passesOver(step)) this.#step += 1;
        else if (!this.#serves(step)) return this.#handOver(step.role);
        else if (step.kind === 'effect') return this.#begin(step);
        else await this.#runTransactionStep(step);
      } else {
        if (!step || this.#abandoned) return this.#fail();
        if (refusal) this.#giveUp(refusal.error);
        else if (!step.undo || this.#passesOver(step)) this.#stepBack();
        else if (!this.#serves(step)) return this.#handOver(step.role);
        else if (step.kind === 'effect') return this.#begin(step);
        else {
          await this.#undoTransactionStep(step.undo.bind(step));
        }
      }
    }
  }

  #record(outcome: Outcome): void {
    if (outcome.ok) {
      this.#note(this.#status === 'running' ? 'done' : 'undone');
      this.#state = { ...this.#state, ...outcome.result };
      this.#step += this.#status === 'running' ? 1 : -1;
      this.#started = false;
      this.#attempts = 0;
      return;
    }
    const { error } = outcome;
    const { retryPauses, busyPause } = this.#parts.settings;
    const busy = error.code === 'backend-busy' && this.#waitsWhileBusy();
    if (!busy && this.#waiting) this.#attempts = 0;
    const again = error.retryable && error.code !== 'cancelled' && this.#attempts < retryPauses.length;
    if (again) {
      this.#note('failed', error);
      this.#attempts += 1;
    } else if (busy) {
      if (!this.#waiting) this.#note('failed', error);
      this.#attempts = retryPauses.length + 1;
      this.#notBefore = this.#parts.now + busyPause;
    } else if (this.#status === 'running') {
      this.#undoFrom(error);
    } else {
      this.#giveUp(error);
    }
  }

  #giveUp(error: ScoriaError): void {
    this.#note('failed', error);
    this.#abandoned = true;
  }

  #waitsWhileBusy(): boolean {
    const step = this.#definition.steps[this.#step];
    return this.#status === 'running' && step?.kind === 'effect' && step.waitsWhileBusy === true;
  }

  /** The step has been found busy so often that the journal tells no more of it. */
  get #waiting(): boolean {
    return this.#attempts > this.#parts.settings.retryPauses.length;
  }

  #undoFrom(error: ScoriaError): void {
    this.#note('failed', error);
    this.#status = 'compensating';
    this.#error = error;
    this.#attempts = 0;
    this.#abandoned = this.#committed();
    if (!this.#started) this.#step -= 1;
  }

  #cancellable(): boolean {
    return this.#definition.cancellable && !this.#committed();
  }

  /** Whether a step behind has made what is done final. */
  #committed(): boolean {
    return committed(this.#definition, this.#step);
  }

  #stepBack(): void {
    this.#step -= 1;
    this.#started = false;
  }

  #passesOver(step: AnyStep): boolean {
    return step.kind === 'effect' && step.when !== undefined && !step.when(this.#state, this.#parts.operation.input);
  }

  #serves({ role }: AnyStep): boolean {
    const { scope, takeSlot } = this.#parts;
    if (!scope.roles.includes(role)) return false;
    const backendId = this.#backendId();
    if (role === 'scheduler') return true;
    return backendId !== null && scope.backendIds.includes(backendId) && takeSlot(backendId);
  }

  #backendId(): string | null {
    const found = 'backendId' in this.#state ? this.#state.backendId : undefined;
    return typeof found === 'string' ? found : this.#parts.operation.backendId;
  }

  async #runTransactionStep(step: TransactionStep<unknown, unknown>): Promise<void> {
    const added = await this.#asked(() => step.run(this.#parts.transaction, this.#context()));
    this.#state = { ...this.#state, ...(added as object | undefined) };
    this.#note('done');
    this.#step += 1;
  }

  async #undoTransactionStep(undo: NonNullable<TransactionStep<unknown, unknown>['undo']>): Promise<void> {
    await this.#asked(() => undo(this.#parts.transaction, this.#context()));
    this.#note('undone');
    this.#stepBack();
  }

  /** Asks the present step to run or to undo, and makes a {@link Refusal} of its no. */
  async #asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      const error = ScoriaError.from(thrown);
      throw notOfTheStep.has(error.code) ? error : new Refusal(this.#step, this.#status === 'compensating', error);
    }
  }

  async #begin(step: AnyEffect): Promise<AnyEffect> {
    if (!this.#waiting) this.#note(this.#status === 'running' ? 'start' : 'undo');
    this.#started = true;
    await this.#write(step.role, true);
    return step;
  }

  async #handOver(role: OperationRole): Promise<null> {
    const { transaction, bus, operation } = this.#parts;
    // Whoever is not there to hear of it finds it by a sweep: calling again and again would keep everybody else busy.
    const known = operation.role === role && operation.backendId === this.#backendId();
    await this.#write(role, false);
    if (!known) transaction.afterCommit(() => bus.publish('operation', { operationId: operation.id }));
    return null;
  }

  async #succeed(): Promise<null> {
    this.#status = 'succeeded';
    return this.#end(null);
  }

  async #fail(): Promise<null> {
    const { operation, transaction } = this.#parts;
    const error = this.#error ?? new ScoriaError('internal', `${operation.name} was undone for no reason`);
    const cancelled = error.code === 'cancelled';
    await this.#definition.failed(transaction, this.#context(), { error, undone: !this.#abandoned, cancelled });
    this.#status = cancelled ? 'cancelled' : 'failed';
    return this.#end(error);
  }

  async #end(error: ScoriaError | null): Promise<null> {
    const { operation, transaction } = this.#parts;
    const { id: operationId, projectId, name, resourceId } = operation;
    this.#note('ended', error);
    await this.#write(operation.role, false);
    transaction.emit({ name: 'operation.ended', payload: { operationId, projectId, name, resourceId, status: this.#status } });
    return null;
  }

  #context(): StepContext<unknown, unknown> {
    const { operation, services, now } = this.#parts;
    return { operation, input: this.#definition.input.parse(operation.input), state: this.#state, services, now };
  }

  #note(event: JournalEntry['event'], error: ScoriaError | null = null): void {
    const { operation, now } = this.#parts;
    const step = this.#definition.steps[this.#step]?.name ?? '';
    this.#journal.push({ operationId: operation.id, at: now, step, event, error: error?.toData() ?? null });
  }

  /** @param keep - whether the lease is kept, for an effect of ours. */
  async #write(role: OperationRole, keep: boolean): Promise<void> {
    const { transaction, operation, owner, now, settings } = this.#parts;
    const ended = this.#status !== 'running' && this.#status !== 'compensating';
    const written = await transaction.operations.write(
      operation.id,
      owner,
      operation.fence,
      {
        status: this.#status,
        step: this.#step,
        started: this.#started,
        state: this.#state,
        attempts: this.#attempts,
        error: this.#error?.toData() ?? null,
        role,
        backendId: this.#backendId(),
        leaseOwner: keep ? owner : null,
        leaseUntil: keep ? now + settings.lease : 0,
        ...(this.#notBefore !== null && { notBefore: this.#notBefore }),
        ...(ended && { endedAt: now }),
      },
      now,
    );
    if (this.#journal.length > 0) await transaction.operations.appendJournal(this.#journal);
    transaction.afterCommit(() => this.#parts.written(written));
  }
}
