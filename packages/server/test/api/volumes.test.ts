import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projects, TestService } from '../service.ts';

let service: TestService;
beforeAll(async () => {
  service = await TestService.start();
});
afterAll(() => service.stop());

describe('create, show, change, delete', () => {
  test('a volume is accepted, becomes available and shows what was asked', async () => {
    const made = await service.ask('POST', '/volumes', {
      body: { volume: { size: '2', name: ' data ', description: null, metadata: { tier: 'gold' }, snapshot_id: null } },
    });
    expect(made.status).toBe(202);
    expect(made.headers['x-scoria-operation-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(made.body.volume).toMatchObject({
      status: 'creating',
      size: 2,
      name: 'data',
      metadata: { tier: 'gold' },
      bootable: 'false',
      attachments: [],
    });
    const { id } = made.body.volume;
    expect(await service.settled(`/volumes/${id}`, 'volume')).toBe('available');
    const shown = await service.ask('GET', `/volumes/${id}`);
    expect(shown.body.volume).toMatchObject({
      'os-vol-tenant-attr:tenant_id': projects.red,
      user_id: 'user-red',
      volume_type: '__DEFAULT__',
      shared_targets: false,
      consumes_quota: true,
    });
    expect(shown.body.volume.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/);
    expect(shown.body.volume.links).toEqual([
      { rel: 'self', href: `http://storage.test/v3/${projects.red}/volumes/${id}` },
      { rel: 'bookmark', href: `http://storage.test/${projects.red}/volumes/${id}` },
    ]);
  });

  test('what is made from content that a machine can start from can be started from too', async () => {
    const origin = await service.volume();
    expect(
      (await service.ask('POST', `/volumes/${origin}/action`, { body: { 'os-set_bootable': { bootable: true } } })).status,
    ).toBe(200);
    const snapshot = await service.snapshot(origin);
    for (const source of [{ source_volid: origin }, { snapshot_id: snapshot }]) {
      const made = await service.ask('POST', '/volumes', { body: { volume: source } });
      expect(made.body.volume, JSON.stringify(source)).toMatchObject({ bootable: 'true' });
    }
  });

  test('sizes in refusals are in GiB, as they were given', async () => {
    const id = await service.volume({ size: 2 });
    const extended = await service.ask('POST', `/volumes/${id}/action`, { body: { 'os-extend': { new_size: 1 } } });
    expect(extended.body.badRequest.message).toMatch(/has 2 GiB; its new size must be larger, not 1 GiB/);
    const cloned = await service.ask('POST', '/volumes', { body: { volume: { size: 1, source_volid: id } } });
    expect(cloned.body.badRequest.message).toMatch(/1 GiB, less than the 2 GiB of volume/);
    const fraction = await service.ask('POST', '/volumes', { body: { volume: { size: 1.5 } } });
    expect(fraction.body.badRequest.message).toBe(
      'Invalid input for field/attribute volume.size. Value: 1.5. is not a whole number of GiB',
    );
  });

  test('fields appear with the version that brought them, and host fields only for administrators', async () => {
    const id = await service.volume();
    const fields = async (version: string, as?: 'admin') => {
      const ask = as ? { version, as } : { version };
      return Object.keys((await service.ask('GET', as ? `/volumes/${id}` : `/volumes/${id}`, ask)).body.volume);
    };
    const old = await fields('3.0');
    expect(old).not.toContain('group_id');
    expect(await fields('3.13')).toContain('group_id');
    expect(await fields('3.47')).not.toContain('service_uuid');
    expect(await fields('3.48')).toEqual(expect.arrayContaining(['shared_targets', 'service_uuid']));
    expect(await fields('3.63')).toContain('volume_type_id');
    expect(await fields('3.64')).not.toContain('consumes_quota');
    expect(old).not.toContain('os-vol-host-attr:host');
    expect(await fields('3.20', 'admin')).not.toContain('provider_id');
    expect(await fields('3.61', 'admin')).toEqual(
      expect.arrayContaining(['os-vol-host-attr:host', 'provider_id', 'cluster_name', 'migration_status']),
    );
  });

  test('a volume is renamed, described and given other metadata', async () => {
    const id = await service.volume({ name: 'before', metadata: { a: '1' } });
    const changed = await service.ask('PUT', `/volumes/${id}`, { body: { volume: { name: 'after', metadata: { b: '2' } } } });
    expect(changed.status).toBe(200);
    expect(changed.body.volume).toMatchObject({ name: 'after', metadata: { b: '2' } });
    expect((await service.ask('PUT', `/volumes/${id}`, { body: { volume: {} } })).status).toBe(400);
    expect((await service.ask('PUT', `/volumes/${id}`, { version: '3.52', body: { volume: {} } })).status).toBe(200);
  });

  test('a volume is deleted, with its snapshots when asked', async () => {
    const id = await service.volume();
    await service.snapshot(id);
    const refused = await service.ask('DELETE', `/volumes/${id}`);
    expect(refused.status).toBe(400);
    expect(refused.body.badRequest.code).toBe(400);
    const accepted = await service.ask('DELETE', `/volumes/${id}?cascade=True`);
    expect(accepted).toMatchObject({ status: 202, body: '' });
    expect(await service.settled(`/volumes/${id}`, 'volume')).toBeUndefined();
  });

  test('force is for administrators, by query from 3.23 on or by action', async () => {
    const id = await service.volume();
    expect((await service.ask('DELETE', `/volumes/${id}?force=true`)).body.forbidden.code).toBe(403);
    expect((await service.ask('POST', `/volumes/${id}/action`, { body: { 'os-force_delete': null } })).status).toBe(403);
    const forced = await service.ask('POST', `/volumes/${id}/action`, { as: 'admin', body: { 'os-force_delete': null } });
    expect(forced.status).toBe(202);
    expect(await service.settled(`/volumes/${id}`, 'volume')).toBeUndefined();
  });

  test('copies are made of volumes and snapshots', async () => {
    const source = await service.volume({ name: 'source' });
    const snapshot = await service.snapshot(source);
    const clone = await service.volume({ size: null, source_volid: source });
    const restored = await service.volume({ size: 2, snapshot_id: snapshot });
    expect((await service.ask('GET', `/volumes/${clone}`)).body.volume).toMatchObject({ source_volid: source, size: 1 });
    expect((await service.ask('GET', `/volumes/${restored}`)).body.volume).toMatchObject({ snapshot_id: snapshot, size: 2 });
  });
});

describe('wrong input', () => {
  const create = (volume: unknown, version?: string) => service.ask('POST', '/volumes', { body: { volume }, version });

  test.each([
    ['no size', { name: 'x' }, /size/],
    ['size 0', { size: 0 }, /volume\.size.*Value: 0/],
    ['size as a word', { size: 'big' }, /volume\.size.*"big"/],
    ['a size beyond counting', { size: 9e9 }, /volume\.size/],
    ['a name that is too long', { size: 1, name: 'x'.repeat(256) }, /volume\.name/],
    ['metadata that are no text', { size: 1, metadata: { a: 1 } }, /volume\.metadata\.a/],
    ['an image', { size: 1, imageRef: 'cirros' }, /image/],
    ['a snapshot id that is none', { size: 1, snapshot_id: 'x' }, /volume\.snapshot_id.*"x".*UUID/],
    ['an unknown word', { size: 1, colour: 'red' }, /'colour' was unexpected/],
  ])('%s is refused with 400', async (_what, volume, message) => {
    const answer = await create(volume);
    expect(answer.status).toBe(400);
    expect(answer.body.badRequest.message).toMatch(message);
  });

  test('unknown words are let pass before 3.53, and fields of later versions too', async () => {
    expect((await create({ size: 1, colour: 'red' }, '3.52')).status).toBe(202);
    expect((await create({ size: 1, backup_id: 'not even a UUID' }, '3.46')).status).toBe(202);
    expect((await create({ size: 1, backup_id: 'not even a UUID' }, '3.47')).status).toBe(400);
  });

  test('a missing entity, a body that is no JSON, and none at all are 400', async () => {
    expect((await service.ask('POST', '/volumes', { body: {} })).body.badRequest.message).toMatch(
      /'volume' is a required property/,
    );
    expect((await service.ask('POST', '/volumes')).body.badRequest.message).toMatch(/body/);
    const malformed = await service.http.inject({
      method: 'POST',
      url: `/v3/${projects.red}/volumes`,
      headers: { 'x-auth-token': 'red', 'content-type': 'application/json' },
      payload: '{',
    });
    expect(malformed.json().badRequest.message).toMatch(/^Malformed message body/);
  });

  test('what is not there is 404 in the words of the API', async () => {
    const missing = await service.ask('GET', '/volumes/00000000-0000-4000-8000-000000000000');
    expect(missing.status).toBe(404);
    expect(missing.body.itemNotFound).toMatchObject({
      code: 404,
      message: expect.stringContaining('00000000-0000-4000-8000-000000000000'),
    });
    expect((await service.ask('GET', '/nothing')).body.itemNotFound.code).toBe(404);
    expect((await create({ size: 1, volume_type: 'unknown' })).status).toBe(404);
  });

  test('a quota that is used up is 413, to be tried again at once', async () => {
    await service.ask('PUT', `/os-quota-sets/${projects.blue}`, { as: 'admin', body: { quota_set: { gigabytes: 1 } } });
    const answer = await service.ask('POST', '/volumes', { as: 'blue', body: { volume: { size: 2 } } });
    expect(answer).toMatchObject({
      status: 413,
      headers: { 'retry-after': '0' },
      body: { overLimit: { code: 413, retryAfter: '0' } },
    });
    await service.ask('DELETE', `/os-quota-sets/${projects.blue}`, { as: 'admin' });
  });
});

describe('actions', () => {
  test('extend, with a size in GiB', async () => {
    const id = await service.volume();
    const accepted = await service.ask('POST', `/volumes/${id}/action`, { body: { 'os-extend': { new_size: 3 } } });
    expect(accepted.status).toBe(202);
    await service.settled(`/volumes/${id}`, 'volume');
    expect((await service.ask('GET', `/volumes/${id}`)).body.volume.size).toBe(3);
    const shrunk = await service.ask('POST', `/volumes/${id}/action`, { body: { 'os-extend': { new_size: 2 } } });
    expect(shrunk.body.badRequest.code).toBe(400);
  });

  test('extend in use, from 3.42 on', async () => {
    const id = await service.volume();
    const act = (body: unknown, version?: string) => service.ask('POST', `/volumes/${id}/action`, { body, version });
    await act({ 'os-attach': { host_name: 'h', mountpoint: '/dev/vdb' } });
    expect((await act({ 'os-extend': { new_size: 2 } }, '3.41')).status).toBe(400);
    expect((await act({ 'os-extend': { new_size: 2 } }, '3.42')).status).toBe(202);
  });

  test('revert to the latest snapshot, from 3.40 on', async () => {
    const id = await service.volume();
    const snapshot = await service.snapshot(id);
    const body = { revert: { snapshot_id: snapshot } };
    expect((await service.ask('POST', `/volumes/${id}/action`, { body, version: '3.39' })).status).toBe(404);
    expect((await service.ask('POST', `/volumes/${id}/action`, { body })).status).toBe(202);
    expect(await service.settled(`/volumes/${id}`, 'volume')).toBe('available');
  });

  test('bootable and read-only', async () => {
    const id = await service.volume();
    expect(
      (await service.ask('POST', `/volumes/${id}/action`, { body: { 'os-set_bootable': { bootable: 'True' } } })).status,
    ).toBe(200);
    expect(
      (await service.ask('POST', `/volumes/${id}/action`, { body: { 'os-update_readonly_flag': { readonly: true } } })).status,
    ).toBe(202);
    const { volume } = (await service.ask('GET', `/volumes/${id}`)).body;
    expect(volume).toMatchObject({ bootable: 'true', metadata: { readonly: 'True' } });
  });

  test('one that is not known is refused by name; two at once are refused', async () => {
    const id = await service.volume();
    const unknown = await service.ask('POST', `/volumes/${id}/action`, { body: { 'os-fly': {} } });
    expect(unknown.body.badRequest.message).toBe('There is no such action: os-fly');
    const two = await service.ask('POST', `/volumes/${id}/action`, { body: { 'os-reserve': null, 'os-unreserve': null } });
    expect(two.status).toBe(400);
  });

  test('the older way to attach, from reservation to detachment', async () => {
    const id = await service.volume();
    const act = (body: unknown) => service.ask('POST', `/volumes/${id}/action`, { body });
    const status = async () => (await service.ask('GET', `/volumes/${id}`)).body.volume;
    const connector = { initiator: 'iqn.1993-08.org.debian:01:abc', host: 'h1', ip: '10.0.0.1', os_type: 'linux' };
    expect((await act({ 'os-reserve': null })).status).toBe(202);
    expect((await act({ 'os-unreserve': {} })).status).toBe(202);
    expect((await status()).status).toBe('available');
    await act({ 'os-reserve': null });
    const connected = await act({ 'os-initialize_connection': { connector } });
    expect(connected.body.connection_info).toMatchObject({
      driver_volume_type: 'iscsi',
      data: { target_iqn: expect.stringMatching(/^iqn\.test/), access_mode: 'rw', encrypted: false },
    });
    const server = '11111111-2222-4333-8444-555555555555';
    expect((await act({ 'os-attach': { instance_uuid: server, mountpoint: '/dev/vdb' } })).status).toBe(202);
    expect(await status()).toMatchObject({
      status: 'in-use',
      attachments: [{ server_id: server, device: '/dev/vdb', volume_id: id, id }],
    });
    expect((await act({ 'os-begin_detaching': null })).status).toBe(202);
    expect((await status()).status).toBe('detaching');
    await act({ 'os-roll_detaching': null });
    expect((await status()).status).toBe('in-use');
    await act({ 'os-begin_detaching': null });
    expect((await act({ 'os-terminate_connection': { connector } })).status).toBe(202);
    expect((await act({ 'os-detach': {} })).status).toBe(202);
    expect(await status()).toMatchObject({ status: 'available', attachments: [] });
  });

  test('attaching names a machine or a host', async () => {
    const id = await service.volume();
    const answer = await service.ask('POST', `/volumes/${id}/action`, { body: { 'os-attach': { mountpoint: '/dev/vdb' } } });
    expect(answer.body.badRequest.message).toMatch(/instance_uuid or host_name/);
  });
});

describe('metadata', () => {
  test('are read, added to, replaced and removed, one by one or all', async () => {
    const id = await service.volume({ metadata: { a: '1' } });
    const path = `/volumes/${id}/metadata`;
    expect((await service.ask('POST', path, { body: { metadata: { b: '2' } } })).body).toEqual({ metadata: { a: '1', b: '2' } });
    expect((await service.ask('GET', `${path}/b`)).body).toEqual({ meta: { b: '2' } });
    expect((await service.ask('PUT', `${path}/b`, { body: { meta: { b: '3' } } })).body).toEqual({ meta: { b: '3' } });
    expect((await service.ask('PUT', `${path}/b`, { body: { meta: { c: '3' } } })).status).toBe(400);
    expect((await service.ask('DELETE', `${path}/a`)).status).toBe(200);
    expect((await service.ask('DELETE', `${path}/a`)).status).toBe(404);
    expect((await service.ask('PUT', path, { body: { metadata: { z: '9' } } })).body).toEqual({ metadata: { z: '9' } });
    expect((await service.ask('GET', path)).body).toEqual({ metadata: { z: '9' } });
  });

  test('a change may be bound to the ETag last seen, from 3.15 on', async () => {
    const id = await service.volume({ metadata: { a: '1' } });
    const path = `/volumes/${id}/metadata`;
    const { etag } = (await service.ask('GET', path)).headers;
    const body = { metadata: { a: '2' } };
    expect((await service.ask('PUT', path, { body, headers: { 'if-match': String(etag) } })).status).toBe(200);
    expect((await service.ask('PUT', path, { body, headers: { 'if-match': String(etag) } })).status).toBe(412);
    expect((await service.ask('PUT', path, { body, version: '3.14', headers: { 'if-match': String(etag) } })).status).toBe(200);
  });
});

test('a project never sees, changes or deletes what is another project’s', async () => {
  const id = await service.volume({ name: 'private' });
  const snapshot = await service.snapshot(id);
  const asBlue = { as: 'blue' } as const;
  for (const path of [`/volumes/${id}`, `/volumes/${id}/metadata`, `/snapshots/${snapshot}`]) {
    expect((await service.ask('GET', path, asBlue)).status).toBe(404);
  }
  expect((await service.ask('DELETE', `/volumes/${id}`, asBlue)).status).toBe(404);
  expect((await service.ask('PUT', `/volumes/${id}`, { ...asBlue, body: { volume: { name: 'mine' } } })).status).toBe(404);
  expect((await service.ask('POST', `/volumes/${id}/action`, { ...asBlue, body: { 'os-extend': { new_size: 9 } } })).status).toBe(
    404,
  );
  expect(
    (await service.ask('POST', '/volumes', { ...asBlue, body: { volume: { size: 1, snapshot_id: snapshot } } })).status,
  ).toBe(404);
  expect((await service.ask('POST', '/attachments', { ...asBlue, body: { attachment: { volume_uuid: id } } })).status).toBe(404);
  expect((await service.ask('GET', '/volumes/detail', asBlue)).body.volumes).toEqual([]);
  expect((await service.ask('GET', '/volumes?all_tenants=1', asBlue)).body.volumes).toEqual([]);
  const everybody = await service.ask('GET', '/volumes/detail?all_tenants=1', { as: 'admin' });
  expect(everybody.body.volumes.map((volume: { id: string }) => volume.id)).toContain(id);
});
