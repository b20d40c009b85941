import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { identityRoute } from '../identity-route.ts';
import { defaultDomain, type IdentityState, type Project } from '../state.ts';
import { checkDomain, name, text } from './fields.ts';

/** A project in the form of the Identity API. */
export function projectView(project: Project, baseUrl: string) {
  return {
    id: project.id,
    name: project.name,
    description: project.description,
    enabled: project.enabled,
    domain_id: defaultDomain.id,
    parent_id: defaultDomain.id,
    is_domain: false,
    tags: [],
    options: {},
    links: { self: `${baseUrl}/identity/v3/projects/${project.id}` },
  };
}

const fields = z.object({ name, description: text.nullish(), enabled: z.boolean().nullish(), domain_id: text.nullish() });

function find(state: IdentityState, id: string | undefined): Project {
  const project = state.projects.find((each) => each.id === id);
  if (!project) throw new ScoriaError('not-found', `Project ${id} could not be found`);
  return project;
}

function refuseTaken(state: IdentityState, taken: string, except?: string): void {
  if (state.projects.some((project) => project.name === taken && project.id !== except)) {
    throw new ScoriaError('conflict', `There is a project named ${taken} already`);
  }
}

/** Projects: list, show, create, change, delete. */
export const projectRoutes = [
  identityRoute({
    method: 'GET',
    path: '/v3/projects',
    access: 'admin',
    handler({ query, baseUrl }, { state }) {
      const projects = state.projects.filter(
        (project) =>
          (query.name === undefined || project.name === query.name) &&
          (query.domain_id === undefined || query.domain_id === defaultDomain.id) &&
          (query.enabled === undefined || String(project.enabled) === query.enabled.toLowerCase()),
      );
      const links = { self: `${baseUrl}/identity/v3/projects`, next: null, previous: null };
      return { status: 200, body: { projects: projects.map((project) => projectView(project, baseUrl)), links } };
    },
  }),
  identityRoute({
    method: 'POST',
    path: '/v3/projects',
    access: 'admin',
    body: z.object({ project: fields }),
    async handler({ body, baseUrl }, service) {
      checkDomain(body.project.domain_id);
      const project: Project = {
        id: service.newId(),
        name: body.project.name,
        description: body.project.description ?? '',
        enabled: body.project.enabled ?? true,
      };
      await service.change((state) => {
        refuseTaken(state, project.name);
        state.projects.push(project);
      });
      return { status: 201, body: { project: projectView(project, baseUrl) } };
    },
  }),
  identityRoute({
    method: 'GET',
    path: '/v3/projects/:projectId',
    access: 'token',
    handler({ params, caller, baseUrl }, service) {
      const { isAdmin, user } = caller();
      const project = find(service.state, params.projectId);
      if (!isAdmin && !service.projectsOf(user.id).includes(project)) {
        throw new ScoriaError('not-permitted', `User ${user.name} has no role in project ${project.id}`);
      }
      return { status: 200, body: { project: projectView(project, baseUrl) } };
    },
  }),
  identityRoute({
    method: 'PATCH',
    path: '/v3/projects/:projectId',
    access: 'admin',
    body: z.object({ project: fields.partial() }),
    async handler({ params, body, baseUrl }, service) {
      const patch = body.project;
      const changed = await service.change((state) => {
        const project = find(state, params.projectId);
        if (patch.name !== undefined) refuseTaken(state, patch.name, project.id);
        project.name = patch.name ?? project.name;
        project.description = patch.description ?? project.description;
        project.enabled = patch.enabled ?? project.enabled;
        return project;
      });
      return { status: 200, body: { project: projectView(changed, baseUrl) } };
    },
  }),
  identityRoute({
    method: 'DELETE',
    path: '/v3/projects/:projectId',
    access: 'admin',
    async handler({ params, caller }, service) {
      if (caller().project?.id === params.projectId) {
        throw new ScoriaError('not-permitted', 'The project of the token in use cannot be deleted');
      }
      await service.change((state) => {
        const { id } = find(state, params.projectId);
        state.projects = state.projects.filter((project) => project.id !== id);
        state.assignments = state.assignments.filter((assignment) => assignment.projectId !== id);
        for (const user of state.users) if (user.defaultProjectId === id) user.defaultProjectId = null;
      });
      return { status: 204 };
    },
  }),
];
