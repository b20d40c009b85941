import type { IdempotencyKey } from '../operation/idempotency.ts';

/** All that core knows of a caller. Whoever embeds core, or the server's authenticator, makes it. */
export interface RequestContext {
  /** Ties log lines, operations, messages and the answer together, for example `req-` and a UUID. */
  readonly requestId: string;
  readonly userId: string;
  readonly projectId: string;
  readonly roles: readonly string[];
  /** May act on every project's resources and on the service itself. */
  readonly isAdmin: boolean;
  /** The request names itself: sent again, it joins what the first one began. */
  readonly idempotency?: IdempotencyKey | undefined;
  /** Nothing is done: the request ends with a plan. Set by {@link Operations.plan}. */
  readonly dryRun?: boolean | undefined;
}

/** Whose rows a repository may touch. There is no way to ask a repository without one. */
export type Tenancy = { readonly projectId: string } | 'every-project';

/** What a caller may touch by id: an administrator everything, others their project's. */
export function tenancyOf(context: RequestContext): Tenancy {
  return context.isAdmin ? 'every-project' : { projectId: context.projectId };
}

/** What a caller sees in a list: the own project's, or everything for an administrator who asks for it. */
export function listTenancy(context: RequestContext, allProjects: boolean): Tenancy {
  return allProjects && context.isAdmin ? 'every-project' : { projectId: context.projectId };
}
