import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestService } from '../service.ts';

let service: TestService;
let host: string;
beforeAll(async () => {
  service = await TestService.start();
  host = (await service.ask('GET', '/scheduler-stats/get_pools', { as: 'admin' })).body.pools[0].name;
});
afterAll(() => service.stop());

async function ended(operationId: unknown): Promise<string> {
  return (await service.storage.operations.wait(String(operationId), 5000)).status;
}

/** Names of what lies on the host and can be taken over. */
async function free(): Promise<string[]> {
  const { body } = await service.ask('GET', `/manageable_volumes?host=${encodeURIComponent(host)}`, { as: 'admin' });
  return body['manageable-volumes'].flatMap((each: any) => (each.safe_to_manage ? [each.reference['source-name']] : []));
}

/** Makes a volume and lets go of it. Returns what it is called then. */
async function existing(version?: string): Promise<string> {
  const known = await free();
  const id = await service.volume();
  const { status, headers } = await service.ask('POST', `/volumes/${id}/action`, {
    as: 'admin',
    version,
    body: { 'os-unmanage': null },
  });
  expect(status).toBe(202);
  expect(await ended(headers['x-scoria-operation-id'])).toBe('succeeded');
  expect((await service.ask('GET', `/volumes/${id}`, { as: 'admin' })).status).toBe(404);
  const [name] = (await free()).filter((each) => !known.includes(each));
  return name ?? '';
}

test.each([
  ['/os-volume-manage', '3.0', 'source-name'],
  ['/manageable_volumes', '3.8', 'source-id'],
])('a volume is let go, listed and taken over: %s', async (path, version, word) => {
  const reference = await existing(version);
  const volume = {
    host,
    ref: { [word]: reference },
    name: 'old',
    description: null,
    volume_type: null,
    availability_zone: null,
    metadata: { a: 'b' },
    bootable: true,
  };
  const { status, body, headers } = await service.ask('POST', path, { as: 'admin', version, body: { volume } });
  expect(status).toBe(202);
  expect(body.volume).toMatchObject({ status: 'creating', size: 0, name: 'old' });
  expect(await ended(headers['x-scoria-operation-id'])).toBe('succeeded');
  const { id } = body.volume;
  const seen = (await service.ask('GET', `/volumes/${id}`, { as: 'admin' })).body.volume;
  expect(seen).toMatchObject({
    status: 'available',
    size: 1,
    bootable: 'true',
    metadata: { a: 'b' },
    'os-vol-host-attr:host': host,
  });
  const { body: list } = await service.ask('GET', `${path}/detail?host=${encodeURIComponent(host)}`, { as: 'admin', version });
  const mine = list['manageable-volumes'].filter((each: any) => each.cinder_id === id);
  expect(mine).toMatchObject([{ size: 1, safe_to_manage: false, reason_not_safe: expect.any(String), extra_info: null }]);
});

test('the list has pages, by the marker that clients print', async () => {
  const [first, second] = [await existing(), await existing()].toSorted();
  const names = async (query: string) =>
    (await service.ask('GET', `/manageable_volumes?host=${encodeURIComponent(host)}&${query}`, { as: 'admin' })).body[
      'manageable-volumes'
    ]
      .map((each: any) => each.reference['source-name'])
      .filter((name: string) => name === first || name === second);
  expect(await names('sort=reference:asc')).toEqual([first, second]);
  expect(await names('')).toEqual([second, first]);
  for (const marker of [first, `{'source-name': '${first}'}`, JSON.stringify({ 'source-name': first })]) {
    expect(await names(`sort=reference:asc&marker=${encodeURIComponent(marker ?? '')}`)).toEqual([second]);
  }
});

test.each([
  ['GET', '/os-volume-manage', undefined, 400],
  ['GET', '/os-volume-manage?host=nowhere@else', undefined, 400],
  ['GET', '/os-volume-manage?host=HOST&sort=colour', undefined, 400],
  ['GET', '/os-volume-manage?host=HOST&limit=x', undefined, 400],
  ['GET', '/os-volume-manage?host=HOST&marker=nothing', undefined, 404],
  ['POST', '/os-volume-manage', { volume: { ref: { 'source-name': 'a' } } }, 400],
  ['POST', '/os-volume-manage', { volume: { host: 'HOST' } }, 400],
  ['POST', '/os-volume-manage', { volume: { host: 'HOST', ref: {} } }, 400],
  ['POST', '/os-volume-manage', { volume: { host: 'HOST', ref: 'a', colour: 'red' } }, 400],
  ['POST', '/os-volume-manage', { volume: { cluster: 'c', ref: 'a' } }, 400],
] as const)('%s %s with %j is %i', async (method, path, body, wanted) => {
  const filled: unknown = JSON.parse(JSON.stringify(body ?? null).replaceAll('HOST', host));
  const url = path.replaceAll('HOST', encodeURIComponent(host));
  expect((await service.ask(method, url, { as: 'admin', ...(body && { body: filled }) })).status).toBe(wanted);
});

test('manageable_volumes came with 3.8', async () => {
  const list = `/manageable_volumes?host=${encodeURIComponent(host)}`;
  expect((await service.ask('GET', list, { as: 'admin', version: '3.7' })).status).toBe(404);
});

test('what is not there ends in an error, by Cinder’s older words for it, and is deleted', async () => {
  const volume = { host, ref: { 'source-name': 'nothing' } };
  const { body, headers } = await service.ask('POST', '/manageable_volumes', { as: 'admin', body: { volume } });
  await expect(ended(headers['x-scoria-operation-id'])).rejects.toMatchObject({ code: 'not-found' });
  const { id } = body.volume;
  expect((await service.ask('GET', `/volumes/${id}`, { as: 'admin' })).body.volume.status).toBe('error');
  const found = async (status: string) =>
    (await service.ask('GET', `/volumes?status=${status}`, { as: 'admin' })).body.volumes.map((each: { id: string }) => each.id);
  for (const word of ['error', 'error_managing']) expect(await found(word)).toContain(id);
  expect(await found('available')).not.toContain(id);
  const { messages } = (await service.ask('GET', `/messages?resource_uuid=${id}`, { as: 'admin' })).body;
  expect(messages[0].user_message).toMatch(/^volume\.manage: .*[.] [A-Z].*[.]$/);
  const deletion = await service.ask('DELETE', `/volumes/${id}`, { as: 'admin' });
  expect(await ended(deletion.headers['x-scoria-operation-id'])).toBe('succeeded');
});

test('a volume is made smaller when its id confirms it', async () => {
  const id = await service.volume({ size: 2 });
  const shrink = (body: unknown) => service.ask('POST', `//scoria/v1/volumes/${id}/shrink`, { body });
  const refused = await shrink({ new_size: 1 });
  expect(refused.status).toBe(400);
  expect(refused.body.badRequest.message).toMatch(/destroys its last 1073741824 bytes/);
  expect((await shrink({ new_size: 1, confirm: 'yes' })).status).toBe(400);
  const larger = await shrink({ new_size: 3, confirm: id });
  expect(larger.body.badRequest.message).toMatch(/has 2 GiB; its new size must be smaller, not 3 GiB/);
  const accepted = await shrink({ new_size: 1, confirm: id });
  expect(accepted.status).toBe(202);
  expect(await ended(accepted.body.operation_id)).toBe('succeeded');
  expect((await service.ask('GET', `/volumes/${id}`)).body.volume).toMatchObject({ status: 'available', size: 1 });
});
