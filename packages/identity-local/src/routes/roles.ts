import { ScoriaError } from '@scoria/core';
import { identityRoute } from '../identity-route.ts';
import type { IdentityService } from '../identity-service.ts';
import { defaultDomain, type IdentityState, type Role } from '../state.ts';

function roleView(role: Role, baseUrl: string) {
  return {
    id: role.id,
    name: role.name,
    domain_id: null,
    description: null,
    options: {},
    links: { self: `${baseUrl}/identity/v3/roles/${role.id}` },
  };
}

function domainView(baseUrl: string) {
  return {
    ...defaultDomain,
    description: 'The only domain',
    enabled: true,
    tags: [],
    options: {},
    links: { self: `${baseUrl}/identity/v3/domains/${defaultDomain.id}` },
  };
}

/** Checks the three ids of an assignment. `not-found` names the one that is not there. */
function assignmentOf(state: IdentityState, params: Readonly<Record<string, string>>) {
  const { projectId = '', userId = '', roleId = '' } = params;
  const missing = (kind: string, id: string) => new ScoriaError('not-found', `${kind} ${id} could not be found`);
  if (!state.projects.some((each) => each.id === projectId)) throw missing('Project', projectId);
  if (!state.users.some((each) => each.id === userId)) throw missing('User', userId);
  if (!state.roles.some((each) => each.id === roleId)) throw missing('Role', roleId);
  const same = (each: IdentityState['assignments'][number]) =>
    each.projectId === projectId && each.userId === userId && each.roleId === roleId;
  return { projectId, userId, roleId, same };
}

const assignmentPath = '/v3/projects/:projectId/users/:userId/roles/:roleId';

function checkAssigned(service: IdentityService, params: Readonly<Record<string, string>>): void {
  const { same, userId, projectId } = assignmentOf(service.state, params);
  if (!service.state.assignments.some(same)) {
    throw new ScoriaError('not-found', `User ${userId} does not have this role in project ${projectId}`);
  }
}

/** Roles, who has them in which project, and the one domain. */
export const roleRoutes = [
  identityRoute({
    method: 'GET',
    path: '/v3/roles',
    access: 'token',
    handler({ query, baseUrl }, { state }) {
      const roles = state.roles.filter((role) => query.name === undefined || role.name === query.name);
      const links = { self: `${baseUrl}/identity/v3/roles`, next: null, previous: null };
      return { status: 200, body: { roles: roles.map((role) => roleView(role, baseUrl)), links } };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/roles/:roleId',
    access: 'token',
    handler({ params, baseUrl }, { state }) {
      const role = state.roles.find((each) => each.id === params.roleId);
      if (!role) throw new ScoriaError('not-found', `Role ${params.roleId} could not be found`);
      return { status: 200, body: { role: roleView(role, baseUrl) } };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/projects/:projectId/users/:userId/roles',
    access: 'admin',
    handler({ params, baseUrl }, service) {
      const roles = service.rolesOf(params.userId ?? '', params.projectId ?? '');
      return { status: 200, body: { roles: roles.map((role) => roleView(role, baseUrl)), links: {} } };
    },
  }),
  identityRoute({
    method: 'PUT',
    path: assignmentPath,
    access: 'admin',
    async handler({ params }, service) {
      await service.change((state) => {
        const { same, ...assignment } = assignmentOf(state, params);
        if (!state.assignments.some(same)) state.assignments.push(assignment);
      });
      return { status: 204 };
    },
  }),
  identityRoute({
    method: 'HEAD',
    path: assignmentPath,
    access: 'admin',
    handler({ params }, service) {
      checkAssigned(service, params);
      return { status: 204 };
    },
  }),
  identityRoute({
    method: 'DELETE',
    path: assignmentPath,
    access: 'admin',
    async handler({ params }, service) {
      checkAssigned(service, params);
      await service.change((state) => {
        const { same } = assignmentOf(state, params);
        state.assignments = state.assignments.filter((each) => !same(each));
      });
      return { status: 204 };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/role_assignments',
    access: 'admin',
    handler({ query, baseUrl }, { state }) {
      const withNames = 'include_names' in query;
      const named = (things: readonly { id: string; name: string }[], id: string) =>
        withNames ? { id, name: things.find((thing) => thing.id === id)?.name ?? '' } : { id };
      const assignments = state.assignments
        .filter(
          (each) =>
            (query['user.id'] === undefined || each.userId === query['user.id']) &&
            (query['scope.project.id'] === undefined || each.projectId === query['scope.project.id']) &&
            (query['role.id'] === undefined || each.roleId === query['role.id']),
        )
        .map((each) => ({
          role: named(state.roles, each.roleId),
          user: { ...named(state.users, each.userId), ...(withNames && { domain: defaultDomain }) },
          scope: { project: { ...named(state.projects, each.projectId), ...(withNames && { domain: defaultDomain }) } },
          links: {},
        }));
      const links = { self: `${baseUrl}/identity/v3/role_assignments`, next: null, previous: null };
      return { status: 200, body: { role_assignments: assignments, links } };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/domains',
    access: 'token',
    handler({ query, baseUrl }) {
      const matches = query.name === undefined || query.name === defaultDomain.name;
      return { status: 200, body: { domains: matches ? [domainView(baseUrl)] : [], links: {} } };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/domains/:domainId',
    access: 'token',
    handler({ params, baseUrl }) {
      if (params.domainId !== defaultDomain.id)
        throw new ScoriaError('not-found', `Domain ${params.domainId} could not be found`);
      return { status: 200, body: { domain: domainView(baseUrl) } };
    },
  }),
];
