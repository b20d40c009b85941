import type { ListQuery } from '../store/list-query.ts';
import type { Tenancy } from '../tenancy/request-context.ts';
import type { JournalEntry, Operation, OperationField, OperationRole, ResourceUse } from './operation.ts';

/** Which operations a worker may take. */
export interface WorkerScope {
  /** The worker: whatever it holds a lease of, and does not work on, is free for it. */
  readonly owner: string;
  readonly roles: readonly OperationRole[];
  /** Backends that the worker serves, for role `volume`. */
  readonly backendIds: readonly string[];
}

/** What the worker that holds the lease may write. */
export type OperationPatch = Partial<
  Pick<
    Operation,
    | 'status'
    | 'step'
    | 'started'
    | 'state'
    | 'role'
    | 'backendId'
    | 'leaseOwner'
    | 'leaseUntil'
    | 'attempts'
    | 'notBefore'
    | 'progress'
    | 'error'
    | 'endedAt'
  >
>;

/** The operations of a store, with their journal. */
export interface OperationRepository {
  /**
   * Adds an operation and the uses it makes. Throws `invalid-state`, naming the operation in the way, when another that
   * has not ended changes one of these resources, or uses one that this one would change.
   */
  insert(operation: Operation, uses: readonly ResourceUse[]): Promise<void>;
  /** `not-found` when there is none that the tenancy may see. */
  get(tenancy: Tenancy, id: string): Promise<Operation>;
  list(tenancy: Tenancy, query: ListQuery<OperationField>): Promise<readonly Operation[]>;
  /**
   * Ids of operations that have not ended, whose lease is free, over or the worker's own, and whose time has come; oldest
   * first. What was written in the future, by a clock that has gone back since, waits no longer.
   */
  runnable(scope: WorkerScope, now: number, limit: number): Promise<readonly string[]>;
  /** Takes or takes again the lease by compare-and-swap, with the next fencing token; `undefined` when another was faster or there is nothing to do. */
  lease(id: string, owner: string, now: number, until: number): Promise<Operation | undefined>;
  /** Ends every lease: whoever holds them is gone. Their fencing tokens stay used. */
  endLeases(): Promise<void>;
  /** Writes as the holder of the lease. `lease-lost` when the owner or the fencing token is no longer the operation's. Ending an operation frees its uses. */
  write(id: string, owner: string, fence: number, patch: OperationPatch, now: number): Promise<Operation>;
  /** Notes that somebody wants it cancelled. Does nothing when it has ended. */
  requestCancel(tenancy: Tenancy, id: string, now: number): Promise<Operation>;
  /** Operations that have not ended and use a resource. */
  using(kind: ResourceUse['kind'], id: string): Promise<readonly Operation[]>;
  /** Operations that have not ended, whoever works on them; oldest first, at most `limit`. */
  unended(limit: number): Promise<readonly Operation[]>;
  appendJournal(entries: readonly Omit<JournalEntry, 'sequence'>[]): Promise<void>;
  /** Removes operations that ended before a time, with their journal, at most `limit`, oldest first; returns how many. */
  removeEnded(before: number, limit: number): Promise<number>;
  journal(operationId: string): Promise<readonly JournalEntry[]>;
}
