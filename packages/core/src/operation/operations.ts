import { ScoriaError } from '../error/scoria-error.ts';
import type { Bus } from '../bus/bus.ts';
import type { Outbox, Transaction } from '../event/outbox.ts';
import type { Clock } from '../platform/clock.ts';
import { withDeadline } from '../platform/deadline.ts';
import type { Random } from '../platform/random.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { ListQuery } from '../store/list-query.ts';
import type { Store } from '../store/store.ts';
import { listTenancy, type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import type { OperationDefinition } from './definition.ts';
import type { JournalEntry, Operation, OperationField, OperationRole, OperationStatus, ResourceUse } from './operation.ts';
import { instantPlan, type Plan, planOperation } from './plan.ts';
import { operationRegistry } from './registry.ts';
import type { OperationServices } from './services.ts';

/** Whether an operation in this status will change no more. */
export function hasEnded(status: OperationStatus): boolean {
  return status === 'succeeded' || status === 'failed' || status === 'cancelled';
}

/** What is needed to begin an operation. */
export interface Beginning<Input> {
  readonly input: Input;
  readonly resourceKind: Operation['resourceKind'];
  readonly resourceId: string;
  readonly uses: readonly ResourceUse[];
  /** Backend whose volume service begins; `null` when the scheduler does. */
  readonly backendId: string | null;
  readonly projectId: string;
}

/** What an accepted request led to. */
export interface AcceptedRequest {
  readonly resourceId: string;
  /** `null` when there was nothing left to do. */
  readonly operationId: string | null;
}

/** A request that led to an operation. */
export interface BegunOperation extends AcceptedRequest {
  readonly operationId: string;
}

/** An operation and what stands in its journal. */
export interface OperationHistory {
  readonly operation: Operation;
  readonly journal: readonly JournalEntry[];
}

/** Carries a plan out of a transaction that is rolled back. */
class Planned extends Error {
  readonly plan: Plan;
  constructor(plan: Plan) {
    super('planned');
    this.plan = plan;
  }
}

/** Durable operations: begun within a transaction, then looked at, waited for and cancelled. */
@wired(tokens.Store, tokens.Outbox, tokens.Bus, tokens.Clock, tokens.Random, tokens.OperationServices)
export class Operations {
  readonly #store: Store;
  readonly #outbox: Outbox;
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #services: OperationServices;

  constructor(store: Store, outbox: Outbox, bus: Bus, clock: Clock, random: Random, services: OperationServices) {
    this.#store = store;
    this.#outbox = outbox;
    this.#bus = bus;
    this.#clock = clock;
    this.#random = random;
    this.#services = services;
  }

  /**
   * Writes an operation in the caller's transaction, and wakes a worker once that is durable. Fails with
   * `invalid-state` when another operation is in the way.
   */
  async begin<Input, State>(
    transaction: Transaction,
    definition: OperationDefinition<Input, State>,
    context: RequestContext,
    beginning: Beginning<Input>,
  ): Promise<BegunOperation> {
    const now = this.#clock.now();
    const id = this.#random.uuid();
    // Without a backend only the scheduler's role can begin; the first step says where it goes on.
    const role: OperationRole = beginning.backendId === null ? 'scheduler' : (definition.steps[0]?.role ?? 'volume');
    await transaction.operations.insert(
      {
        id,
        name: definition.name,
        projectId: beginning.projectId,
        userId: context.userId,
        requestId: context.requestId,
        resourceKind: beginning.resourceKind,
        resourceId: beginning.resourceId,
        status: 'running',
        step: 0,
        started: false,
        input: beginning.input,
        state: {},
        role,
        backendId: beginning.backendId,
        leaseOwner: null,
        leaseUntil: 0,
        fence: 0,
        attempts: 0,
        notBefore: 0,
        cancelRequested: false,
        progress: null,
        error: null,
        createdAt: now,
        updatedAt: now,
        endedAt: null,
      },
      beginning.uses,
    );
    transaction.afterCommit(() => this.#bus.publish('operation', { operationId: id }));
    return { resourceId: beginning.resourceId, operationId: id };
  }

  /**
   * Accepts a request: runs `work`, which writes and begins, in one transaction. A request with an idempotency key that
   * was accepted before is not carried out again: what it led to is returned; `idempotency-mismatch` when something else
   * was asked under that key. In a dry run everything is rolled back and the plan is thrown, for {@link plan} to catch.
   */
  async accept(context: RequestContext, work: (transaction: Transaction) => Promise<AcceptedRequest>): Promise<AcceptedRequest> {
    return this.#outbox.transaction(async (transaction) => {
      const { idempotency, projectId } = context;
      const earlier = idempotency && (await transaction.rememberedRequests.find(projectId, idempotency.key));
      if (earlier && earlier.fingerprint !== idempotency.fingerprint) {
        throw new ScoriaError('idempotency-mismatch', `The key ${idempotency.key} was used for another request.`);
      }
      const accepted = earlier ?? (await work(transaction));
      const { resourceId, operationId } = accepted;
      const now = this.#clock.now();
      if (context.dryRun) {
        if (earlier || operationId === null) throw new Planned(instantPlan);
        const operation = await transaction.operations.get('every-project', operationId);
        throw new Planned(await planOperation(transaction, this.#services, operation, now));
      }
      if (idempotency && !earlier) {
        await transaction.rememberedRequests.insert({ ...idempotency, projectId, resourceId, operationId, createdAt: now });
      }
      return accepted;
    });
  }

  /** As {@link accept}, for requests that always begin an operation. */
  async acceptOperation(
    context: RequestContext,
    work: (transaction: Transaction) => Promise<BegunOperation>,
  ): Promise<BegunOperation> {
    const { resourceId, operationId } = await this.accept(context, work);
    if (operationId === null) throw new ScoriaError('idempotency-mismatch', 'The key was used for a request of another kind.');
    return { resourceId, operationId };
  }

  /**
   * What a request would do: runs `request` dry, up to its first effect, and leaves nothing. Refusals come as they would.
   * For requests that begin an operation, or change a name or metadata; others do not know of dry runs.
   *
   * @example
   * const { estimate } = await storage.operations.plan(context, (dry) => storage.volumes.create(dry, { sourceVolumeId }));
   */
  async plan(context: RequestContext, request: (dry: RequestContext) => Promise<unknown>): Promise<Plan> {
    try {
      await request({ ...context, dryRun: true });
    } catch (error) {
      if (error instanceof Planned) return error.plan;
      throw error;
    }
    return instantPlan;
  }

  /** What was done to a resource, oldest first: each operation with its journal. Also of one that is gone. */
  async history(context: RequestContext, resourceId: string): Promise<readonly OperationHistory[]> {
    const operations = await this.#store.reading.operations.list(tenancyOf(context), {
      where: [{ field: 'resourceId', op: 'eq', value: resourceId }],
      sort: [{ field: 'createdAt', direction: 'asc' }],
    });
    const { operations: repository } = this.#store.reading;
    return Promise.all(operations.map(async (operation) => ({ operation, journal: await repository.journal(operation.id) })));
  }

  async get(context: RequestContext, id: string): Promise<Operation> {
    return this.#store.reading.operations.get(tenancyOf(context), id);
  }

  async list(
    context: RequestContext,
    query: ListQuery<OperationField>,
    options: { readonly allProjects?: boolean } = {},
  ): Promise<readonly Operation[]> {
    return this.#store.reading.operations.list(listTenancy(context, options.allProjects ?? false), query);
  }

  /** What was done, step by step. */
  async journal(context: RequestContext, id: string): Promise<readonly JournalEntry[]> {
    await this.get(context, id);
    return this.#store.reading.operations.journal(id);
  }

  /**
   * Asks for the end of an operation; what it did is undone. `not-supported` for one that cannot be stopped half-way,
   * `invalid-state` for one that has ended.
   */
  async cancel(context: RequestContext, id: string): Promise<Operation> {
    const operation = await this.get(context, id);
    if (hasEnded(operation.status)) throw new ScoriaError('invalid-state', `Operation ${id} has ended: ${operation.status}.`);
    if (!operationRegistry.get(operation.name)?.cancellable) {
      throw new ScoriaError('not-supported', `${operation.name} cannot be cancelled; it comes to its end soon.`);
    }
    const noted = await this.#outbox.transaction(async (transaction) => {
      transaction.afterCommit(() => this.#bus.publish('cancel', { operationId: id }));
      return transaction.operations.requestCancel(tenancyOf(context), id, this.#clock.now());
    });
    return noted;
  }

  /** Waits until an operation has ended, at most `ms` milliseconds. Throws the operation's own error when it failed, `deadline-exceeded` when it still runs. */
  async wait(id: string, ms: number): Promise<Operation> {
    const operation = await withDeadline(this.#clock, ms, `Operation ${id}`, async (signal) => {
      for (;;) {
        const { promise, resolve } = Promise.withResolvers<void>();
        using _subscription = this.#outbox.subscribe((event) => {
          if (event.name === 'operation.ended' && event.payload['operationId'] === id) resolve();
        });
        const current = await this.#store.reading.operations.get('every-project', id);
        if (hasEnded(current.status)) return current;
        await Promise.race([promise, this.#clock.sleep(2_000, signal)]);
      }
    });
    if (operation.status !== 'succeeded' && operation.error) throw ScoriaError.fromData(operation.error);
    return operation;
  }
}
