import { request, type IncomingMessage, type Server } from 'node:http';
import { systemClock, type StoredEvent } from '@scoria/core';
import fastify from 'fastify';
import { afterEach, expect, test } from 'vitest';
import { mountEventStream } from '../../src/http/event-stream.ts';

const app = fastify();
afterEach(() => app.close());

test('a client that takes nothing costs one page of events, and is cut off when its time is over', async () => {
  const timers: { ms: number; fire: () => void }[] = [];
  let given = 0;
  const filler = 'x'.repeat(10_000);
  const storage = {
    events: {
      latest: async () => 0,
      subscribe: () => ({ [Symbol.dispose]: () => {} }),
      after: async (_context: unknown, sequence: number, { limit = 0 }: { limit?: number }): Promise<StoredEvent[]> => {
        given += limit;
        return Array.from({ length: limit }, (_, index) => ({
          sequence: sequence + index + 1,
          at: 0,
          projectId: 'p',
          name: 'volume.changed',
          payload: { filler },
        }));
      },
    },
  };
  mountEventStream(app, {
    storage,
    authenticator: { authenticate: async () => ({ userId: 'u', projectId: 'p', roles: [], isAdmin: false }) },
    clock: {
      ...systemClock,
      timer(ms, fire) {
        const timer = { ms, fire };
        timers.push(timer);
        return { [Symbol.dispose]: () => void timers.splice(timers.indexOf(timer), 1) };
      },
    },
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const response = await open(app.server);
  response.pause();
  // The server waits when the buffers of both kernels are full; that is far from all that there is.
  await until(() => timers.some(({ ms }) => ms === 30_000));
  const waiting = given;
  const closed = new Promise((resolve) => response.once('close', resolve));
  timers.find(({ ms }) => ms === 30_000)?.fire();
  response.resume();
  await closed;
  expect(given).toBe(waiting);
});

function open(server: Server): Promise<IncomingMessage> {
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path: '/scoria/v1/events', headers: { 'x-auth-token': 't' } }, (response) => {
      response.on('error', () => {});
      resolve(response);
    })
      .on('error', reject)
      .end();
  });
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('it did not happen');
    await systemClock.sleep(2);
  }
}
