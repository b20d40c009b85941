import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { apiDescription } from '../../src/api/description.ts';
import { blockStorageRoutes } from '../../src/api/routes.ts';

test('openapi.json is what the routes say; if not, run "npm run docs:openapi"', async () => {
  const kept: unknown = JSON.parse(await readFile(new URL('../../openapi.json', import.meta.url), 'utf8'));
  expect(kept).toEqual(JSON.parse(JSON.stringify(apiDescription())));
});

test('the description has every route, its parameters and the version that brought it', () => {
  const { paths } = JSON.parse(JSON.stringify(apiDescription()));
  for (const { method, path } of blockStorageRoutes) {
    const described = paths[`/v3/{project_id}${path.replaceAll(/:(\w+)/g, '{$1}')}`]?.[method.toLowerCase()];
    expect(described, `${method} ${path}`).toBeDefined();
  }
  expect(paths['/v3/{project_id}/attachments'].get).toMatchObject({ 'x-openstack-since': '3.27' });
  const volume = paths['/v3/{project_id}/volumes/{id}'].get.responses['200'].content['application/json'].schema.properties.volume;
  expect(volume.properties.group_id).toMatchObject({ 'x-openstack-since': '3.13' });
  const actions = paths['/v3/{project_id}/volumes/{id}/action'].post.requestBody.content['application/json'].schema.oneOf;
  expect(actions.flatMap((action: { required: string[] }) => action.required)).toContain('os-extend');
});
