import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { identityRoute } from '../identity-route.ts';
import { maxPasswordLength } from '../password.ts';
import { defaultDomain, type IdentityState, type User } from '../state.ts';
import { checkDomain, name, text } from './fields.ts';
import { projectView } from './projects.ts';

function userView(user: User, baseUrl: string) {
  return {
    id: user.id,
    name: user.name,
    description: user.description,
    enabled: user.enabled,
    domain_id: defaultDomain.id,
    default_project_id: user.defaultProjectId,
    email: user.email,
    password_expires_at: null,
    options: {},
    links: { self: `${baseUrl}/identity/v3/users/${user.id}` },
  };
}

const fields = z.object({
  name,
  password: z.string().min(1).max(maxPasswordLength).nullish(),
  description: text.nullish(),
  email: text.nullish(),
  enabled: z.boolean().nullish(),
  default_project_id: text.nullish(),
  domain_id: text.nullish(),
});

function find(state: IdentityState, id: string | undefined): User {
  const user = state.users.find((each) => each.id === id);
  if (!user) throw new ScoriaError('not-found', `User ${id} could not be found`);
  return user;
}

function refuseTaken(state: IdentityState, taken: string, except?: string): void {
  if (state.users.some((user) => user.name === taken && user.id !== except)) {
    throw new ScoriaError('conflict', `There is a user named ${taken} already`);
  }
}

/** Users: list, show, create, change, delete, and the projects of one. */
export const userRoutes = [
  identityRoute({
    method: 'GET',
    path: '/v3/users',
    access: 'admin',
    handler({ query, baseUrl }, { state }) {
      const users = state.users.filter(
        (user) =>
          (query.name === undefined || user.name === query.name) &&
          (query.domain_id === undefined || query.domain_id === defaultDomain.id) &&
          (query.enabled === undefined || String(user.enabled) === query.enabled.toLowerCase()),
      );
      const links = { self: `${baseUrl}/identity/v3/users`, next: null, previous: null };
      return { status: 200, body: { users: users.map((user) => userView(user, baseUrl)), links } };
    },
  }),
  identityRoute({
    method: 'POST',
    path: '/v3/users',
    access: 'admin',
    body: z.object({ user: fields }),
    async handler({ body, baseUrl }, service) {
      const wanted = body.user;
      checkDomain(wanted.domain_id);
      const user: User = {
        id: service.newId(),
        name: wanted.name,
        description: wanted.description ?? '',
        email: wanted.email ?? null,
        enabled: wanted.enabled ?? true,
        defaultProjectId: wanted.default_project_id ?? null,
        password: wanted.password == null ? null : await service.hash(wanted.password),
        passwordChangedAt: service.now(),
      };
      await service.change((state) => {
        refuseTaken(state, user.name);
        state.users.push(user);
      });
      return { status: 201, body: { user: userView(user, baseUrl) } };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/users/:userId',
    access: 'admin-or-self',
    handler: ({ params, baseUrl }, { state }) => ({
      status: 200,
      body: { user: userView(find(state, params.userId), baseUrl) },
    }),
  }),
  identityRoute({
    method: 'PATCH',
    path: '/v3/users/:userId',
    access: 'admin',
    body: z.object({ user: fields.partial() }),
    async handler({ params, body, baseUrl }, service) {
      const patch = body.user;
      const password = patch.password == null ? undefined : await service.hash(patch.password);
      const changed = await service.change((state) => {
        const user = find(state, params.userId);
        if (patch.name !== undefined) refuseTaken(state, patch.name, user.id);
        user.name = patch.name ?? user.name;
        user.description = patch.description ?? user.description;
        user.enabled = patch.enabled ?? user.enabled;
        if (patch.email !== undefined) user.email = patch.email;
        if (patch.default_project_id !== undefined) user.defaultProjectId = patch.default_project_id;
        if (password) Object.assign(user, { password, passwordChangedAt: service.now() });
        return user;
      });
      return { status: 200, body: { user: userView(changed, baseUrl) } };
    },
  }),
  identityRoute({
    method: 'POST',
    path: '/v3/users/:userId/password',
    access: 'admin-or-self',
    body: z.object({ user: z.object({ original_password: z.string(), password: z.string().min(1).max(maxPasswordLength) }) }),
    async handler({ params, body }, service) {
      const user = find(service.state, params.userId);
      await service.logIn({ id: user.id }, body.user.original_password);
      await service.setPassword(user.id, body.user.password);
      return { status: 204 };
    },
  }),
  identityRoute({
    method: 'DELETE',
    path: '/v3/users/:userId',
    access: 'admin',
    async handler({ params, caller }, service) {
      if (caller().user.id === params.userId)
        throw new ScoriaError('not-permitted', 'The user of the token in use cannot be deleted');
      await service.change((state) => {
        const { id } = find(state, params.userId);
        state.users = state.users.filter((user) => user.id !== id);
        state.assignments = state.assignments.filter((assignment) => assignment.userId !== id);
      });
      return { status: 204 };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/users/:userId/projects',
    access: 'admin-or-self',
    handler({ params, baseUrl }, service) {
      const projects = service.projectsOf(find(service.state, params.userId).id);
      return { status: 200, body: { projects: projects.map((project) => projectView(project, baseUrl)), links: {} } };
    },
  }),
];
