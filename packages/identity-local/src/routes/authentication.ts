import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { catalog } from '../catalog.ts';
import { identityRoute } from '../identity-route.ts';
import type { Caller } from '../identity-service.ts';
import { defaultDomain } from '../state.ts';
import { timestamp } from '../timestamp.ts';
import { projectView } from './projects.ts';

const word = z.string().max(255);
const reference = z
  .object({
    id: word.optional(),
    name: word.optional(),
    domain: z.object({ id: word.optional(), name: word.optional() }).optional(),
  })
  .refine((value) => value.id !== undefined || value.name !== undefined, 'an id or a name is needed');

const authentication = z.object({
  auth: z.object({
    identity: z.object({
      methods: z.array(word).min(1).max(4),
      password: z.object({ user: reference.and(z.object({ password: z.string() })) }).optional(),
      token: z.object({ id: z.string() }).optional(),
    }),
    scope: z
      .union([
        z.literal('unscoped'),
        z.object({ unscoped: z.record(z.string(), z.unknown()) }).transform(() => 'unscoped' as const),
        z.object({ project: reference }).transform((scope) => scope.project),
      ])
      .optional(),
  }),
});

/** The body that describes a token, in the form of the Identity API. */
function tokenView(caller: Caller, baseUrl: string, withCatalog: boolean) {
  const { user, project, roles, token } = caller;
  return {
    token: {
      methods: token.methods,
      user: { id: user.id, name: user.name, domain: defaultDomain, password_expires_at: null },
      audit_ids: [token.id],
      expires_at: timestamp(token.expiresAt),
      issued_at: timestamp(token.issuedAt),
      ...(project && {
        project: { id: project.id, name: project.name, domain: defaultDomain },
        is_domain: false,
        roles: roles.map(({ id, name }) => ({ id, name })),
        ...(withCatalog && { catalog: catalog(baseUrl, project.id) }),
      }),
    },
  };
}

/** Log-in, check and revocation of tokens, and what a token gives access to. */
export const authenticationRoutes = [
  identityRoute({
    method: 'POST',
    path: '/v3/auth/tokens',
    access: 'public',
    body: authentication,
    async handler({ body, baseUrl }, service) {
      const { identity, scope } = body.auth;
      const answer = ({ token, caller }: { token: string; caller: Caller }) => ({
        status: 201,
        headers: { 'X-Subject-Token': token },
        body: tokenView(caller, baseUrl, true),
      });
      if (identity.methods.includes('password') && identity.password) {
        const { user } = identity.password;
        return answer(service.issue(await service.logIn(user, user.password), scope, ['password']));
      }
      if (identity.methods.includes('token') && identity.token) {
        const { user, token } = service.callerOf(identity.token.id);
        const methods = [...new Set([...token.methods, 'token'])];
        return answer(service.issue(user, scope, methods, token.expiresAt));
      }
      throw new ScoriaError('not-authenticated', 'Only the methods password and token are known here, each with its own part');
    },
  }),
  ...(['GET', 'HEAD'] as const).map((method) =>
    identityRoute({
      method,
      path: '/v3/auth/tokens',
      access: 'token',
      handler({ subjectToken, caller, baseUrl, query }, service) {
        const subject = ofSubject(() => service.callerOf(subjectToken));
        mayHandle(caller(), subject);
        return {
          status: 200,
          headers: { 'X-Subject-Token': subjectToken ?? '' },
          ...(method === 'GET' && { body: tokenView(subject, baseUrl, !('nocatalog' in query)) }),
        };
      },
    }),
  ),
  identityRoute({
    method: 'DELETE',
    path: '/v3/auth/tokens',
    access: 'token',
    handler({ subjectToken, caller }, service) {
      const subject = ofSubject(() => service.callerOf(subjectToken));
      mayHandle(caller(), subject);
      service.revoke(subject.token);
      return { status: 204 };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/auth/catalog',
    access: 'token',
    handler({ caller, baseUrl }) {
      const { project } = caller();
      return { status: 200, body: { catalog: project ? catalog(baseUrl, project.id) : [], links: {} } };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/auth/projects',
    access: 'token',
    handler({ caller, baseUrl }, service) {
      const projects = service.projectsOf(caller().user.id).filter((project) => project.enabled);
      return { status: 200, body: { projects: projects.map((project) => projectView(project, baseUrl)), links: {} } };
    },
  }),
];

/** The token asked about is a thing that is not found, and not the caller's own credential. */
function ofSubject(read: () => Caller): Caller {
  try {
    return read();
  } catch (cause) {
    throw new ScoriaError('not-found', 'The subject token could not be found', { cause });
  }
}

function mayHandle(caller: Caller, subject: Caller): void {
  if (caller.isAdmin || caller.user.id === subject.user.id) return;
  throw new ScoriaError('not-permitted', 'Only an administrator may handle tokens of other users');
}
