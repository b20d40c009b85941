import type { Transaction } from '../event/outbox.ts';
import type { Operation, OperationRole } from './operation.ts';
import type { OperationServices } from './services.ts';
import { definitionOf } from './turn.ts';

/** What one step would do. */
export interface PlannedStep {
  readonly name: string;
  readonly role: OperationRole;
  readonly kind: 'transaction' | 'effect';
  /** Bytes that it would copy at most; 0 for a step that copies nothing. */
  readonly bytes: number;
  /** It is known already that it would be passed over. */
  readonly passedOver: boolean;
}

/** What a request would lead to. */
export interface Plan {
  /** Name of the operation, or `null` when the request needs none. */
  readonly operation: string | null;
  readonly steps: readonly PlannedStep[];
  /** Bytes that would be copied at most. */
  readonly bytes: number;
  /** Milliseconds that copying would take, by what earlier copies took; 0 when there is nothing to copy. */
  readonly milliseconds: number;
  /** The same in words: `instant`, or `80 GiB, about 4 min`. */
  readonly estimate: string;
  /** Where it would happen, as far as the scheduler says now; `null` when nothing is placed. */
  readonly hostString: string | null;
}

/** Bytes a second that are assumed until a copy was measured here. */
const assumedRate = 200 * 2 ** 20;
/** Copies below this size say little about the rate. */
const tellingSize = 64 * 2 ** 20;

/**
 * Plans an operation that was begun in the caller's transaction, which must be rolled back afterwards: the transaction
 * steps up to the first effect are really run, so refusals show as they would, and the rest is estimated.
 */
export async function planOperation(
  transaction: Transaction,
  services: OperationServices,
  operation: Operation,
  now: number,
): Promise<Plan> {
  const definition = definitionOf(operation);
  const input = definition.input.parse(operation.input);
  let state = definition.state.parse(operation.state) as object;
  let reachedEffect = false;
  const steps: PlannedStep[] = [];
  for (const step of definition.steps) {
    const context = { operation, input, state, services, now };
    if (step.kind === 'transaction') {
      if (!reachedEffect) state = { ...state, ...((await step.run(transaction, context)) as object | undefined) };
      steps.push({ name: step.name, role: step.role, kind: step.kind, bytes: 0, passedOver: false });
      continue;
    }
    reachedEffect = true;
    const bytes = (await step.copies?.(transaction, context)) ?? 0;
    const passedOver = step.copies ? bytes === 0 : step.when !== undefined && !step.when(state, input);
    steps.push({ name: step.name, role: step.role, kind: step.kind, bytes, passedOver });
  }
  const bytes = steps.reduce((sum, step) => sum + step.bytes, 0);
  const milliseconds = bytes === 0 ? 0 : Math.round((bytes * 1000) / (await measuredRate(transaction)));
  return {
    operation: operation.name,
    steps,
    bytes,
    milliseconds,
    estimate: inWords(bytes, milliseconds),
    hostString: await placeOf(transaction, state, operation),
  };
}

/** The plan of a request that is done as soon as it is accepted. */
export const instantPlan: Plan = { operation: null, steps: [], bytes: 0, milliseconds: 0, estimate: 'instant', hostString: null };

async function measuredRate(transaction: Transaction): Promise<number> {
  const ended = await transaction.operations.list('every-project', {
    where: [{ field: 'status', op: 'eq', value: 'succeeded' }],
    limit: 200,
  });
  const rates = ended.flatMap(({ progress }) =>
    progress && progress.total >= tellingSize && progress.rate > 0 ? [progress.rate] : [],
  );
  return rates.toSorted((a, b) => a - b)[Math.floor(rates.length / 2)] ?? assumedRate;
}

async function placeOf(transaction: Transaction, state: object, operation: Operation): Promise<string | null> {
  const placementId = 'placementId' in state && typeof state.placementId === 'string' ? state.placementId : null;
  const { backendId, pool } =
    placementId === null ? { backendId: operation.backendId, pool: null } : await transaction.placements.get(placementId);
  const backend = (await transaction.backends.list()).find((each) => each.id === backendId);
  return backend ? `${backend.host}@${backend.name}${pool === null ? '' : `#${pool}`}` : null;
}

function inWords(bytes: number, milliseconds: number): string {
  if (bytes === 0) return 'instant';
  const gib = bytes / 2 ** 30;
  const size = gib >= 1 ? `${Number(gib.toFixed(1))} GiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`;
  const seconds = milliseconds / 1000;
  const time =
    seconds < 1 ? 'under a second' : seconds < 100 ? `about ${Math.round(seconds)} s` : `about ${Math.round(seconds / 60)} min`;
  return `${size}, ${time}`;
}
