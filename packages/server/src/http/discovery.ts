import type { FastifyInstance, FastifyRequest } from 'fastify';
import { maximumVersion, minimumVersion } from './microversion.ts';

/** What clients read to find out which versions are spoken here. */
function versions(baseUrl: string) {
  return {
    versions: [
      {
        id: 'v3.0',
        status: 'CURRENT',
        version: maximumVersion,
        min_version: minimumVersion,
        updated: '2023-08-31T00:00:00Z',
        links: [
          { rel: 'describedby', type: 'text/html', href: 'https://docs.openstack.org/' },
          { rel: 'self', href: `${baseUrl}/v3/` },
        ],
        'media-types': [{ base: 'application/json', type: 'application/vnd.openstack.volume+json;version=3' }],
      },
    ],
  };
}

/** Version discovery, without a token: `GET /` answers 300 with the choices, `GET /v3/` answers 200. */
export function mountDiscovery(app: FastifyInstance, publicUrl: (request: FastifyRequest) => string): void {
  app.get('/', (request, reply) => reply.code(300).send(versions(publicUrl(request))));
  app.get('/v3', (request, reply) => reply.send(versions(publicUrl(request))));
}
