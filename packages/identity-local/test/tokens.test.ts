import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TestIdentity } from './identity.ts';

let local: TestIdentity;
beforeEach(async () => {
  local = await TestIdentity.open();
});
afterEach(() => local.remove());

const refused = { code: 'not-authenticated' };

describe('logging in', () => {
  test('gives a token for the default project, with roles and catalog', async () => {
    const { status, body, token } = await local.logIn();
    expect(status).toBe(201);
    expect(body).toMatchObject({
      methods: ['password'],
      user: { name: 'admin', domain: { id: 'default', name: 'Default' } },
      project: { name: 'admin' },
      issued_at: '2027-01-15T08:00:00.000000Z',
      expires_at: '2027-01-15T20:00:00.000000Z',
    });
    expect(body.roles.map((role: { name: string }) => role.name)).toEqual(['admin', 'member']);
    const endpoints = Object.fromEntries(
      body.catalog.map((entry: { type: string; endpoints: { interface: string; url: string; region: string }[] }) => [
        entry.type,
        entry.endpoints.map((each) => `${each.interface} ${each.region} ${each.url}`),
      ]),
    );
    expect(Object.keys(endpoints)).toEqual(['identity', 'volumev3', 'block-storage', 'image']);
    expect(endpoints.volumev3).toContain(`public RegionOne http://storage.test/v3/${body.project.id}`);
    expect(endpoints['block-storage']).toHaveLength(3);
    expect(await local.identity.authenticate(token)).toEqual({
      userId: body.user.id,
      projectId: body.project.id,
      roles: ['admin', 'member'],
      isAdmin: true,
    });
  });

  test('takes a project by id, by name and domain, or none at all', async () => {
    const { body } = await local.logIn();
    const user = { id: body.user.id, password: local.password };
    const project = async (scope: unknown) => (await local.logIn(user, scope)).body.project?.id;
    expect(await project({ project: { id: body.project.id } })).toBe(body.project.id);
    expect(await project({ project: { name: 'admin', domain: { id: 'default' } } })).toBe(body.project.id);
    const unscoped = await local.logIn(user, 'unscoped');
    expect(unscoped.body).not.toHaveProperty('project');
    expect(unscoped.body).not.toHaveProperty('catalog');
    await expect(local.identity.authenticate(unscoped.token)).rejects.toMatchObject(refused);
    await expect(project({ project: { name: 'admin', domain: { name: 'Elsewhere' } } })).rejects.toMatchObject(refused);
    await expect(project({ project: { id: 'no-such' } })).rejects.toMatchObject(refused);
  });

  test('with a wrong name or password says the same of both', async () => {
    const message = async (user: object) => local.logIn(user).catch((error: Error) => error.message);
    const wrong = await message({ name: 'admin', domain: { id: 'default' }, password: 'guess' });
    expect(await message({ name: 'nobody', domain: { id: 'default' }, password: 'guess' })).toBe(wrong);
    expect(await message({ name: 'admin', domain: { id: 'default' }, password: 'x'.repeat(5000) })).toBe(wrong);
  });

  test('is slowed down after three failures, and not after a success', async () => {
    const guess = () => local.logIn({ name: 'admin', password: 'guess' }).catch(() => {});
    for (let n = 0; n < 9; n += 1) await guess();
    expect(local.clock.slept).toEqual([500, 1000, 2000, 4000, 8000, 10_000]);
    await local.logIn();
    local.clock.slept.length = 0;
    await local.logIn();
    expect(local.clock.slept).toEqual([]);
  });

  test.each([
    [{}],
    [{ auth: {} }],
    [{ auth: { identity: { methods: [] } } }],
    [{ auth: { identity: { methods: ['password'], password: { user: { password: 'x' } } } } }],
  ])('with %j is refused as malformed', async (body) => {
    await expect(local.call('POST', '/v3/auth/tokens', { body })).rejects.toMatchObject({ code: 'invalid-input' });
  });

  test('with a method that is not known is refused', async () => {
    const body = { auth: { identity: { methods: ['totp'] } } };
    await expect(local.call('POST', '/v3/auth/tokens', { body })).rejects.toMatchObject(refused);
  });
});

describe('a token', () => {
  test('ends with its time', async () => {
    const { token } = await local.logIn();
    local.clock.time += 12 * 3_600_000 - 1;
    await local.identity.authenticate(token);
    local.clock.time += 1;
    await expect(local.identity.authenticate(token)).rejects.toMatchObject(refused);
  });

  test('got for a token lives no longer than that one', async () => {
    const first = await local.logIn();
    local.clock.time += 3_600_000;
    const second = await local.call('POST', '/v3/auth/tokens', {
      body: { auth: { identity: { methods: ['token'], token: { id: first.token } } } },
    });
    expect(second.body.token.expires_at).toBe(first.body.expires_at);
    expect(second.body.token.methods).toEqual(['password', 'token']);
  });

  test('that was changed, cut, made up or is too long is refused', async () => {
    const { token } = await local.logIn();
    const [payload = '', mac = ''] = token.split('.');
    const forged = Buffer.from(
      JSON.stringify({ ...JSON.parse(Buffer.from(payload, 'base64url').toString()), id: 'another token of the same user' }),
    ).toString('base64url');
    for (const bad of [
      '',
      '.',
      'x',
      payload,
      `${payload}.`,
      `${forged}.${mac}`,
      `${token}x`,
      `${token}${'A'.repeat(2000)}`,
      token.slice(0, -4),
    ]) {
      await expect(local.identity.authenticate(bad), bad.slice(0, 20)).rejects.toMatchObject(refused);
    }
  });

  test('is shown, checked and revoked', async () => {
    const admin = (await local.logIn()).token;
    const subject = (await local.logIn()).token;
    const shown = await local.call('GET', '/v3/auth/tokens', { token: admin, subject });
    expect(shown).toMatchObject({
      status: 200,
      headers: { 'X-Subject-Token': subject },
      body: { token: { user: { name: 'admin' } } },
    });
    expect((await local.call('HEAD', '/v3/auth/tokens', { token: admin, subject })).body).toBeUndefined();
    expect((await local.call('GET', '/v3/auth/tokens?nocatalog', { token: admin, subject })).body.token).not.toHaveProperty(
      'catalog',
    );
    expect((await local.call('DELETE', '/v3/auth/tokens', { token: admin, subject })).status).toBe(204);
    await expect(local.identity.authenticate(subject)).rejects.toMatchObject(refused);
    await expect(local.call('GET', '/v3/auth/tokens', { token: admin, subject })).rejects.toMatchObject({ code: 'not-found' });
    await local.identity.authenticate(admin);
  });

  test('is good after a restart, and void after a new password', async () => {
    const { token } = await local.logIn();
    await local.reopen();
    expect(local.identity.initialPassword).toBeUndefined();
    await local.identity.authenticate(token);
    local.clock.time += 1;
    local.password = await local.identity.resetPassword('admin');
    await expect(local.identity.authenticate(token)).rejects.toMatchObject(refused);
    await local.identity.authenticate((await local.logIn()).token);
    await expect(local.identity.resetPassword('nobody')).rejects.toMatchObject({ code: 'not-found' });
  });
});

test('the catalog and the projects of a token are told', async () => {
  const { token, body } = await local.logIn();
  expect((await local.call('GET', '/v3/auth/catalog', { token })).body.catalog).toEqual(body.catalog);
  expect((await local.call('GET', '/v3/auth/projects', { token })).body.projects).toMatchObject([{ name: 'admin' }]);
  await expect(local.call('GET', '/v3/auth/catalog')).rejects.toMatchObject(refused);
});

test('discovery needs no token', async () => {
  expect(await local.call('GET', '/')).toMatchObject({ status: 300, body: { versions: { values: [{ id: 'v3.14' }] } } });
  expect((await local.call('GET', '/v3')).body.version.links[0].href).toBe('http://storage.test/identity/v3/');
});
