import { ScoriaError, type BlockStorage, type RequestContext } from '@scoria/core';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { absentAction } from '../api/absent-features.ts';
import { answerAt } from './answer.ts';
import type { Authenticator } from './authenticator.ts';
import { HttpError } from './http-error.ts';
import { inputCheckAt } from './input-check.ts';
import { maximumVersion, minorOf, negotiateVersion, versionHeader } from './microversion.ts';
import { idempotencyOf, planView, wantsPlan } from './request-headers.ts';
import type { Method, RawCall, Route } from './route.ts';

/** What the dispatcher needs for every request. */
export interface DispatcherOptions {
  readonly storage: BlockStorage;
  readonly authenticator: Authenticator;
  readonly checkResponses: boolean;
  publicUrl(request: FastifyRequest): string;
}

/** Who sent a request, from its header `X-Auth-Token`. `not-authenticated` when there is none or it is no good. */
export async function contextOf(request: FastifyRequest, authenticator: Authenticator): Promise<RequestContext> {
  const token = request.headers['x-auth-token'];
  if (typeof token !== 'string' || token === '') {
    throw new ScoriaError('not-authenticated', 'The request you have made requires authentication.');
  }
  return { ...(await authenticator.authenticate(token)), requestId: request.id };
}

/** The query of a request; of a repeated word the last counts. */
export function queryOf(request: FastifyRequest): Record<string, string> {
  const mark = request.url.indexOf('?');
  return mark < 0 ? {} : Object.fromEntries(new URLSearchParams(request.url.slice(mark + 1)));
}

/**
 * Mounts routes of the Block Storage API below `/v3/PROJECT` and `/v3`. Routes of one method and path share a place; the
 * negotiated version, and for actions the key of the body, choose among them.
 */
export function mountBlockStorage(app: FastifyInstance, routes: readonly Route[], options: DispatcherOptions): void {
  const places = Map.groupBy(routes, (route) => `${route.method} ${route.path}`);
  for (const [place, candidates] of places) {
    const [method, path] = place.split(' ') as [Method, string];
    for (const prefix of ['/v3/:project_id', '/v3']) {
      app.route({
        method,
        url: prefix + path,
        handler: (request, reply) => dispatch(candidates, prefix.includes(':project_id'), request, reply, options),
      });
    }
  }
}

/** Mounts routes that have neither a project in their path nor versions. */
export function mountUnversioned(
  app: FastifyInstance,
  prefix: string,
  routes: readonly Route[],
  options: DispatcherOptions,
): void {
  for (const route of routes) {
    app.route({
      method: route.method,
      url: prefix + route.path,
      async handler(request, reply) {
        const context = await contextOf(request, options.authenticator);
        return run(
          route,
          minorOf(maximumVersion),
          context,
          `${options.publicUrl(request)}${prefix}`,
          prefix,
          request,
          reply,
          options,
        );
      },
    });
  }
}

async function dispatch(
  candidates: readonly Route[],
  withProject: boolean,
  request: FastifyRequest,
  reply: FastifyReply,
  options: DispatcherOptions,
): Promise<FastifyReply> {
  const context = await contextOf(request, options.authenticator);
  const header = request.headers[versionHeader.toLowerCase()];
  const minor = negotiateVersion(Array.isArray(header) ? header.join(',') : header);
  reply.header(versionHeader, `volume 3.${minor}`).header('Vary', versionHeader);
  const { project_id: project } = pathParameters(request);
  if (withProject && project !== context.projectId) {
    throw new HttpError(400, 'Malformed request url');
  }
  const route = choose(candidates, minor, request.body);
  const prefix = withProject ? `/v3/${project}` : '/v3';
  return run(route, minor, context, options.publicUrl(request) + prefix, prefix, request, reply, options);
}

function choose(candidates: readonly Route[], minor: number, body: unknown): Route {
  let possible = candidates;
  if (candidates[0]?.action !== undefined) {
    const keys = typeof body === 'object' && body !== null ? Object.keys(body) : [];
    if (keys.length !== 1) {
      throw new HttpError(400, `Malformed message body: ${keys.length === 0 ? 'no action was named' : 'too many body keys'}`);
    }
    possible = candidates.filter((route) => route.action === keys[0]);
    if (possible.length === 0) {
      const [name = ''] = keys;
      const reason = absentAction(name);
      throw new HttpError(400, `There is no such action: ${name.slice(0, 64)}${reason === undefined ? '' : `. ${reason}.`}`);
    }
  }
  const route = possible.find((each) => each.since <= minor && minor <= each.until);
  if (!route) throw new HttpError(404, `API version 3.${minor} is not supported on this method.`);
  return route;
}

async function run(
  route: Route,
  minor: number,
  context: RequestContext,
  endpoint: string,
  prefix: string,
  request: FastifyRequest,
  reply: FastifyReply,
  options: DispatcherOptions,
): Promise<FastifyReply> {
  if (route.admin && !context.isAdmin) {
    throw new ScoriaError(
      'not-permitted',
      `Policy doesn't allow ${route.action ?? `${route.method} ${route.path}`} to be performed.`,
    );
  }
  const idempotency = idempotencyOf(request);
  const call: RawCall = {
    storage: options.storage,
    context: idempotency ? { ...context, idempotency } : context,
    minor,
    atLeast: (version) => minor >= minorOf(version),
    endpoint,
    path: request.url.replace(/\?.*$/s, '').slice(prefix.length),
    rawQuery: queryOf(request),
    params: pathParameters(request),
    body: request.body,
    ifMatch: request.headers['if-match'],
    headers: {},
  };
  if (wantsPlan(request, route)) {
    const plan = await options.storage.operations.plan(context, (dry) =>
      route.invoke({ ...call, context: dry }, inputCheckAt(minor)),
    );
    return reply.code(200).send(planView(plan));
  }
  const result = await route.invoke(call, inputCheckAt(minor));
  const answer = answerAt(route, minor, result, options.checkResponses);
  reply.code(route.status).headers(call.headers);
  if (answer === undefined) return reply.send();
  return reply.header('Content-Type', 'application/json').send(JSON.stringify(answer));
}

function pathParameters(request: FastifyRequest): Readonly<Record<string, string>> {
  // The router gives nothing but strings; the types of Fastify cannot know.
  return request.params as Readonly<Record<string, string>>;
}
