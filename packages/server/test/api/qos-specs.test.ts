import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestService } from '../service.ts';

let service: TestService;
beforeAll(async () => {
  service = await TestService.start();
});
afterAll(() => service.stop());

const asAdmin = { as: 'admin' } as const;

async function qosSpec(name: string, keys: Record<string, unknown> = {}): Promise<string> {
  const made = await service.ask('POST', '/qos-specs', { ...asAdmin, body: { qos_specs: { name, ...keys } } });
  expect(made.status).toBe(200);
  return made.body.qos_specs.id;
}
async function volumeType(name: string): Promise<string> {
  return (await service.ask('POST', '/types', { ...asAdmin, body: { volume_type: { name } } })).body.volume_type.id;
}
const get = (path: string) => service.ask('GET', path, asAdmin);
const put = (path: string, body: unknown) => service.ask('PUT', path, { ...asAdmin, body });

test('a QoS spec is made, shown, listed, changed and deleted as Cinder does it', async () => {
  const body = { qos_specs: { name: ' gold ', consumer: 'both', total_iops_sec: 500, vendor: 'x' } };
  const made = await service.ask('POST', '/qos-specs', { ...asAdmin, body });
  const { id } = made.body.qos_specs;
  expect(made.body).toEqual({
    qos_specs: { id, name: 'gold', consumer: 'both', specs: { total_iops_sec: '500', vendor: 'x' } },
    links: [
      { rel: 'self', href: expect.stringContaining(`/qos-specs/${id}`) },
      { rel: 'bookmark', href: expect.stringContaining(`/qos-specs/${id}`) },
    ],
  });
  const again = await service.ask('POST', '/qos-specs', { ...asAdmin, body });
  expect([again.status, again.body.conflictingRequest.message]).toEqual([409, 'QoS spec gold exists already.']);
  expect((await get(`/qos-specs/${id}`)).body).toEqual(made.body);
  const other = await qosSpec('bronze');
  expect((await get('/qos-specs')).body).toEqual({
    qos_specs: [{ id: other, name: 'bronze', consumer: 'back-end', specs: {} }, made.body.qos_specs],
  });
  expect((await get('/qos-specs?consumer=both')).body.qos_specs).toHaveLength(1);
  expect((await get(`/qos-specs?limit=1&marker=${other}`)).body.qos_specs[0].name).toBe('gold');
  expect((await get('/qos-specs?sort=name:desc')).body.qos_specs[0].name).toBe('gold');

  const changed = await put(`/qos-specs/${id}`, { qos_specs: { consumer: 'back-end', total_iops_sec: '700' } });
  expect([changed.status, changed.body]).toEqual([200, { qos_specs: { consumer: 'back-end', total_iops_sec: '700' } }]);
  expect((await put(`/qos-specs/${id}/delete_keys`, { keys: ['vendor'] })).status).toBe(202);
  expect((await get(`/qos-specs/${id}`)).body.qos_specs).toMatchObject({
    consumer: 'back-end',
    specs: { total_iops_sec: '700' },
  });
  expect((await put(`/qos-specs/${id}/delete_keys`, { keys: ['none'] })).status).toBe(404);
  expect((await service.ask('DELETE', `/qos-specs/${id}`, asAdmin)).status).toBe(202);
  for (const [method, path] of [
    ['GET', `/qos-specs/${id}`],
    ['DELETE', `/qos-specs/${id}`],
    ['GET', `/qos-specs/${id}/associations`],
    ['GET', `/qos-specs/${id}/disassociate_all`],
  ] as const) {
    expect((await service.ask(method, path, asAdmin)).status).toBe(404);
  }
});

test.each([
  [{ qos_specs: { consumer: 'both' } }, /name/],
  [{ qos_specs: { name: ' ' } }, /name/],
  [{ qos_specs: { name: 'x', consumer: 'middle' } }, /consumer/],
  [{ qos_specs: { name: 'x', total_iops_sec: 'fast' } }, /total_iops_sec must be a whole number/],
  [{ qos_specs: { name: 'x', read_bytes_sec_max: '5' } }, /read_bytes_sec_max/],
  [{ qos_specs: { name: 'x', k$y: '1' } }, /keys/],
  [{ qos_specs: { name: 'x', key: { a: 1 } } }, /key/],
  [{ qos_specs: { name: 'x' }, more: 1 }, /more/],
])('%j is refused', async (body, message) => {
  const answer = await service.ask('POST', '/qos-specs', { ...asAdmin, body });
  expect([answer.status, answer.body.badRequest.message]).toEqual([400, expect.stringMatching(message)]);
});

test('a QoS spec cannot be renamed, nor changed to nonsense', async () => {
  const id = await qosSpec('named');
  for (const keys of [{ name: 'other' }, { write_iops_sec: '-5' }, { consumer: 'nobody' }]) {
    expect((await put(`/qos-specs/${id}`, { qos_specs: keys })).status).toBe(400);
  }
});

test('is for administrators', async () => {
  const id = await qosSpec('secret');
  for (const [method, path, body] of [
    ['GET', '/qos-specs', undefined],
    ['POST', '/qos-specs', { qos_specs: { name: 'mine' } }],
    ['GET', `/qos-specs/${id}`, undefined],
    ['PUT', `/qos-specs/${id}`, { qos_specs: { a: 'b' } }],
    ['DELETE', `/qos-specs/${id}`, undefined],
    ['PUT', `/qos-specs/${id}/delete_keys`, { keys: [] }],
    ['GET', `/qos-specs/${id}/associations`, undefined],
    ['GET', `/qos-specs/${id}/associate?vol_type_id=x`, undefined],
  ] as const) {
    expect((await service.ask(method, path, { body })).status).toBe(403);
  }
});

test('is given to volume types and taken from them; one in use is deleted by force only', async () => {
  const [gold, bronze] = [await qosSpec('gold for types'), await qosSpec('bronze for types')];
  const type = await volumeType('limited');
  const specOfType = async () => (await get(`/types/${type}`)).body.volume_type.qos_specs_id;
  const associate = (spec: string, of = type) => get(`/qos-specs/${spec}/associate?vol_type_id=${of}`);
  expect((await get(`/qos-specs/${gold}/associate`)).body.badRequest.message).toBe('Volume Type id must not be None.');
  expect((await associate(gold, '11111111-1111-4111-8111-111111111111')).status).toBe(404);
  expect((await associate(gold)).status).toBe(202);
  expect((await associate(gold)).status).toBe(202);
  expect(await specOfType()).toBe(gold);
  expect((await service.ask('GET', `/types/${type}`)).body.volume_type).not.toHaveProperty('qos_specs_id');
  expect((await associate(bronze)).status).toBe(400);
  expect((await get(`/qos-specs/${gold}/associations`)).body).toEqual({
    qos_associations: [{ association_type: 'volume_type', name: 'limited', id: type }],
  });
  const inUse = await service.ask('DELETE', `/qos-specs/${gold}?force=False`, asAdmin);
  expect([inUse.status, inUse.body.badRequest.message]).toEqual([400, expect.stringContaining('still in use')]);
  expect((await get(`/qos-specs/${gold}/disassociate?vol_type_id=${type}`)).status).toBe(202);
  expect(await specOfType()).toBeNull();
  await associate(gold);
  expect((await get(`/qos-specs/${gold}/disassociate_all`)).status).toBe(202);
  expect(await specOfType()).toBeNull();
  await associate(gold);
  expect((await service.ask('DELETE', `/qos-specs/${gold}?force=True`, asAdmin)).status).toBe(202);
  expect(await specOfType()).toBeNull();
});

test('for the front end stands in the connection info, by both ways to attach', async () => {
  const spec = await qosSpec('front', { consumer: 'front-end', total_iops_sec_per_gb: '100', vendor: 'x' });
  const type = await volumeType('fronted');
  await get(`/qos-specs/${spec}/associate?vol_type_id=${type}`);
  const told = { total_iops_sec: '200', vendor: 'x' };
  const connector = { initiator: 'iqn.1993-08.org.debian:01:abc', host: 'h1' };
  const first = await service.volume({ volume_type: 'fronted', size: 2 });
  const path = `/volumes/${first}/action`;
  const connected = await service.ask('POST', path, { body: { 'os-initialize_connection': { connector } } });
  expect(connected.body.connection_info.data.qos_specs).toEqual(told);
  const second = await service.volume({ volume_type: 'fronted', size: 2 });
  const made = await service.ask('POST', '/attachments', {
    version: '3.27',
    body: { attachment: { volume_uuid: second, connector, instance_uuid: '11111111-2222-4333-8444-555555555555' } },
  });
  expect(made.body.attachment.connection_info.qos_specs).toEqual(told);
  const plain = await service.volume();
  const unlimited = await service.ask('POST', `/volumes/${plain}/action`, {
    body: { 'os-initialize_connection': { connector } },
  });
  expect(unlimited.body.connection_info.data.qos_specs).toBeNull();
});

test('for the back end refuses an attachment through a target that cannot keep it', async () => {
  const spec = await qosSpec('back', { total_iops_sec: '100' });
  const type = await volumeType('backed');
  await get(`/qos-specs/${spec}/associate?vol_type_id=${type}`);
  const volume = await service.volume({ volume_type: 'backed' });
  const connector = { initiator: 'iqn.1993-08.org.debian:01:abc', host: 'h1' };
  const refused = await service.ask('POST', `/volumes/${volume}/action`, { body: { 'os-initialize_connection': { connector } } });
  expect([refused.status, refused.body.badRequest.message]).toEqual([400, expect.stringContaining('cannot hold volumes')]);
});
