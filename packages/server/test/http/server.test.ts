import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { systemClock, systemRandom, type BlockStorage } from '@scoria/core';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { mountBlockStorage } from '../../src/http/dispatcher.ts';
import { route } from '../../src/http/route.ts';
import { createHttpServer } from '../../src/http/server.ts';
import { projects, TestService } from '../service.ts';

let service: TestService;
beforeAll(async () => {
  service = await TestService.start();
});
afterAll(() => service.stop());

describe('version negotiation', () => {
  const ask = (version: string | undefined) =>
    service.http.inject({
      url: `/v3/${projects.red}/volumes`,
      headers: { 'x-auth-token': 'red', ...(version !== undefined && { 'openstack-api-version': version }) },
    });

  test.each([
    [undefined, 'volume 3.0'],
    ['volume 3.27', 'volume 3.27'],
    ['volume latest', 'volume 3.71'],
    ['compute 2.1, volume 3.5', 'volume 3.5'],
  ])('%s is answered as %s', async (asked, used) => {
    const answer = await ask(asked);
    expect(answer.statusCode).toBe(200);
    expect(answer.headers).toMatchObject({ 'openstack-api-version': used, vary: 'OpenStack-API-Version' });
  });

  test.each([
    ['volume 3.72', 406, 'computeFault'],
    ['volume 2.0', 406, 'computeFault'],
    ['volume 3', 400, 'badRequest'],
    ['volume 3.x', 400, 'badRequest'],
    ['volume 3.01', 400, 'badRequest'],
    ['compute 2.1', 404, 'itemNotFound'],
  ])('%s is refused with %i', async (asked, status, fault) => {
    const answer = await ask(asked);
    expect(answer.statusCode).toBe(status);
    expect(answer.json()[fault].code).toBe(status);
  });

  test('a route is not there before the version that brought it', async () => {
    expect((await service.ask('GET', '/attachments', { version: '3.26' })).status).toBe(404);
    expect((await service.ask('GET', '/attachments', { version: '3.27' })).status).toBe(200);
  });
});

describe('who may ask', () => {
  test('without a token, or with one that is no good, nothing is told', async () => {
    for (const url of [
      `/v3/${projects.red}/volumes`,
      `/v3/${projects.red}/no-such-thing`,
      '/scoria/v1/operations',
      '/scoria/v1/events',
    ]) {
      for (const headers of [{}, { 'x-auth-token': 'stolen' }]) {
        const answer = await service.http.inject({ url, headers });
        expect(answer.statusCode).toBe(401);
        expect(answer.json().error).toMatchObject({ code: 401, title: 'Unauthorized' });
        expect(answer.headers['www-authenticate']).toBe('Keystone uri="http://storage.test/identity"');
      }
    }
  });

  test('the project of the URL must be the token’s, for administrators too', async () => {
    for (const as of ['blue', 'admin'] as const) {
      const answer = await service.ask('GET', `//v3/${projects.red}/volumes`, { as });
      expect(answer).toMatchObject({ status: 400, body: { badRequest: { message: 'Malformed request url' } } });
    }
  });

  test('the project may be left out of the URL, and then of the links', async () => {
    const id = await service.volume();
    const answer = await service.ask('GET', `//v3/volumes/${id}`);
    expect(answer.body.volume.links[0].href).toBe(`http://storage.test/v3/volumes/${id}`);
    expect((await service.ask('GET', '//v3/volumes/detail')).status).toBe(200);
  });
});

describe('requests and answers', () => {
  test('every answer names its request; callers may choose the name', async () => {
    const own = await service.ask('GET', '/volumes');
    expect(own.headers['x-compute-request-id']).toMatch(/^req-[0-9a-f-]{36}$/);
    expect(own.headers['x-openstack-request-id']).toBe(own.headers['x-compute-request-id']);
    const name = `req-${systemRandom.uuid()}`;
    const given = await service.ask('GET', '/volumes', { headers: { 'x-openstack-request-id': name } });
    expect(given.headers['x-compute-request-id']).toBe(name);
    const forged = await service.ask('GET', '/volumes', { headers: { 'x-openstack-request-id': 'req-\tnonsense' } });
    expect(forged.headers['x-compute-request-id']).not.toBe('req-\tnonsense');
  });

  test('a body that is too large is 413, one of another type 415', async () => {
    const large = await service.ask('POST', '/volumes', { body: { volume: { name: 'x'.repeat(120_000) } } });
    expect(large).toMatchObject({ status: 413, body: { overLimit: { code: 413 } } });
    const text = await service.http.inject({
      method: 'POST',
      url: `/v3/${projects.red}/volumes`,
      headers: { 'x-auth-token': 'red', 'content-type': 'text/plain' },
      payload: 'a volume, please',
    });
    expect(text.json().badMediaType.code).toBe(415);
  });

  test('a body that no request needs to be is refused before anything walks it', async () => {
    const post = (payload: string) =>
      service.http.inject({
        method: 'POST',
        url: `/v3/${projects.red}/volumes`,
        headers: { 'x-auth-token': 'red', 'content-type': 'application/json', 'idempotency-key': 'deep' },
        payload,
      });
    for (const payload of [
      `${'['.repeat(20_000)}${']'.repeat(20_000)}`,
      `${'{"volume":'.repeat(8000)}1${'}'.repeat(8000)}`,
      '{"volume":{"size":1,"name":"half \\ud83d of a character"}}',
      '{"volume":{"size":1,"name":"a\\u0000b"}}',
      '{"volume":{"size":1,"metadata":{"k":"\\u0000"}}}',
    ]) {
      const answer = await post(payload);
      expect(answer.statusCode, payload.slice(0, 60)).toBe(400);
      expect(answer.json().badRequest.message).toContain('Malformed message body');
    }
  });

  test('a URL that the router refuses is answered like any other error', async () => {
    const badUrl = await service.ask('GET', '/volumes/%ff');
    expect(badUrl).toMatchObject({ status: 400, body: { badRequest: { code: 400, message: 'Malformed request url' } } });
    expect(badUrl.headers['x-openstack-request-id']).toMatch(/^req-/);
    const long = await service.ask('GET', `/volumes/${'a'.repeat(256)}`);
    expect(long).toMatchObject({ status: 404, body: { itemNotFound: { code: 404 } } });
    for (const url of ['//identity/v3/users/%ff', '//identity/v3/no-such-thing']) {
      const answer = await service.ask('GET', url);
      expect(answer.body.error).toMatchObject({ code: answer.status, message: expect.any(String) });
    }
  });

  test('a type without a body is let pass, as clients name one even when they delete', async () => {
    const answer = await service.http.inject({
      method: 'DELETE',
      url: `/v3/${projects.red}/volumes/none`,
      headers: { 'x-auth-token': 'red', 'content-type': 'application/json' },
    });
    expect(answer.statusCode).toBe(404);
  });

  test('an unexpected failure is 500 and says nothing of its cause', async () => {
    const http = createHttpServer({
      storage: new Proxy({} as BlockStorage, {
        get() {
          throw new Error('the database password is hunter2');
        },
      }),
      authenticator: { authenticate: async () => ({ userId: 'u', projectId: 'aa', roles: [], isAdmin: false }) },
      log: false,
      clock: systemClock,
      random: systemRandom,
    });
    const answer = await http.inject({ url: '/v3/aa/volumes', headers: { 'x-auth-token': 'x' } });
    expect(answer.statusCode).toBe(500);
    expect(answer.json().computeFault.code).toBe(500);
    expect(answer.body).not.toContain('hunter2');
    await http.close();
  });
});

describe('what is no HTTP', () => {
  let address: { host: string; port: number };
  let http: ReturnType<typeof createHttpServer>;
  beforeAll(async () => {
    const { storage } = service;
    const authenticator = { authenticate: async () => ({ userId: 'u', projectId: 'aa', roles: [], isAdmin: false }) };
    http = createHttpServer({ storage, authenticator, log: false, clock: systemClock, random: systemRandom });
    const { hostname, port } = new URL(await http.listen({ host: '127.0.0.1', port: 0 }));
    address = { host: hostname, port: Number(port) };
  });
  afterAll(() => http.close());

  async function answerTo(sent: string): Promise<{ head: string; body: any }> {
    const socket = connect(address);
    socket.end(sent);
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n');
    return { head, body: JSON.parse(body) };
  }

  test.each([
    ['an unknown method', 'FROB / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['no line of a request', 'hello\r\n\r\n', 400],
    ['headers that are too large', `GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ])('%s, is refused in the shape of all errors, with a name of the request', async (_what, sent, code) => {
    const { head, body } = await answerTo(sent);
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${code} `));
    expect(head).toMatch(/\r\nX-Openstack-Request-Id: req-[0-9a-f-]{36}(\r\n|$)/);
    expect(body).toEqual({ badRequest: { code, message: expect.any(String) } });
  });

  test('a method that HTTP knows and the API does not is told like any other error', async () => {
    const { head, body } = await answerTo(
      'PROPFIND /v3/aa/volumes HTTP/1.1\r\nHost: a\r\nX-Auth-Token: x\r\nConnection: close\r\n\r\n',
    );
    expect(head).toMatch(/^HTTP\/1.1 404 /);
    expect(body).toMatchObject({ itemNotFound: { code: 404 } });
  });
});

describe('the check of answers', () => {
  const wrong = route({
    method: 'GET',
    path: '/wrong',
    summary: 'Answers with a field that is not described',
    response: { 200: z.object({ thing: z.object({ id: z.string() }) }) },
    handler: () => {
      const thing = { id: 'x', secret: 'y' };
      return { thing };
    },
  });

  const authenticator = { authenticate: async () => ({ userId: 'u', projectId: 'aa', roles: [], isAdmin: false }) };

  async function answerOf(checkResponses: boolean) {
    const lines: string[] = [];
    const log = pino({}, { write: (line: string) => void lines.push(line) });
    const http = createHttpServer({ storage: service.storage, authenticator, log, clock: systemClock, random: systemRandom });
    mountBlockStorage(http, [wrong], { storage: service.storage, authenticator, checkResponses, publicUrl: () => '' });
    const answer = await http.inject({ url: '/v3/aa/wrong', headers: { 'x-auth-token': 'a-token' } });
    await http.close();
    return { answer, log: lines.join('') };
  }

  test('on: a field that is not described fails, and the log names it', async () => {
    const { answer, log } = await answerOf(true);
    expect(answer.statusCode).toBe(500);
    expect(log).toContain('GET /wrong is not as described: thing');
    expect(log).not.toContain('a-token');
  });

  test('off: it is not sent', async () => {
    const { answer } = await answerOf(false);
    expect(answer.json()).toEqual({ thing: { id: 'x' } });
  });
});

describe('without a token', () => {
  test('discovery offers the versions', async () => {
    const choices = await service.http.inject({ url: '/' });
    expect(choices.statusCode).toBe(300);
    expect(choices.json().versions[0]).toMatchObject({ id: 'v3.0', status: 'CURRENT', version: '3.71', min_version: '3.0' });
    for (const url of ['/v3', '/v3/']) {
      const answer = await service.http.inject({ url });
      expect(answer.statusCode).toBe(200);
      expect(answer.json().versions[0].links).toContainEqual({ rel: 'self', href: 'http://storage.test/v3/' });
    }
  });

  test('the health check answers', async () => {
    expect((await service.http.inject({ url: '/healthcheck' })).statusCode).toBe(200);
  });

  test('the image placeholder says that it has no images', async () => {
    expect((await service.http.inject({ url: '/image' })).json().versions[0].id).toBe('v2.0');
    const images = await service.http.inject({ url: '/image/v2/images', headers: { 'x-auth-token': 'red' } });
    expect(images.json().images).toEqual([]);
  });

  test('the API description is served', async () => {
    const described = await TestService.start({ openApiFile: new URL('../../openapi.json', import.meta.url) });
    expect((await described.http.inject({ url: '/v3/openapi.json' })).json().openapi).toBe('3.1.0');
    await described.stop();
  });
});

test('links follow the host that the request names, and not what is no host', async () => {
  const plain = await TestService.start({ publicUrl: undefined });
  const hrefFor = async (host: string) =>
    (await plain.http.inject({ url: '/v3', headers: { host } })).json().versions[0].links[1].href;
  expect(await hrefFor('127.0.0.1:8776')).toBe('http://127.0.0.1:8776/v3/');
  expect(await hrefFor('evil"><script>')).toBe('http://localhost/v3/');
  await plain.stop();
});
