import type { ErrorData } from '../error/scoria-error.ts';

/**
 * Where an operation stands. `running` goes through its steps, `compensating` undoes them in reverse. The others are
 * ends: `succeeded`, `failed` (the error says why; what was done is undone), `cancelled`.
 */
export type OperationStatus = 'running' | 'compensating' | 'succeeded' | 'failed' | 'cancelled';

/** Which process role carries out a step: the scheduler's, or the volume service of a certain backend. */
export type OperationRole = 'scheduler' | 'volume';

/** How far an operation is. */
export interface Progress {
  /** Name of the step that reports. */
  readonly step: string;
  /** Bytes. */
  readonly done: number;
  /** Bytes; 0 when not yet known. */
  readonly total: number;
  /** Bytes a second, over the time since the step began. */
  readonly rate: number;
  /** Milliseconds that are left at this rate; `null` when it cannot be told. */
  readonly remaining: number | null;
}

/** Use that an operation makes of a resource while it runs: several may read, one may change. */
export interface ResourceUse {
  readonly kind: 'volume' | 'snapshot' | 'attachment' | 'access';
  readonly id: string;
  readonly mode: 'read' | 'change';
}

/** A durable operation: a change that is under way or was. */
export interface Operation {
  readonly id: string;
  /** Name of its definition, for example `volume.create`. */
  readonly name: string;
  readonly projectId: string;
  readonly userId: string;
  readonly requestId: string;
  /** The resource it is about. */
  readonly resourceKind: 'volume' | 'snapshot' | 'attachment';
  readonly resourceId: string;
  readonly status: OperationStatus;
  /** Index of the step to run, or while compensating to undo, next. */
  readonly step: number;
  /** Whether the intent of that step is journaled: its effect may exist. */
  readonly started: boolean;
  /** What was asked, as the definition's schema has it. */
  readonly input: unknown;
  /** What the steps have found out so far. */
  readonly state: unknown;
  /** Who may work on it next. */
  readonly role: OperationRole;
  /** For role `volume`: the backend whose volume service works on it. */
  readonly backendId: string | null;
  /** Worker that has it now, or `null`. */
  readonly leaseOwner: string | null;
  /** The lease ends at this time if it is not renewed. */
  readonly leaseUntil: number;
  /** Grows with each lease of any operation in the store; goes along on every call to a plug-in, which refuses a lower one than it has seen. */
  readonly fence: number;
  /** Attempts of the present step so far. */
  readonly attempts: number;
  /** Not to be worked on before this time. */
  readonly notBefore: number;
  readonly cancelRequested: boolean;
  readonly progress: Progress | null;
  /** Why it is being undone, or ended without success. */
  readonly error: ErrorData | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly endedAt: number | null;
}

/** One line of an operation's journal. */
export interface JournalEntry {
  readonly operationId: string;
  /** Ascending within the operation. */
  readonly sequence: number;
  readonly at: number;
  readonly step: string;
  /** `start`: intent before an effect; `done`; `failed`: with the error; `undo`: intent; `undone`; `ended`. */
  readonly event: 'start' | 'done' | 'failed' | 'undo' | 'undone' | 'ended';
  readonly error: ErrorData | null;
}

/** Fields by which operations are filtered and sorted. */
export type OperationField =
  | 'id'
  | 'name'
  | 'projectId'
  | 'requestId'
  | 'resourceKind'
  | 'resourceId'
  | 'status'
  | 'createdAt'
  | 'updatedAt';
