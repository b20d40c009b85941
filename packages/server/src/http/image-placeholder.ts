import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Authenticator } from './authenticator.ts';
import { contextOf } from './dispatcher.ts';
import { HttpError } from './http-error.ts';

/**
 * Answers as an image service that has no images. `openstack volume create` asks the catalog for one before it does
 * anything, even where no image is named.
 */
export function mountImagePlaceholder(
  app: FastifyInstance,
  publicUrl: (request: FastifyRequest) => string,
  authenticator: Authenticator,
): void {
  const version = (request: FastifyRequest) => ({
    id: 'v2.0',
    status: 'CURRENT',
    links: [{ rel: 'self', href: `${publicUrl(request)}/image/v2/` }],
  });
  app.get('/image', (request, reply) => reply.code(300).send({ versions: [version(request)] }));
  app.get('/image/v2', (request, reply) => reply.send({ versions: [version(request)] }));
  app.get('/image/v2/images', async (request) => {
    await contextOf(request, authenticator);
    return { images: [], first: '/v2/images', schema: '/v2/schemas/images' };
  });
  app.get<{ Params: { id: string } }>('/image/v2/images/:id', async (request) => {
    await contextOf(request, authenticator);
    throw new HttpError(404, `No image found with ID ${request.params.id}: this service has no images`);
  });
}
