import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, systemRandom } from '@scoria/core';
import { createLocalIdentity, type LocalIdentity } from '@scoria/identity-local';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestService } from '../service.ts';

let directory = '';
let identity: LocalIdentity;
let service: TestService;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-server-'));
  identity = await createLocalIdentity({
    file: join(directory, 'identity.json'),
    clock: systemClock,
    random: systemRandom,
    passwordCost: { cost: 2, blockSize: 1, parallelization: 1 },
  });
  service = await TestService.start({ identity, authenticator: identity });
});
afterAll(async () => {
  await service.stop();
  await rm(directory, { recursive: true });
});

const logIn = (password: string | undefined) =>
  service.http.inject({
    method: 'POST',
    url: '/identity/v3/auth/tokens',
    payload: {
      auth: { identity: { methods: ['password'], password: { user: { name: 'admin', domain: { id: 'default' }, password } } } },
    },
  });

test('the password of the first start opens the catalog, and its endpoint opens the volumes', async () => {
  const answer = await logIn(identity.initialPassword);
  expect(answer.statusCode).toBe(201);
  const token = String(answer.headers['x-subject-token']);
  const { catalog } = answer.json().token;
  const { url } = catalog.find((entry: { type: string }) => entry.type === 'block-storage').endpoints[0];
  const volumes = await service.http.inject({
    url: `${url.replace('http://storage.test', '')}/volumes`,
    headers: { 'x-auth-token': token },
  });
  expect(volumes.statusCode).toBe(200);
  const subject = { 'x-auth-token': token, 'x-subject-token': token };
  const head = await service.http.inject({ method: 'HEAD', url: '/identity/v3/auth/tokens', headers: subject });
  expect(head.statusCode).toBe(200);
  const gone = await service.http.inject({ method: 'DELETE', url: '/identity/v3/auth/tokens', headers: subject });
  expect(gone.statusCode).toBe(204);
  const after = await service.http.inject({
    url: `${url.replace('http://storage.test', '')}/volumes`,
    headers: { 'x-auth-token': token },
  });
  expect(after.statusCode).toBe(401);
});

test('refusals have the shape of the Identity API', async () => {
  const wrong = await logIn('guess');
  expect(wrong.statusCode).toBe(401);
  expect(wrong.json()).toEqual({ error: { code: 401, title: 'Unauthorized', message: expect.any(String) } });
  expect(wrong.headers['www-authenticate']).toContain('/identity');
  const malformed = await service.http.inject({ method: 'POST', url: '/identity/v3/auth/tokens', payload: { auth: 1 } });
  expect(malformed.json().error).toMatchObject({ code: 400, title: 'Bad Request' });
  const broken = await service.http.inject({
    method: 'POST',
    url: '/identity/v3/auth/tokens',
    headers: { 'content-type': 'application/json' },
    payload: '{',
  });
  expect(broken.json().error.code).toBe(400);
  const denied = await service.http.inject({ url: '/identity/v3/users' });
  expect(denied.json().error.code).toBe(401);
});

test('discovery of the Identity API needs no token', async () => {
  expect((await service.http.inject({ url: '/identity' })).statusCode).toBe(300);
  expect((await service.http.inject({ url: '/identity/v3/' })).json().version.id).toBe('v3.14');
});
