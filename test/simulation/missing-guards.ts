import { operationRegistry, type Repositories, ScoriaError, volumeTransitions } from '@scoria/core';
import { intercepted } from './interception.ts';

/** A guard of the production code, and how to take it away. */
export interface MissingGuard {
  readonly guard: string;
  /** It is missed only where two processes share the work on one array. */
  readonly amongTwins?: boolean;
  /** Changes what every process sees of the store. */
  repositories?(repositories: Repositories): Repositories;
  /** Changes the code itself. Returns what puts it back. */
  remove?(): () => void;
}

/** Replaces a property until the returned function is called. */
function replaced(target: object, key: string, value: unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(target, key);
  Object.defineProperty(target, key, { value, configurable: true, writable: true, enumerable: true });
  return () => {
    if (before) Object.defineProperty(target, key, before);
    else Reflect.deleteProperty(target, key);
  };
}

function stepOf(operation: string, name: string): object {
  const step = operationRegistry.get(operation)?.steps.find((each) => each.name === name);
  if (!step) throw new Error(`There is no step ${operation}/${name}`);
  return step;
}

/** The guards that the simulation must miss when they are gone. */
export const missingGuards: readonly MissingGuard[] = [
  {
    guard: 'the compare-and-swap of a lease',
    amongTwins: true,
    repositories: (repositories) => ({ ...repositories, operations: withoutLeases(repositories) }),
  },
  {
    guard: 'the compare-and-swap of a status, and what an operation uses',
    repositories: (repositories) => ({ ...repositories, operations: withoutUses(repositories) }),
    remove() {
      const transitions: Readonly<Record<string, { readonly from: readonly string[] }>> = volumeTransitions;
      const every = [...new Set(Object.values(transitions).flatMap(({ from }) => from))];
      const restore = Object.values(transitions).map((transition) => replaced(transition, 'from', every));
      return () => restore.forEach((put) => put());
    },
  },
  {
    guard: 'what an operation uses',
    repositories: (repositories) => ({ ...repositories, operations: withoutUses(repositories) }),
  },
  {
    guard: 'the claim in the transaction that places',
    repositories: (repositories) => ({
      ...repositories,
      placements: intercepted(repositories.placements, (verb, proceed) => (verb === 'claims' ? Promise.resolve([]) : proceed())),
    }),
  },
  {
    guard: 'the fence of a detach',
    remove: () => replaced(stepOf('attachment.disconnect', 'fence'), 'when', () => false),
  },
  {
    guard: 'the undoing of a creation',
    remove: () => replaced(stepOf('volume.create', 'create'), 'undo', undefined),
  },
  {
    guard: 'the undoing of a claim',
    remove: () => replaced(stepOf('volume.create', 'place'), 'undo', undefined),
  },
  {
    guard: 'the intent in the journal',
    repositories: (repositories) => ({
      ...repositories,
      operations: intercepted(repositories.operations, (verb, proceed, args) => {
        if (verb !== 'write') return proceed();
        return proceed(
          args.map((arg) => (typeof arg === 'object' && arg !== null && 'started' in arg ? { ...arg, started: false } : arg)),
        );
      }),
    }),
  },
  {
    guard: 'the sweep for lost calls',
    repositories: (repositories) => ({
      ...repositories,
      operations: intercepted(repositories.operations, (verb, proceed) =>
        verb === 'runnable' ? Promise.resolve([]) : proceed(),
      ),
    }),
  },
  {
    guard: 'the tenant check',
    repositories: (repositories) => ({
      ...repositories,
      volumes: intercepted(repositories.volumes, (_verb, proceed, [first, ...others]) =>
        typeof first === 'object' && first !== null && 'projectId' in first && !('id' in first)
          ? proceed(['every-project', ...others])
          : proceed(),
      ),
    }),
  },
  {
    guard: 'the single attachment',
    repositories: (repositories) => ({
      ...repositories,
      attachments: intercepted(repositories.attachments, (verb, proceed) =>
        verb === 'ofVolumes' ? Promise.resolve([]) : proceed(),
      ),
    }),
  },
  {
    guard: 'the idempotency key',
    repositories: (repositories) => ({
      ...repositories,
      rememberedRequests: intercepted(repositories.rememberedRequests, async (verb, proceed) =>
        verb === 'find' || verb === 'insert' ? undefined : proceed(),
      ),
    }),
  },
];

/** Operations that use nothing, so that none is in the way of another. */
function withoutUses({ operations }: Repositories): Repositories['operations'] {
  return intercepted(operations, (verb, proceed, args) => (verb === 'insert' ? proceed([args[0], []]) : proceed()));
}

/** Operations that anybody may take at any time, and write whoever has them. */
function withoutLeases({ operations }: Repositories): Repositories['operations'] {
  const release = async (id: string, now: number) => {
    const { leaseOwner, fence } = await operations.get('every-project', id);
    if (leaseOwner !== null) await operations.write(id, leaseOwner, fence, { leaseOwner: null, leaseUntil: 0 }, now);
  };
  const lease: typeof operations.lease = async (id, owner, now, until) => {
    const { endedAt } = await operations.get('every-project', id);
    if (endedAt === null) await release(id, now);
    return operations.lease(id, owner, now, until);
  };
  const write: typeof operations.write = async (id, owner, fence, patch, now) => {
    try {
      return await operations.write(id, owner, fence, patch, now);
    } catch (error) {
      if (ScoriaError.from(error).code !== 'lease-lost') throw error;
      await release(id, now);
      const taken = await operations.lease(id, owner, now, now + 1_000);
      return operations.write(id, owner, taken?.fence ?? fence, patch, now);
    }
  };
  return new Proxy(operations, {
    get(target, key) {
      if (key === 'lease') return lease;
      if (key === 'write') return write;
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
