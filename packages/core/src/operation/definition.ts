import type { z } from 'zod';
import type { Transaction } from '../event/outbox.ts';
import type { ScoriaError } from '../error/scoria-error.ts';
import type { PluginCall } from '../volume/driver.ts';
import type { Operation, OperationRole } from './operation.ts';
import type { OperationServices } from './services.ts';

/** What a step knows. */
export interface StepContext<Input, State> {
  readonly operation: Operation;
  readonly input: Input;
  /** What the steps before have found out. */
  readonly state: State;
  readonly services: OperationServices;
  /** Milliseconds since 1970. */
  readonly now: number;
}

interface Step {
  /** Unique within the operation; stands in the journal. */
  readonly name: string;
  readonly role: OperationRole;
}

/** A step inside of the store: it lands in one transaction with its own record. It may refuse by throwing. */
export interface TransactionStep<Input, State> extends Step {
  readonly kind: 'transaction';
  /** Returns what to add to the state. */
  run(transaction: Transaction, context: StepContext<Input, State>): Promise<Partial<State> | void>;
  undo?(transaction: Transaction, context: StepContext<Input, State>): Promise<void>;
  /** From here on there is no way back: a later failure or cancellation undoes nothing. */
  readonly commits?: boolean;
}

/**
 * A step outside of the store. Its intent is journaled first; it may run again, so its effect must be the same when
 * repeated. `undo` must do no harm when the effect never came about.
 */
export interface EffectStep<Input, State> extends Step {
  readonly kind: 'effect';
  /** The step is passed over when this says no. */
  when?(state: State, input: Input): boolean;
  run(context: StepContext<Input, State> & PluginCall): Promise<Partial<State> | void>;
  undo?(context: StepContext<Input, State> & PluginCall): Promise<Partial<State> | void>;
  /** What is done cannot be undone by giving up: while the backend is busy it is tried again, for as long as that takes. */
  readonly waitsWhileBusy?: boolean;
  /** For plans: bytes that the step would copy, told before it runs; 0 when it would be passed over. */
  copies?(transaction: Transaction, context: StepContext<Input, State>): Promise<number>;
}

/** How an operation came to its end without success. */
export interface Failure {
  readonly error: ScoriaError;
  /** Whether everything that was done is undone. */
  readonly undone: boolean;
  /** Somebody asked for the end. */
  readonly cancelled: boolean;
}

/** An operation as a value: its steps, in order. The engine runs it, a crash harness and the docs read it. */
export interface OperationDefinition<Input = never, State = never> {
  /** For example `volume.create`. */
  readonly name: string;
  readonly input: z.ZodType<Input>;
  readonly state: z.ZodType<State>;
  /** Whether it can be stopped half-way, which undoes it. */
  readonly cancellable: boolean;
  readonly steps: readonly (TransactionStep<Input, State> | EffectStep<Input, State>)[];
  /** Lands with the record of the failure, after the steps were undone. */
  failed(transaction: Transaction, context: StepContext<Input, State>, failure: Failure): Promise<void>;
}

/** Checks an operation's definition and gives it back with its types. */
export function defineOperation<Input, State>(definition: OperationDefinition<Input, State>): OperationDefinition<Input, State> {
  const names = new Set(definition.steps.map((step) => step.name));
  if (names.size !== definition.steps.length) throw new Error(`Two steps of ${definition.name} have one name`);
  return definition;
}

/** Adds the backend that goes on with the operation after the scheduler's steps. Every operation's state has it. */
export interface RoutedState {
  readonly backendId?: string | undefined;
}
