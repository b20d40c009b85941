import type { FastifyInstance, FastifyRequest } from 'fastify';
import { queryOf } from './dispatcher.ts';

/** A request for a built-in identity service. */
export interface IdentityRequest {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly token: string | undefined;
  readonly subjectToken: string | undefined;
  readonly baseUrl: string;
}

/** A route of a built-in identity service, mounted below `/identity`. */
export interface IdentityHandler {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'HEAD' | 'DELETE';
  readonly path: string;
  handle(
    request: IdentityRequest,
  ): Promise<{ readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: unknown }>;
}

/** Mounts a built-in identity service below `/identity`. */
export function mountIdentity(
  app: FastifyInstance,
  routes: readonly IdentityHandler[],
  publicUrl: (request: FastifyRequest) => string,
): void {
  for (const route of routes) {
    app.route<{ Params: Record<string, string> }>({
      method: route.method,
      url: `/identity${route.path === '/' ? '' : route.path}`,
      exposeHeadRoute: false,
      async handler(request, reply) {
        const baseUrl = publicUrl(request);
        const answer = await route.handle({
          params: request.params,
          query: queryOf(request),
          body: request.body,
          token: header(request, 'x-auth-token'),
          subjectToken: header(request, 'x-subject-token'),
          baseUrl,
        });
        reply.code(answer.status).headers({ Vary: 'X-Auth-Token', ...answer.headers });
        return answer.body === undefined ? reply.send() : reply.send(answer.body);
      },
    });
  }
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}
