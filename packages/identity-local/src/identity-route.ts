import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import type { Caller, IdentityService } from './identity-service.ts';

/** A request as the HTTP server hands it over. */
export interface IdentityCall {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** Parsed JSON, or `undefined` when there was none. */
  readonly body: unknown;
  /** Header `X-Auth-Token`. */
  readonly token: string | undefined;
  /** Header `X-Subject-Token`. */
  readonly subjectToken: string | undefined;
  /** URL of the whole service, without a slash at the end. */
  readonly baseUrl: string;
}

/** An answer. */
export interface IdentityReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** Who may call: anybody, anybody with a token, administrators, or administrators and the user whose id is in the path. */
export type Access = 'public' | 'token' | 'admin' | 'admin-or-self';

/** A route of the Identity API. The server mounts it under `/identity` and answers errors in Keystone's shape. */
export interface IdentityRoute {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'HEAD' | 'DELETE';
  /** Below `/identity`; `:name` stands for a parameter. */
  readonly path: string;
  handle(call: IdentityCall): Promise<IdentityReply>;
}

/** What a handler is given. */
export interface CheckedCall<Body> extends Omit<IdentityCall, 'body'> {
  readonly body: Body;
  /** Throws `not-authenticated` on public routes when there is no valid token. */
  caller(): Caller;
}

/** What the author of a route writes. */
interface RouteDefinition<Body extends z.ZodType> extends Pick<IdentityRoute, 'method' | 'path'> {
  readonly access: Access;
  readonly body?: Body;
  handler(call: CheckedCall<z.output<Body>>, service: IdentityService): Promise<IdentityReply> | IdentityReply;
}

/** A route before it is bound to its service. */
export type UnboundRoute = (service: IdentityService) => IdentityRoute;

/** Declares a route: who may call it, what the body must be, and what it does. */
export function identityRoute<Body extends z.ZodType = z.ZodUndefined>(definition: RouteDefinition<Body>): UnboundRoute {
  return (service) => ({
    method: definition.method,
    path: definition.path,
    async handle(call) {
      const caller = () => service.callerOf(call.token);
      if (definition.access !== 'public') checkAccess(definition.access, caller(), call.params);
      const body = (definition.body ?? z.unknown()).safeParse(call.body);
      if (!body.success) {
        const issue = body.error.issues[0];
        const where = issue?.path.length ? ` at ${issue.path.join('.')}` : '';
        throw new ScoriaError('invalid-input', `The body of the request is wrong${where}: ${issue?.message ?? 'not understood'}`);
      }
      return definition.handler({ ...call, body: body.data as z.output<Body>, caller }, service);
    },
  });
}

function checkAccess(access: Access, caller: Caller, params: Readonly<Record<string, string>>): void {
  if (access === 'token' || caller.isAdmin) return;
  if (access === 'admin-or-self' && params.userId === caller.user.id) return;
  throw new ScoriaError('not-permitted', `User ${caller.user.name} needs the role admin for this`);
}
