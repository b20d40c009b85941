import { z } from 'zod';
import { maximumVersion, minimumVersion, minorOf } from './microversion.ts';
import type { Route } from './route.ts';

type Json = Record<string, unknown>;

const errorSchema = {
  type: 'object',
  description: 'One key that names the kind of error, for example itemNotFound.',
  additionalProperties: {
    type: 'object',
    properties: { code: { type: 'integer' }, message: { type: 'string' }, retryAfter: { type: 'string' } },
    required: ['code', 'message'],
  },
};

/** A group of routes, and where they are mounted. */
export interface DescribedRoutes {
  /** For example `/v3/{project_id}`. */
  readonly prefix: string;
  readonly routes: readonly Route[];
}

/**
 * The API description (OpenAPI 3.1) of routes. Fields and routes that came with a version say so in
 * `x-openstack-since`; what is described is the newest version.
 */
export function openApiDocument(groups: readonly DescribedRoutes[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const { prefix, routes } of groups) {
    for (const [place, candidates] of Map.groupBy(routes, (route) => `${route.method} ${route.path}`)) {
      const [method = '', path = ''] = place.split(' ');
      const url = prefix + path.replaceAll(/:(\w+)/g, '{$1}');
      paths[url] = { ...paths[url], [method.toLowerCase()]: operation(candidates, url) };
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Scoria: Block Storage API v3, and operations',
      version,
      description: `Compatible with the Block Storage API v3 of OpenStack Cinder, microversions ${minimumVersion} to ${maximumVersion}.`,
    },
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'apiKey', in: 'header', name: 'X-Auth-Token' } },
      schemas: { Error: errorSchema },
      responses: {
        Error: {
          description: 'Why it was refused',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
        },
      },
    },
  };
}

/** Routes of one method and path: one of them, or the actions that share it. */
function operation(candidates: readonly Route[], url: string): Json {
  const [first] = candidates;
  if (!first) return {};
  const bodies = candidates.flatMap((route) => (route.body ? [withVersion(route, inputSchema(route.body))] : []));
  const statuses = Map.groupBy(candidates, (route) => route.status);
  const responses = [...statuses].map(([status, routes]) => {
    const schemas = routes.flatMap((route) =>
      route.response instanceof z.ZodVoid ? [] : [jsonSchema(route.response, 'output')],
    );
    const content = schemas.length === 0 ? {} : { content: { 'application/json': { schema: oneOf(schemas) } } };
    return [String(status), { description: status === 202 ? 'Accepted' : 'Done', ...content }];
  });
  return {
    summary: candidates.length === 1 ? first.summary : 'One of the actions, told apart by the key of the body',
    ...(candidates.length === 1 && versionNotes(first)),
    parameters: [...pathParameters(url), ...queryParameters(first)],
    ...(bodies.length > 0 && { requestBody: { content: { 'application/json': { schema: oneOf(bodies) } } } }),
    responses: { ...Object.fromEntries(responses), default: { $ref: '#/components/responses/Error' } },
  };
}

function withVersion(route: Route, schema: Json): Json {
  return route.action === undefined ? schema : { description: route.summary, ...versionNotes(route), ...schema };
}

function versionNotes(route: Route): Json {
  return {
    ...(route.since > minorOf(minimumVersion) && { 'x-openstack-since': `3.${route.since}` }),
    ...(route.until < minorOf(maximumVersion) && { 'x-openstack-until': `3.${route.until}` }),
    ...(route.admin && { 'x-openstack-admin': true }),
  };
}

function oneOf(schemas: readonly Json[]): Json {
  const [only] = schemas;
  return schemas.length === 1 && only ? only : { oneOf: schemas };
}

function pathParameters(url: string): Json[] {
  return [...url.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
}

function queryParameters(route: Route): Json[] {
  if (!(route.query instanceof z.ZodObject)) return [];
  const { properties } = z.object({ properties: z.record(z.string(), z.looseObject({})) }).parse(inputSchema(route.query));
  return Object.entries(properties).map(([name, { 'x-openstack-since': since, ...schema }]) => ({
    name,
    in: 'query',
    ...(since !== undefined && { 'x-openstack-since': since }),
    schema,
  }));
}

function inputSchema(schema: z.ZodType): Json {
  return jsonSchema(schema, 'input');
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any', reused: 'inline' });
  return rest;
}
