import { createReadStream } from 'node:fs';
import type { BlockStorage, Clock, Random } from '@scoria/core';
import fastify, { LogController, type FastifyBaseLogger, type FastifyInstance, type FastifyRequest } from 'fastify';
import { absentResource } from '../api/absent-features.ts';
import { blockStorageRoutes, scoriaRoutes } from '../api/routes.ts';
import type { Authenticator } from './authenticator.ts';
import { mountDiscovery } from './discovery.ts';
import { contextOf, mountBlockStorage, mountUnversioned, type DispatcherOptions } from './dispatcher.ts';
import { answerBrokenRequest } from './broken-request.ts';
import { blockStorageError, identityError } from './error-response.ts';
import { mountEventStream } from './event-stream.ts';
import { HttpError } from './http-error.ts';
import { mountIdentity, type IdentityHandler } from './identity-mount.ts';
import { mountImagePlaceholder } from './image-placeholder.ts';
import { acceptJson } from './json-body.ts';

/** Largest body of a request, in bytes; as Cinder has it. */
const bodyLimit = 114_688;

/** Options of {@link createHttpServer}. */
export interface HttpServerOptions {
  readonly storage: BlockStorage;
  readonly authenticator: Authenticator;
  /** A built-in identity service to mount below `/identity`. */
  readonly identity?: { readonly routes: readonly IdentityHandler[] } | undefined;
  /** A pino logger, or `false` for none. */
  readonly log: FastifyBaseLogger | false;
  /** Checks every answer against its description; one that differs becomes a 500 that names the place. For tests: it costs time. */
  readonly checkResponses?: boolean | undefined;
  /** URL under which clients reach the service, without a slash at the end. Default: what the request says. */
  readonly publicUrl?: ((request: FastifyRequest) => string) | undefined;
  /** Certificate and key in PEM form; without them plain HTTP is spoken. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  readonly clock: Clock;
  readonly random: Random;
  /** The API description made by `scripts/make-openapi.ts`; served at `/v3/openapi.json`. */
  readonly openApiFile?: string | URL | undefined;
}

/**
 * Makes the HTTP side of the service: the Block Storage API v3, operations and events below `/scoria/v1`, the built-in
 * identity, discovery and a health check. The caller listens and closes; closing lets requests under way finish.
 */
export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const { storage, authenticator, clock } = options;
  const publicUrl = options.publicUrl ?? urlOfRequest;
  const app: FastifyInstance = fastify({
    ...(options.log === false ? { logger: false } : { loggerInstance: options.log }),
    https: options.tls ? { ...options.tls } : null,
    bodyLimit,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 255 },
    requestTimeout: 120_000,
    keepAliveTimeout: 30_000,
    requestIdHeader: false,
    genReqId: (request) => requestId(request.headers['x-openstack-request-id'], options.random),
    clientErrorHandler: (error, socket) => {
      const id = requestId(undefined, options.random);
      const status = answerBrokenRequest(error, socket, id);
      if (status !== null) app.log.info({ requestId: id, status, reason: error.code }, 'refused what is no request');
    },
    // URLs that the router refuses by itself reach no hook: they are answered here, in the shape of all errors.
    frameworkErrors: (error, request, reply) => {
      const refusal = error.statusCode === 414 ? new HttpError(404, notFound) : new HttpError(400, 'Malformed request url');
      const { status, body } = errorFor(request)(refusal, publicUrl(request));
      reply.raw.writeHead(status, { ...namesOfRequest(request), 'Content-Type': 'application/json; charset=utf-8' });
      reply.raw.end(JSON.stringify(body));
    },
  });
  acceptJson(app);
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(namesOfRequest(request));
  });
  app.addHook('onResponse', async (request, reply) => {
    const { method } = request;
    const route = request.routeOptions.url ?? 'unknown';
    request.log.info({ method, route, status: reply.statusCode, ms: Math.round(reply.elapsedTime) }, 'answered');
  });
  app.setErrorHandler((thrown, request, reply) => {
    const { status, headers, body } = errorFor(request)(thrown, publicUrl(request));
    if (status >= 500) request.log.error({ err: thrown }, 'request failed');
    return reply.code(status).headers(headers).send(body);
  });
  app.setNotFoundHandler(async (request) => {
    if (!request.url.startsWith('/v3/')) throw new HttpError(404, notFound);
    await contextOf(request, authenticator);
    const reason = absentResource(request.url.slice('/v3'.length).replace(/\?.*$/s, ''));
    throw new HttpError(404, reason === undefined ? notFound : `${notFound} ${reason}.`);
  });
  const dispatcher: DispatcherOptions = { storage, authenticator, publicUrl, checkResponses: options.checkResponses ?? false };
  app.get('/healthcheck', () => ({ status: 'ok' }));
  mountDiscovery(app, publicUrl);
  const { openApiFile } = options;
  if (openApiFile !== undefined) {
    app.get('/v3/openapi.json', (_request, reply) => reply.type('application/json').send(createReadStream(openApiFile)));
  }
  if (options.identity) mountIdentity(app, options.identity.routes, publicUrl);
  mountImagePlaceholder(app, publicUrl, authenticator);
  mountBlockStorage(app, blockStorageRoutes, dispatcher);
  mountUnversioned(app, '/scoria/v1', scoriaRoutes, dispatcher);
  mountEventStream(app, { storage, authenticator, clock });
  return app;
}

const notFound = 'The resource could not be found.';

/** How an error is told: each of the two APIs has a shape of its own. */
function errorFor(request: FastifyRequest): typeof blockStorageError {
  return request.url.startsWith('/identity') ? identityError : blockStorageError;
}

function namesOfRequest({ id }: FastifyRequest): Readonly<Record<string, string>> {
  return { 'X-Compute-Request-Id': id, 'X-Openstack-Request-Id': id };
}

/** Clients may name a request themselves, so that its trace joins that of another service. */
function requestId(given: string | string[] | undefined, random: Random): string {
  if (typeof given === 'string' && /^req-[0-9a-f-]{36}$/.test(given)) return given;
  return `req-${random.uuid()}`;
}

function urlOfRequest(request: FastifyRequest): string {
  // The header is the caller's: what does not look like a host does not get into links.
  const host = /^[\w.-]+(:\d+)?$|^\[[\da-f:]+\](:\d+)?$/i.test(request.host) ? request.host : 'localhost';
  return `${request.protocol}://${host}`;
}
