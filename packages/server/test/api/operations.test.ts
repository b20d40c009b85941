import { request as httpRequest, type IncomingMessage } from 'node:http';
import { systemClock, type Clock } from '@scoria/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projects, TestService } from '../service.ts';

let service: TestService;
beforeAll(async () => {
  service = await TestService.start();
  await service.http.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => service.stop());

describe('operations', () => {
  test('what was begun can be followed by the id that came with the answer', async () => {
    const made = await service.ask('POST', '/volumes', { body: { volume: { size: 1 } } });
    const id = String(made.headers['x-scoria-operation-id']);
    await service.settled(`/volumes/${made.body.volume.id}`, 'volume');
    const { operation } = (await service.ask('GET', `//scoria/v1/operations/${id}`)).body;
    expect(operation).toMatchObject({
      name: 'volume.create',
      status: 'succeeded',
      project_id: projects.red,
      request_id: made.headers['x-compute-request-id'],
      resource: { kind: 'volume', id: made.body.volume.id },
      error: null,
    });
    const { journal } = (await service.ask('GET', `//scoria/v1/operations/${id}/journal`)).body;
    expect(journal.at(-1)).toMatchObject({ event: 'ended' });
    const listed = await service.ask('GET', `//scoria/v1/operations?resource_id=${made.body.volume.id}&name=volume.create`);
    expect(listed.body.operations.map((each: { id: string }) => each.id)).toEqual([id]);
    expect((await service.ask('GET', `//scoria/v1/operations/${id}`, { as: 'blue' })).status).toBe(404);
    expect((await service.ask('GET', '//scoria/v1/operations', { as: 'blue' })).body.operations).toEqual([]);
    expect((await service.ask('POST', `//scoria/v1/operations/${id}/cancel`, { as: 'blue' })).status).toBe(404);
  });
});

function portOf({ http }: TestService): number {
  const address = http.server.address();
  if (typeof address !== 'object' || !address) throw new Error('the server does not listen');
  return address.port;
}

async function eventually<T>(look: () => T | undefined): Promise<T> {
  const deadline = performance.now() + 5000;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error('it did not happen');
    await systemClock.sleep(5);
  }
}

/** A client of the stream; collects whole events. */
class Listener {
  readonly #response: IncomingMessage;
  #text = '';

  private constructor(response: IncomingMessage) {
    this.#response = response;
    response.setEncoding('utf8').on('data', (chunk: string) => {
      this.#text += chunk;
    });
  }

  static open(token: string, lastEventId?: string, port = portOf(service)): Promise<Listener> {
    const headers = { 'x-auth-token': token, ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) };
    return new Promise((resolve, reject) => {
      httpRequest({ host: '127.0.0.1', port, path: '/scoria/v1/events', headers }, (response) => resolve(new Listener(response)))
        .on('error', reject)
        .end();
    });
  }

  get status() {
    return this.#response.statusCode;
  }

  get text() {
    return this.#text;
  }

  get events(): { id: string; name: string; data: Record<string, unknown> }[] {
    const blocks = this.#text.split('\n\n').slice(0, -1);
    return blocks.flatMap((block) => {
      const match = /^id: (\d+)\nevent: (.+)\ndata: (.+)$/.exec(block);
      const [, id = '', name = '', data = '{}'] = match ?? [];
      return match ? [{ id, name, data: JSON.parse(data) }] : [];
    });
  }

  async until(what: (events: Listener['events']) => boolean) {
    return eventually(() => (what(this.events) ? this.events : undefined));
  }

  closed(): Promise<void> {
    return new Promise((resolve) => this.#response.once('close', resolve));
  }

  end() {
    this.#response.destroy();
  }
}

describe('events', () => {
  test('come as they happen, to their project only', async () => {
    const mine = await Listener.open('red');
    const theirs = await Listener.open('blue');
    expect(mine.status).toBe(200);
    const id = await service.volume();
    const seen = await mine.until((events) => events.some(({ data }) => data.volumeId === id && data.status === 'available'));
    const sequence = seen.map((event) => Number(event.id));
    expect(sequence).toEqual(sequence.toSorted((a, b) => a - b));
    expect(theirs.events).toEqual([]);
    mine.end();
    theirs.end();
  });

  test('a client that comes back misses nothing', async () => {
    const first = await Listener.open('red');
    await service.volume({ name: 'one' });
    const [seen] = await first.until((events) => events.length > 0);
    first.end();
    const id = await service.volume({ name: 'two' });
    const again = await Listener.open('red', seen?.id);
    const resumed = await again.until((events) => events.some(({ data }) => data.volumeId === id && data.status === 'available'));
    expect(Number(resumed[0]?.id)).toBeGreaterThan(Number(seen?.id));
    again.end();
    const refused = await Listener.open('red', 'yesterday');
    expect(refused.status).toBe(400);
    refused.end();
  });

  test('a quiet stream shows now and then that it is alive', async () => {
    const timers: { ms: number; fire: () => void }[] = [];
    const clock: Clock = {
      ...systemClock,
      timer(ms, fire) {
        const timer = { ms, fire };
        timers.push(timer);
        return { [Symbol.dispose]: () => void timers.splice(timers.indexOf(timer), 1) };
      },
    };
    const quiet = await TestService.start({ clock });
    await quiet.http.listen({ host: '127.0.0.1', port: 0 });
    const listener = await Listener.open('red', undefined, portOf(quiet));
    const beat = await eventually(() => timers.find((timer) => timer.ms === 15_000));
    beat.fire();
    await eventually(() => (listener.text.includes(': heartbeat\n\n') ? true : undefined));
    listener.end();
    await quiet.stop();
  });

  test('streams end when the server closes', async () => {
    const other = await TestService.start();
    await other.http.listen({ host: '127.0.0.1', port: 0 });
    const listener = await Listener.open('red', undefined, portOf(other));
    const closed = listener.closed();
    await other.stop();
    await closed;
  });
});
