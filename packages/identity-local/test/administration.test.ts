import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openrc, passwordInOpenrc } from '../src/index.ts';
import { timestamp } from '../src/timestamp.ts';
import { TestIdentity } from './identity.ts';

let local: TestIdentity;
let token = '';
beforeEach(async () => {
  local = await TestIdentity.open();
  ({ token } = await local.logIn());
});
afterEach(() => local.remove());

async function make(collection: 'projects' | 'users', body: object): Promise<string> {
  const key = collection.slice(0, -1);
  const made = await local.call('POST', `/v3/${collection}`, { token, body: { [key]: body } });
  expect(made.status).toBe(201);
  return made.body[key].id;
}

async function role(name: string): Promise<string> {
  return (await local.call('GET', `/v3/roles?name=${name}`, { token })).body.roles[0].id;
}

test('a new user with a role in a new project logs in there, and nowhere else', async () => {
  const project = await make('projects', { name: 'demo' });
  const user = await make('users', { name: 'alice', password: 'secret', default_project_id: project, options: {} });
  const credentials = { name: 'alice', domain: { id: 'default' }, password: 'secret' };
  expect((await local.logIn(credentials)).body).not.toHaveProperty('project');
  const assignment = `/v3/projects/${project}/users/${user}/roles/${await role('member')}`;
  expect((await local.call('PUT', assignment, { token })).status).toBe(204);
  expect((await local.call('HEAD', assignment, { token })).status).toBe(204);
  const alice = await local.logIn(credentials);
  expect(alice.body.project.id).toBe(project);
  expect(await local.identity.authenticate(alice.token)).toMatchObject({ projectId: project, isAdmin: false, roles: ['member'] });
  await expect(local.logIn(credentials, { project: { name: 'admin', domain: { id: 'default' } } })).rejects.toMatchObject({
    code: 'not-authenticated',
  });
  const named = await local.call('GET', `/v3/role_assignments?include_names=1&user.id=${user}`, { token });
  expect(named.body.role_assignments).toMatchObject([
    { role: { name: 'member' }, user: { name: 'alice' }, scope: { project: { name: 'demo' } } },
  ]);
  // A role that is taken away counts at once, also for tokens that are out.
  expect((await local.call('DELETE', assignment, { token })).status).toBe(204);
  await expect(local.identity.authenticate(alice.token)).rejects.toMatchObject({ code: 'not-authenticated' });
  await expect(local.call('HEAD', assignment, { token })).rejects.toMatchObject({ code: 'not-found' });
});

describe('who may do what', () => {
  test('a member sees itself and its projects, and changes nothing', async () => {
    const project = await make('projects', { name: 'demo' });
    const user = await make('users', { name: 'alice', password: 'secret' });
    await local.call('PUT', `/v3/projects/${project}/users/${user}/roles/${await role('member')}`, { token });
    const alice = (await local.logIn({ name: 'alice', password: 'secret' })).token;
    expect((await local.call('GET', `/v3/users/${user}`, { token: alice })).body.user.name).toBe('alice');
    expect((await local.call('GET', `/v3/projects/${project}`, { token: alice })).body.project.name).toBe('demo');
    const { body: all } = await local.call('GET', '/v3/users', { token });
    const adminId = all.users.find((each: { name: string }) => each.name === 'admin').id;
    const adminProject = (await local.call('GET', '/v3/projects?name=admin', { token })).body.projects[0].id;
    for (const [method, path] of [
      ['GET', '/v3/users'],
      ['GET', `/v3/users/${adminId}`],
      ['GET', '/v3/projects'],
      ['GET', `/v3/projects/${adminProject}`],
      ['DELETE', `/v3/users/${adminId}`],
      ['PUT', `/v3/projects/${project}/users/${user}/roles/${await role('admin')}`],
    ] as const) {
      await expect(local.call(method, path, { token: alice }), path).rejects.toMatchObject({ code: 'not-permitted' });
    }
    await expect(local.call('GET', '/v3/auth/tokens', { token: alice, subject: token })).rejects.toMatchObject({
      code: 'not-permitted',
    });
  });

  test('nobody without a token', async () => {
    for (const path of ['/v3/users', '/v3/projects', '/v3/roles', '/v3/domains']) {
      await expect(local.call('GET', path)).rejects.toMatchObject({ code: 'not-authenticated' });
    }
  });
});

describe('projects and users', () => {
  test('have names of their own, are changed, disabled and deleted', async () => {
    const project = await make('projects', { name: 'demo', description: 'd' });
    await expect(local.call('POST', '/v3/projects', { token, body: { project: { name: 'demo' } } })).rejects.toMatchObject({
      code: 'conflict',
    });
    const renamed = await local.call('PATCH', `/v3/projects/${project}`, {
      token,
      body: { project: { name: 'other', enabled: false } },
    });
    expect(renamed.body.project).toMatchObject({ name: 'other', enabled: false, description: 'd', domain_id: 'default' });
    expect((await local.call('GET', '/v3/projects?enabled=True', { token })).body.projects).toHaveLength(1);
    expect((await local.call('DELETE', `/v3/projects/${project}`, { token })).status).toBe(204);
    await expect(local.call('GET', `/v3/projects/${project}`, { token })).rejects.toMatchObject({ code: 'not-found' });

    const user = await make('users', { name: 'bob', password: 'one', email: 'bob@example.org' });
    await expect(local.call('POST', '/v3/users', { token, body: { user: { name: 'bob' } } })).rejects.toMatchObject({
      code: 'conflict',
    });
    await local.call('PATCH', `/v3/users/${user}`, { token, body: { user: { password: 'two' } } });
    await expect(local.logIn({ id: user, password: 'one' })).rejects.toMatchObject({ code: 'not-authenticated' });
    const bob = await local.logIn({ id: user, password: 'two' });
    local.clock.time += 1;
    const change = { user: { original_password: 'two', password: 'three' } };
    expect((await local.call('POST', `/v3/users/${user}/password`, { token: bob.token, body: change })).status).toBe(204);
    await local.logIn({ id: user, password: 'three' });
    await local.call('PATCH', `/v3/users/${user}`, { token, body: { user: { enabled: false } } });
    await expect(local.logIn({ id: user, password: 'three' })).rejects.toMatchObject({ code: 'not-authenticated' });
    expect((await local.call('DELETE', `/v3/users/${user}`, { token })).status).toBe(204);
    expect((await local.call('GET', '/v3/users?name=bob', { token })).body.users).toEqual([]);
  });

  test('in use by the caller stay', async () => {
    const { body } = await local.logIn();
    await expect(local.call('DELETE', `/v3/projects/${body.project.id}`, { token })).rejects.toMatchObject({
      code: 'not-permitted',
    });
    await expect(local.call('DELETE', `/v3/users/${body.user.id}`, { token })).rejects.toMatchObject({ code: 'not-permitted' });
  });

  test('belong to the one domain there is', async () => {
    expect((await local.call('GET', '/v3/domains/default', { token })).body.domain.name).toBe('Default');
    expect((await local.call('GET', '/v3/domains?name=Default', { token })).body.domains).toHaveLength(1);
    await expect(local.call('GET', '/v3/domains/other', { token })).rejects.toMatchObject({ code: 'not-found' });
    await expect(
      local.call('POST', '/v3/projects', { token, body: { project: { name: 'x', domain_id: 'other' } } }),
    ).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});

describe('the file', () => {
  test('is the owner’s alone, holds no password, and is whole after changes at once', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, n) => make('projects', { name: `p${n}` })));
    expect((await stat(local.file)).mode & 0o777).toBe(0o600);
    expect(await readFile(local.file, 'utf8')).not.toContain(local.password);
    expect(await readdir(local.directory)).toEqual(['identity.json']);
    await chmod(local.file, 0o644);
    await local.reopen();
    expect((await stat(local.file)).mode & 0o777).toBe(0o600);
    expect((await local.call('GET', '/v3/projects', { token })).body.projects).toHaveLength(21);
  });

  test('that is damaged or from a later version is refused, without telling what it holds', async () => {
    const state = JSON.parse(await readFile(local.file, 'utf8'));
    await writeFile(local.file, JSON.stringify({ ...state, signingKey: 17 }));
    await expect(local.reopen()).rejects.toMatchObject({
      code: 'invalid-configuration',
      message: expect.stringMatching(/signingKey$/),
    });
    await writeFile(local.file, '{');
    await expect(local.reopen()).rejects.toMatchObject({ code: 'invalid-configuration' });
    await writeFile(local.file, JSON.stringify({ version: 2 }));
    await expect(local.reopen()).rejects.toMatchObject({ code: 'data-directory-newer' });
  });
});

describe('openrc', () => {
  test('can be sourced, and gives its password back', () => {
    const password = `it's $HOME "quoted"`;
    const text = openrc({ authUrl: 'http://127.0.0.1:8776/identity/v3', userName: 'admin', password, projectName: 'admin' });
    expect(text).toContain(`export OS_PASSWORD='it'\\''s $HOME "quoted"'\n`);
    expect(text).toContain(`export OS_AUTH_URL='http://127.0.0.1:8776/identity/v3'\n`);
    expect(text).not.toContain('OS_CACERT');
    expect(passwordInOpenrc(text)).toBe(password);
    expect(passwordInOpenrc('')).toBeUndefined();
  });
});

test.each([0, 951_782_400_000, 951_868_799_999, 1_709_164_800_000, 1_800_000_000_123, 4_102_444_799_999])(
  'timestamp %d',
  (at) => {
    expect(timestamp(at)).toBe(new Date(at).toISOString().replace('Z', '000Z'));
  },
);
