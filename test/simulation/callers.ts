import type { RequestContext } from '@scoria/core';

/** The projects that share the cluster. */
export const projects = ['red', 'blue'] as const;

/** The caller of a project. */
export function member(projectId: string): RequestContext {
  return { requestId: `req-${projectId}`, userId: projectId, projectId, roles: ['member'], isAdmin: false };
}

/** An administrator within a project. */
export function administrator(projectId: string): RequestContext {
  return { ...member(projectId), roles: ['admin'], isAdmin: true };
}

/** The administrator of the cluster. */
export const root: RequestContext = administrator('root');
