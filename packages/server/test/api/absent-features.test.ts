import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestService } from '../service.ts';

let service: TestService;
beforeAll(async () => {
  service = await TestService.start();
});
afterAll(() => service.stop());

test.each([
  ['GET', '/backups/detail', /no backups/],
  ['POST', '/backups', /no backups/],
  ['GET', '/groups/some-id', /no groups/],
  ['GET', '/consistencygroups', /no consistency groups/],
  ['GET', '/volume-transfers', /given to another project/],
  ['GET', '/clusters', /no clusters/],
  ['PUT', '/os-services/freeze', /not frozen/],
  ['POST', '/types/some-id/encryption', /no encryption/],
  ['GET', '//v3/default-types', /default volume types/],
  ['GET', '//v3/backups?limit=1', /no backups/],
] as const)('%s %s is not found, and the answer says why', async (method, path, reason) => {
  const answer = await service.ask(method, path, { as: 'admin', ...(method !== 'GET' && { body: {} }) });
  expect(answer.status).toBe(404);
  expect(answer.body.itemNotFound.message).toMatch(reason);
});

test.each(['/constructor', '/no-such-thing', '/volumes/x/backups', '//v3/types/x/y/z'])(
  '%s is not found, as nobody has it',
  async (path) => {
    const answer = await service.ask('GET', path);
    expect(answer.body.itemNotFound).toEqual({ code: 404, message: 'The resource could not be found.' });
  },
);

test('an action of Cinder’s that is not here is told from one that nobody has', async () => {
  const act = async (name: string) =>
    (await service.ask('POST', '/volumes/some-id/action', { as: 'admin', body: { [name]: {} } })).body.badRequest.message;
  expect(await act('os-reset_status')).toMatch(/^There is no such action: os-reset_status\. Statuses follow from/);
  expect(await act('os-volume_upload_image')).toMatch(/No image service/);
  expect(await act('toString')).toBe('There is no such action: toString');
});

test('a member is told which action is for administrators', async () => {
  const answer = await service.ask('POST', '/volumes/some-id/action', { body: { 'os-force_delete': {} } });
  expect(answer).toMatchObject({ status: 403, body: { forbidden: { message: expect.stringContaining('os-force_delete') } } });
});

test('nothing is encrypted, and says so', async () => {
  const id = await service.volume();
  expect((await service.ask('GET', `/volumes/${id}/encryption`)).body).toEqual({ encryption_key_id: null });
  expect((await service.ask('GET', '/volumes/none/encryption')).status).toBe(404);
  const { volume_type: type } = (await service.ask('GET', '/types/default')).body;
  expect((await service.ask('GET', `/types/${type.id}/encryption`, { as: 'admin' })).body).toEqual({});
});
