import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { volumeListing } from '../../src/api/volumes/listing.ts';
import { TestService, type Answer } from '../service.ts';

let service: TestService;
const ids: Record<string, string> = {};
beforeAll(async () => {
  service = await TestService.start();
  for (const [name, size, metadata] of [
    ['alpha', 1, { tier: 'gold', note: "it's" }],
    ['beta', 3, { tier: 'gold' }],
    ['gamma', 2, {}],
  ] as const) {
    ids[name] = await service.volume({ name, size, metadata });
  }
  await service.volume({ name: 'other' }, { as: 'blue' });
});
afterAll(() => service.stop());

const list = (query: string, version = '3.71', as: 'red' | 'admin' = 'red') =>
  service.ask('GET', `/volumes/detail?${query}`, { version, as });
const names = (answer: Answer): string[] => answer.body.volumes.map((volume: { name: string }) => volume.name);

describe('filters', () => {
  test.each([
    ['name=beta', ['beta']],
    ['size=2', ['gamma']],
    ['size=large', []],
    ['status=available&name=alpha', ['alpha']],
    ['status=error', []],
    ['name~=MM', ['gamma']],
    ['metadata=%7B%22tier%22%3A%22gold%22%7D&sort=name:asc', ['alpha', 'beta']],
    ["metadata={'tier': 'gold', 'note': \"it's\"}", ['alpha']],
    ['bootable=true', []],
    ['bootable=false&sort=name:asc', ['alpha', 'beta', 'gamma']],
    ['multiattach=True', []],
    ['encrypted=false&sort=name:asc', ['alpha', 'beta', 'gamma']],
    ['group_id=some', []],
    ['migration_status=None&sort=name:asc', ['alpha', 'beta', 'gamma']],
    ['consumes_quota=false', []],
    ['created_at=gt:2001-01-01T00:00:00&sort=name:asc', ['alpha', 'beta', 'gamma']],
    ['created_at=gt:2001-01-01T00:00:00,lt:2002-01-01', []],
    ['availability_zone=nova&sort=name:asc', ['alpha', 'beta', 'gamma']],
    ['availability_zone=mars', []],
  ])('%s', async (query, expected) => {
    const answer = await list(query);
    expect(answer.status).toBe(200);
    expect(names(answer)).toEqual(expected);
  });

  test.each([
    ['bootable=maybe', /bootable/],
    ['metadata=gold', /metadata/],
    ['created_at=around:2001-01-01', /operator/],
    ['created_at=gt:yesterday', /yesterday/],
    ['colour=red', /Invalid filters colour/],
    ['constructor=1', /Invalid filters constructor/],
    ['host=host', /Invalid filters host/],
  ])('%s is refused', async (query, message) => {
    const answer = await list(query);
    expect(answer.status).toBe(400);
    expect(answer.body.badRequest.message).toMatch(message);
  });

  test('words that a version does not know are let pass, and rows of no field are none for administrators', async () => {
    expect(names(await list('colour=red&sort=name:asc', '3.30'))).toEqual(['alpha', 'beta', 'gamma']);
    expect(names(await list('created_at=gt:2999-01-01&sort=name:asc', '3.59'))).toEqual(['alpha', 'beta', 'gamma']);
    expect(names(await list('bootable=maybe&sort=name:asc', '3.1'))).toEqual(['alpha', 'beta', 'gamma']);
    expect(names(await list('all_tenants=1&colour=red', '3.71', 'admin'))).toEqual([]);
  });

  test('an administrator lists all projects, one, or those of a host', async () => {
    expect(names(await list('', '3.71', 'admin'))).toEqual([]);
    expect(names(await list('all_tenants=1&sort=name:asc', '3.71', 'admin'))).toEqual(['alpha', 'beta', 'gamma', 'other']);
    expect(names(await list('all_tenants=1&project_id=bbbb0000', '3.71', 'admin'))).toEqual(['other']);
    expect(names(await list('all_tenants=True&host=host@memory%23pool&limit=1&sort=name:asc', '3.71', 'admin'))).toEqual([
      'alpha',
    ]);
  });
});

describe('order and pages', () => {
  test.each([
    ['sort=size:asc', ['alpha', 'gamma', 'beta']],
    ['sort=name:desc', ['gamma', 'beta', 'alpha']],
    ['sort=status,name', ['gamma', 'beta', 'alpha']],
    ['sort_key=name&sort_dir=asc', ['alpha', 'beta', 'gamma']],
    ['', ['gamma', 'beta', 'alpha']],
    ['sort=name:asc&limit=2', ['alpha', 'beta']],
    ['sort=name:asc&limit=2&offset=1', ['beta', 'gamma']],
    ['sort=name:asc&limit=0', []],
    ['limit=100000&sort=name:asc', ['alpha', 'beta', 'gamma']],
  ])('%s', async (query, expected) => {
    expect(names(await list(query))).toEqual(expected);
  });

  test('following the links shows everything once', async () => {
    const seen: string[] = [];
    let url: string | undefined = '/volumes/detail?limit=2&sort=name:asc';
    for (let pages = 0; url !== undefined && pages < 5; pages += 1) {
      const answer: Answer = await service.ask('GET', url);
      seen.push(...names(answer));
      const next: string | undefined = answer.body.volumes_links?.[0].href;
      url = next?.replace(/^.*\/v3\/[^/]+/, '');
    }
    expect(seen).toEqual(['alpha', 'beta', 'gamma']);
  });

  test('every sort key of the listing works', async () => {
    for (const key of [
      'id',
      'status',
      'size',
      'availability_zone',
      'name',
      'bootable',
      'created_at',
      'updated_at',
      'user_id',
      'project_id',
      'host',
      'launched_at',
      'description',
      'multiattach',
      'volume_type_id',
      'snapshot_id',
      'source_volid',
    ]) {
      expect((await list(`sort=${key}:asc`)).body.volumes, key).toHaveLength(3);
    }
  });

  test.each([
    'limit=-1',
    'limit=many',
    'offset=-1',
    'offset=99999999999',
    'sort=colour',
    'sort=name:sideways',
    'sort=name&sort_key=size',
    'all_tenants=perhaps',
  ])('%s is refused', async (query) => {
    expect((await list(query)).status).toBe(400);
  });

  test('a marker that is no row is not found', async () => {
    expect((await list('marker=none')).status).toBe(404);
  });

  test('the number of all rows comes along on request, from 3.45 on', async () => {
    expect((await list('with_count=true&limit=1')).body.count).toBe(3);
    expect((await list('limit=1')).body).not.toHaveProperty('count');
    expect((await list('with_count=true', '3.44')).body).not.toHaveProperty('count');
  });

  test('the short list has id, name and links', async () => {
    const answer = await service.ask('GET', '/volumes?name=alpha');
    expect(Object.keys(answer.body.volumes[0]).toSorted()).toEqual(['id', 'links', 'name']);
    expect(answer.body.volumes[0].id).toBe(ids.alpha);
  });
});

test('the summary adds everything up; distinct metadata come with 3.36', async () => {
  const summary = await service.ask('GET', '/volumes/summary');
  expect(summary.body['volume-summary']).toMatchObject({ total_count: 3, total_size: 6, metadata: { tier: ['gold'] } });
  expect((await service.ask('GET', '/volumes/summary', { version: '3.35' })).body['volume-summary']).toEqual({
    total_count: 3,
    total_size: 6,
  });
  expect((await service.ask('GET', '/volumes/summary', { version: '3.11' })).status).toBe(404);
});

test('the filters that anybody may use are told', async () => {
  const { resource_filters: filters } = (await service.ask('GET', '/resource_filters?resource=volume')).body;
  expect(filters).toEqual([{ resource: 'volume', filters: [...volumeListing.filterNames] }]);
  expect(filters[0].filters).toEqual(expect.arrayContaining(['name', 'status', 'metadata', 'bootable', 'size', 'created_at']));
  expect(filters[0].filters).not.toContain('host');
  expect((await service.ask('GET', '/resource_filters', { version: '3.32' })).status).toBe(404);
});
