import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projects, TestService } from '../service.ts';

let service: TestService;
beforeAll(async () => {
  service = await TestService.start();
});
afterAll(() => service.stop());

const asAdmin = { as: 'admin' } as const;

describe('snapshots', () => {
  test('are taken, shown, listed, renamed and deleted', async () => {
    const volume = await service.volume();
    const made = await service.ask('POST', '/snapshots', {
      body: { snapshot: { volume_id: volume, name: 's', metadata: { a: '1' } } },
    });
    expect(made.status).toBe(202);
    expect(made.body.snapshot).toMatchObject({ volume_id: volume, name: 's', size: 1, status: 'creating', user_id: 'user-red' });
    const { id } = made.body.snapshot;
    expect(await service.settled(`/snapshots/${id}`, 'snapshot')).toBe('available');
    expect((await service.ask('GET', `/snapshots/${id}`)).body.snapshot).toMatchObject({
      'os-extended-snapshot-attributes:progress': '100%',
      'os-extended-snapshot-attributes:project_id': projects.red,
      consumes_quota: true,
      group_snapshot_id: null,
    });
    const renamed = await service.ask('PUT', `/snapshots/${id}`, { body: { snapshot: { display_name: 't', description: 'd' } } });
    expect(renamed.body.snapshot).toMatchObject({ name: 't', description: 'd' });
    expect((await service.ask('PUT', `/snapshots/${id}`, { body: { snapshot: {} } })).status).toBe(400);
    const detail = await service.ask('GET', `/snapshots/detail?volume_id=${volume}&name=t&with_count=1`);
    expect(detail.body).toMatchObject({ count: 1, snapshots: [{ id, metadata: { a: '1' } }] });
    expect((await service.ask('GET', `/snapshots?metadata={'a': '2'}`)).body.snapshots).toEqual([]);
    expect((await service.ask('GET', `/snapshots?volume_id=${volume}&limit=1`)).body.snapshots_links[0].rel).toBe('next');
    expect((await service.ask('DELETE', `/snapshots/${id}`)).status).toBe(202);
    expect(await service.settled(`/snapshots/${id}`, 'snapshot')).toBeUndefined();
  });

  test('fields appear with the version that brought them', async () => {
    const id = await service.snapshot(await service.volume());
    const fields = async (version: string) =>
      Object.keys((await service.ask('GET', `/snapshots/${id}`, { version })).body.snapshot);
    expect(await fields('3.13')).not.toContain('group_snapshot_id');
    expect(await fields('3.40')).not.toContain('user_id');
    expect(await fields('3.41')).toContain('user_id');
    expect(await fields('3.64')).not.toContain('consumes_quota');
  });

  test('of a volume in use need force, until 3.66 took the word away', async () => {
    const volume = await service.volume();
    await service.ask('POST', `/volumes/${volume}/action`, { body: { 'os-attach': { host_name: 'h', mountpoint: '/dev/vdb' } } });
    const take = (version: string, force?: unknown) =>
      service.ask('POST', '/snapshots', {
        version,
        body: { snapshot: { volume_id: volume, ...(force !== undefined && { force }) } },
      });
    expect((await take('3.65')).status).toBe(400);
    expect((await take('3.65', 'False')).status).toBe(400);
    expect((await take('3.65', true)).status).toBe(202);
    expect((await take('3.66', false)).body.badRequest.message).toMatch(/3\.66/);
    expect((await take('3.66', 'true')).status).toBe(202);
    expect((await take('3.66')).status).toBe(202);
  });

  test('metadata and forced deletion', async () => {
    const id = await service.snapshot(await service.volume(), { metadata: { a: '1' } });
    expect((await service.ask('POST', `/snapshots/${id}/metadata`, { body: { metadata: { b: '2' } } })).body.metadata).toEqual({
      a: '1',
      b: '2',
    });
    expect((await service.ask('DELETE', `/snapshots/${id}/metadata/a`)).status).toBe(200);
    expect((await service.ask('PUT', `/snapshots/${id}/metadata`, { body: { metadata: { c: '3' } } })).body.metadata).toEqual({
      c: '3',
    });
    expect((await service.ask('POST', `/snapshots/${id}/action`, { body: { 'os-force_delete': {} } })).status).toBe(403);
    expect((await service.ask('POST', `/snapshots/${id}/action`, { ...asAdmin, body: { 'os-force_delete': {} } })).status).toBe(
      202,
    );
  });
});

describe('attachments', () => {
  const connector = {
    initiator: 'iqn.1993-08.org.debian:01:abc',
    host: 'h1',
    ip: '10.0.0.1',
    multipath: 'False',
    os_type: 'linux',
  };
  const server = '11111111-2222-4333-8444-555555555555';

  test('from reservation over connection to completion and end', async () => {
    const volume = await service.volume();
    const reserved = await service.ask('POST', '/attachments', {
      body: { attachment: { volume_uuid: volume, instance_uuid: server, connector: {} } },
    });
    expect(reserved.status).toBe(200);
    expect(reserved.body.attachment).toMatchObject({
      status: 'reserved',
      instance: server,
      volume_id: volume,
      connection_info: {},
      attached_at: '',
    });
    const { id } = reserved.body.attachment;
    const connected = await service.ask('PUT', `/attachments/${id}`, {
      body: { attachment: { connector: { ...connector, mountpoint: '/dev/vdb' } } },
    });
    expect(connected.body.attachment).toMatchObject({
      status: 'attaching',
      connection_info: {
        driver_volume_type: 'iscsi',
        attachment_id: id,
        access_mode: 'rw',
        auth_password: expect.any(String),
        enforce_multipath: false,
      },
    });
    expect(
      (await service.ask('POST', `/attachments/${id}/action`, { version: '3.43', body: { 'os-complete': null } })).status,
    ).toBe(404);
    expect(await service.ask('POST', `/attachments/${id}/action`, { body: { 'os-complete': null } })).toMatchObject({
      status: 204,
      body: '',
    });
    expect((await service.ask('GET', `/volumes/${volume}`)).body.volume).toMatchObject({
      status: 'in-use',
      attachments: [{ attachment_id: id, server_id: server, device: '/dev/vdb', host_name: null }],
    });
    expect((await service.ask('GET', `/volumes/${volume}`)).body.volume.attachments[0].attached_at).not.toBeNull();
    expect((await service.ask('GET', `/attachments?volume_id=${volume}`)).body.attachments).toEqual([
      { id, status: 'attached', instance: server, volume_id: volume },
    ]);
    expect(
      (await service.ask('GET', `/attachments/detail?instance_id=${server}`)).body.attachments[0].connection_info
        .driver_volume_type,
    ).toBe('iscsi');
    expect((await service.ask('DELETE', `/attachments/${id}`)).body).toEqual({ attachments: [] });
    expect((await service.ask('GET', `/attachments/${id}`)).status).toBe(404);
    expect((await service.ask('GET', `/volumes/${volume}`)).body.volume.status).toBe('available');
  });

  test('at once, with a connector; the mode is a word of 3.54', async () => {
    const volume = await service.volume();
    const body = { attachment: { volume_uuid: volume, connector, mode: 'ro' } };
    expect((await service.ask('POST', '/attachments', { version: '3.53', body })).body.badRequest.message).toMatch(
      /'mode' was unexpected/,
    );
    const made = await service.ask('POST', '/attachments', { body });
    expect(made.body.attachment).toMatchObject({
      status: 'attaching',
      attach_mode: 'ro',
      connection_info: { access_mode: 'ro' },
    });
    await service.ask('DELETE', `/attachments/${made.body.attachment.id}`);
  });

  test('are another project’s secret', async () => {
    const volume = await service.volume();
    const { attachment } = (
      await service.ask('POST', '/attachments', { body: { attachment: { volume_uuid: volume, connector } } })
    ).body;
    expect((await service.ask('GET', `/attachments/${attachment.id}`, { as: 'blue' })).status).toBe(404);
    expect((await service.ask('DELETE', `/attachments/${attachment.id}`, { as: 'blue' })).status).toBe(404);
    expect((await service.ask('GET', '/attachments/detail?all_tenants=1', { as: 'blue' })).body.attachments).toEqual([]);
  });
});

describe('volume types', () => {
  test('are for administrators to make, and for everybody to see', async () => {
    const body = {
      volume_type: {
        name: 'fast',
        description: 'quick',
        extra_specs: { volume_backend_name: 'memory', multiattach: '<is> True' },
      },
    };
    expect((await service.ask('POST', '/types', { body })).body.forbidden.code).toBe(403);
    const made = await service.ask('POST', '/types', { ...asAdmin, body });
    expect(made.status).toBe(200);
    const { id } = made.body.volume_type;
    expect((await service.ask('POST', '/types', { ...asAdmin, body })).body.conflictingRequest.code).toBe(409);
    expect((await service.ask('GET', `/types/${id}`, asAdmin)).body.volume_type).toMatchObject({
      is_public: true,
      'os-volume-type-access:is_public': true,
      extra_specs: { volume_backend_name: 'memory', multiattach: '<is> True' },
      qos_specs_id: null,
    });
    // Users see what a type can do, and not how.
    const seen = (await service.ask('GET', `/types/${id}`)).body.volume_type;
    expect(seen.extra_specs).toEqual({ multiattach: '<is> True' });
    expect(seen).not.toHaveProperty('qos_specs_id');
    expect((await service.ask('GET', `/types?extra_specs={'multiattach': '<is> True'}`)).body.volume_types).toHaveLength(1);
    expect((await service.ask('GET', `/types?extra_specs={'volume_backend_name': 'memory'}`)).body.volume_types).toHaveLength(0);
    const renamed = await service.ask('PUT', `/types/${id}`, { ...asAdmin, body: { volume_type: { name: 'faster' } } });
    expect(renamed.body.volume_type.name).toBe('faster');
    const volume = await service.volume({ volume_type: 'faster' });
    expect((await service.ask('GET', `/volumes/${volume}`)).body.volume).toMatchObject({
      volume_type: 'faster',
      multiattach: true,
    });
    expect((await service.ask('DELETE', `/types/${id}`, asAdmin)).status).toBe(400);
    await service.ask('DELETE', `/volumes/${volume}`);
    await service.settled(`/volumes/${volume}`, 'volume');
    expect((await service.ask('DELETE', `/types/${id}`, asAdmin)).status).toBe(202);
    expect((await service.ask('GET', '/types/default')).body.volume_type.name).toBe('__DEFAULT__');
  });

  test('extra specs are written one by one or together', async () => {
    const { id } = (await service.ask('POST', '/types', { ...asAdmin, body: { volume_type: { name: 'specs' } } })).body
      .volume_type;
    const path = `/types/${id}/extra_specs`;
    expect((await service.ask('POST', path, { ...asAdmin, body: { extra_specs: { a: '1', b: '2' } } })).body).toEqual({
      extra_specs: { a: '1', b: '2' },
    });
    expect((await service.ask('PUT', `${path}/a`, { ...asAdmin, body: { a: '3' } })).body).toEqual({ a: '3' });
    expect((await service.ask('PUT', `${path}/a`, { ...asAdmin, body: { b: '3' } })).status).toBe(400);
    expect((await service.ask('GET', `${path}/a`, asAdmin)).body).toEqual({ a: '3' });
    expect((await service.ask('GET', `${path}/a`)).status).toBe(404);
    expect((await service.ask('DELETE', `${path}/a`, asAdmin)).status).toBe(202);
    expect((await service.ask('DELETE', `${path}/a`, asAdmin)).status).toBe(404);
    expect((await service.ask('GET', path, asAdmin)).body).toEqual({ extra_specs: { b: '2' } });
    expect((await service.ask('POST', path, { body: { extra_specs: {} } })).status).toBe(403);
  });

  test('a private one is for the projects that have access', async () => {
    const body = { volume_type: { name: 'private', 'os-volume-type-access:is_public': false } };
    const { id } = (await service.ask('POST', '/types', { ...asAdmin, body })).body.volume_type;
    const listed = async (as: 'red' | 'admin', query = '') =>
      (await service.ask('GET', `/types${query}`, { as })).body.volume_types.map((type: { name: string }) => type.name);
    expect(await listed('red')).not.toContain('private');
    expect(await listed('admin')).not.toContain('private');
    expect(await listed('admin', '?is_public=None')).toContain('private');
    expect(await listed('admin', '?is_public=False')).toEqual(['private']);
    expect((await service.ask('GET', `/types/${id}`)).status).toBe(404);
    const act = (key: string) =>
      service.ask('POST', `/types/${id}/action`, { ...asAdmin, body: { [key]: { project: projects.red } } });
    expect((await act('addProjectAccess')).status).toBe(202);
    expect((await act('addProjectAccess')).status).toBe(409);
    expect((await service.ask('GET', `/types/${id}/os-volume-type-access`, asAdmin)).body.volume_type_access).toEqual([
      { volume_type_id: id, project_id: projects.red },
    ]);
    expect(await listed('red')).toContain('private');
    expect((await act('removeProjectAccess')).status).toBe(202);
    expect(await listed('red')).not.toContain('private');
  });
});

describe('quotas and limits', () => {
  const project = projects.blue;

  test('are set, used, shown with their use, and reset', async () => {
    const path = `/os-quota-sets/${project}`;
    const update = { quota_set: { tenant_id: project, volumes: '7', gigabytes: 70 } };
    expect((await service.ask('PUT', path, { as: 'blue', body: update })).status).toBe(403);
    const updated = await service.ask('PUT', path, { ...asAdmin, body: update });
    expect(updated.body.quota_set).toMatchObject({ volumes: 7, gigabytes: 70 });
    await service.volume({ size: 3 }, { as: 'blue' });
    const used = await service.ask('GET', `${path}?usage=True`, { as: 'blue' });
    expect(used.body.quota_set).toMatchObject({
      id: project,
      volumes: { limit: 7, in_use: 1, reserved: 0 },
      gigabytes: { limit: 70, in_use: 3 },
      volumes___DEFAULT__: { limit: -1, in_use: 1 },
    });
    expect((await service.ask('GET', path, { as: 'red' })).status).toBe(403);
    const limits = (await service.ask('GET', '/limits', { as: 'blue' })).body.limits;
    expect(limits).toMatchObject({
      rate: [],
      absolute: { maxTotalVolumes: 7, totalVolumesUsed: 1, totalGigabytesUsed: 3, maxTotalVolumeGigabytes: 70 },
    });
    const others = await service.ask('GET', `/limits?project_id=${project}`, asAdmin);
    expect(others.body.limits.absolute.maxTotalVolumes).toBe(7);
    expect((await service.ask('DELETE', path, asAdmin)).status).toBe(200);
    expect((await service.ask('GET', path, asAdmin)).body.quota_set.gigabytes).toBe(1000);
    expect((await service.ask('GET', `${path}/defaults`, { as: 'blue' })).body.quota_set).toMatchObject({
      id: project,
      gigabytes: 1000,
      volumes___DEFAULT__: -1,
    });
    expect((await service.ask('GET', `${path}/defaults`)).status).toBe(403);
  });

  test('defaults are the class named default', async () => {
    const path = '/os-quota-class-sets/default';
    expect(
      (await service.ask('PUT', path, { ...asAdmin, body: { quota_class_set: { snapshots: 55 } } })).body.quota_class_set
        .snapshots,
    ).toBe(55);
    expect((await service.ask('GET', path, asAdmin)).body.quota_class_set).toMatchObject({ id: 'default', snapshots: 55 });
    expect((await service.ask('GET', path)).status).toBe(403);
    expect((await service.ask('PUT', '/os-quota-class-sets/other', { ...asAdmin, body: { quota_class_set: {} } })).status).toBe(
      400,
    );
  });

  test.each([{ volumes: -2 }, { volumes: 'many' }, { unicorns: 1 }])('%o is refused', async (limits) => {
    expect((await service.ask('PUT', `/os-quota-sets/${project}`, { ...asAdmin, body: { quota_set: limits } })).status).toBe(400);
  });
});

describe('services, pools, zones', () => {
  test('services are listed for administrators, disabled with a reason, and enabled', async () => {
    expect((await service.ask('GET', '/os-services')).status).toBe(403);
    const services = async (query = '', version = '3.71') =>
      (await service.ask('GET', `/os-services${query}`, { ...asAdmin, version })).body.services;
    expect(await services('?binary=cinder-volume')).toMatchObject([
      { host: 'host@memory', status: 'enabled', state: 'up', backend_state: 'up', cluster: null },
    ]);
    expect((await services('?host=host')).length).toBeGreaterThanOrEqual(2);
    expect((await services('', '3.6'))[0]).not.toHaveProperty('cluster');
    const named = { host: 'host@memory', binary: 'cinder-volume' };
    const put = (what: string, body: unknown) => service.ask('PUT', `/os-services/${what}`, { ...asAdmin, body });
    expect((await put('disable-log-reason', { ...named, disabled_reason: 'repair' })).body).toMatchObject({
      status: 'disabled',
      disabled_reason: 'repair',
    });
    expect(await services('?binary=cinder-volume')).toMatchObject([{ status: 'disabled', disabled_reason: 'repair' }]);
    expect((await put('enable', named)).body).toMatchObject({ status: 'enabled', disabled: false });
    expect((await put('disable', { host: 'host@memory', service: 'cinder-volume' })).body.disabled).toBe(true);
    expect((await put('enable', named)).status).toBe(200);
    expect((await put('disable', { host: 'nobody', binary: 'cinder-volume' })).status).toBe(404);
    expect((await put('disable', { host: 'host@memory' })).status).toBe(400);
  });

  test('pools tell their capacities', async () => {
    const pools = async (query: string) => (await service.ask('GET', `/scheduler-stats/get_pools${query}`, asAdmin)).body.pools;
    expect(await pools('')).toEqual([{ name: 'host@memory#pool' }]);
    const [{ capabilities }] = await pools('?detail=True');
    expect(capabilities).toMatchObject({
      total_capacity_gb: 1024,
      thin_provisioning_support: true,
      volume_backend_name: 'memory',
    });
    expect(await pools('?name=other')).toEqual([]);
    expect((await service.ask('GET', '/scheduler-stats/get_pools')).status).toBe(403);
  });

  test('a backend tells what it is, by the host of its service', async () => {
    const { body } = await service.ask('GET', '/capabilities/host@memory', asAdmin);
    expect(body).toMatchObject({ namespace: 'OS::Storage::Capabilities::host@memory', volume_backend_name: 'memory' });
    expect((await service.ask('GET', '/capabilities/host@elsewhere', asAdmin)).status).toBe(404);
  });

  test('zones are open to all', async () => {
    expect((await service.ask('GET', '/os-availability-zone')).body).toEqual({
      availabilityZoneInfo: [{ zoneName: 'nova', zoneState: { available: true } }],
    });
  });
});

test('a zone that nobody is in is refused at once', async () => {
  const { status, body } = await service.ask('POST', '/volumes', { body: { volume: { size: 1, availability_zone: 'mars' } } });
  expect([status, body.badRequest.message]).toEqual([400, "Availability zone 'mars' is invalid. There are: nova."]);
});

test('a user message tells why a volume ended in error', async () => {
  const disable = (how: string) =>
    service.ask('PUT', `/os-services/${how}`, {
      as: 'admin',
      body: { binary: 'cinder-volume', host: 'host@memory', ...(how !== 'enable' && { disabled_reason: 'gone to mars' }) },
    });
  expect((await disable('disable-log-reason')).status).toBe(200);
  const made = await service.ask('POST', '/volumes', { body: { volume: { size: 1 } } });
  const { id } = made.body.volume;
  expect(await service.settled(`/volumes/${id}`, 'volume')).toBe('error');
  expect((await disable('enable')).status).toBe(200);
  const list = await service.ask('GET', `/messages?resource_uuid=${id}`);
  expect(list.body.messages).toMatchObject([
    { resource_type: 'VOLUME', resource_uuid: id, message_level: 'ERROR', request_id: made.headers['x-compute-request-id'] },
  ]);
  const message = list.body.messages[0];
  expect((await service.ask('GET', `/messages/${message.id}`)).body.message.user_message).toMatch(/host@memory.*mars/s);
  expect((await service.ask('GET', `/messages/${message.id}`, { as: 'blue' })).status).toBe(404);
  expect((await service.ask('GET', '/messages', { version: '3.2' })).status).toBe(404);
  expect((await service.ask('GET', '/messages', { version: '3.4' })).status).toBe(200);
  expect((await service.ask('DELETE', `/messages/${message.id}`)).status).toBe(204);
  expect((await service.ask('GET', `/messages/${message.id}`)).status).toBe(404);
});

test('extensions are listed honestly', async () => {
  const { extensions } = (await service.ask('GET', '/extensions')).body;
  expect(extensions.map((each: { alias: string }) => each.alias)).toContain('os-quota-sets');
  expect((await service.ask('GET', '/extensions/os-services')).body.extension.name).toBe('Services');
  expect((await service.ask('GET', '/extensions/os-flying')).status).toBe(404);
});
