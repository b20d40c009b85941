import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestService } from '../service.ts';

let service: TestService;
beforeAll(async () => {
  service = await TestService.start({}, ['memory', 'spare']);
});
afterAll(() => service.stop());

const act = (id: string, body: unknown, ask: { as?: 'admin'; version?: string } = {}) =>
  service.ask('POST', `/volumes/${id}/action`, { ...ask, body });

async function seenByAdmin(id: string) {
  return (await service.ask('GET', `/volumes/detail?all_tenants=1&id=${id}`, { as: 'admin' })).body.volumes[0];
}

async function ended(operationId: unknown): Promise<string> {
  const { status } = await service.storage.operations.wait(String(operationId), 5000);
  return status;
}

test('an administrator migrates a volume to a host', async () => {
  const id = await service.volume();
  const from = (await seenByAdmin(id))['os-vol-host-attr:host'];
  const to = from === 'host@spare#pool' ? 'host@memory#pool' : 'host@spare#pool';
  expect((await act(id, { 'os-migrate_volume': { host: to } })).status).toBe(403);
  const wanted = { host: to, force_host_copy: false, lock_volume: 'True' };
  const accepted = await act(id, { 'os-migrate_volume': wanted }, { as: 'admin' });
  expect(accepted.status).toBe(202);
  expect(await ended(accepted.headers['x-scoria-operation-id'])).toBe('succeeded');
  expect(await seenByAdmin(id)).toMatchObject({
    status: 'available',
    migration_status: 'success',
    'os-vol-mig-status-attr:migstat': 'success',
    'os-vol-host-attr:host': to,
  });
  expect((await service.ask('GET', '/volumes?migration_status=success')).body.volumes).toMatchObject([{ id }]);
});

test.each([
  [{ host: 'host@nowhere' }, '3.71'],
  [{ host: '' }, '3.71'],
  [{}, '3.71'],
  [{ cluster: 'c' }, '3.16'],
  [{ host: 'host@spare', cluster: 'c' }, '3.15'],
])('a migration to %j at %s is refused', async (body, version) => {
  const id = await service.volume();
  expect((await act(id, { 'os-migrate_volume': body }, { as: 'admin', version })).status).toBe(400);
});

test('a volume gets another type', async () => {
  await service.ask('POST', '/types', { as: 'admin', body: { volume_type: { name: 'other' } } });
  const id = await service.volume();
  expect((await act(id, { 'os-retype': { new_type: 'unknown' } })).status).toBe(404);
  expect((await act(id, { 'os-retype': { new_type: 'other', migration_policy: 'whenever' } })).status).toBe(400);
  const accepted = await act(id, { 'os-retype': { new_type: 'other', migration_policy: 'never' } });
  expect(accepted.status).toBe(202);
  expect(await ended(accepted.headers['x-scoria-operation-id'])).toBe('succeeded');
  expect((await service.ask('GET', `/volumes/${id}`)).body.volume.volume_type).toBe('other');
});
