import { identityRoute } from '../identity-route.ts';

function version(baseUrl: string) {
  return {
    id: 'v3.14',
    status: 'stable',
    updated: '2020-04-07T00:00:00Z',
    links: [{ rel: 'self', href: `${baseUrl}/identity/v3/` }],
    'media-types': [{ base: 'application/json', type: 'application/vnd.openstack.identity-v3+json' }],
  };
}

/** Version discovery; answered with 300 where there is a choice, as Keystone does. */
export const versionRoutes = [
  identityRoute({
    method: 'GET',
    path: '/',
    access: 'public',
    handler: ({ baseUrl }) => ({ status: 300, body: { versions: { values: [version(baseUrl)] } } }),
  }),
  identityRoute({
    method: 'GET',
    path: '/v3',
    access: 'public',
    handler: ({ baseUrl }) => ({ status: 200, body: { version: version(baseUrl) } }),
  }),
];
