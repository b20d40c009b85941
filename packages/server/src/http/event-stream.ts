import type { ServerResponse } from 'node:http';
import { ScoriaError, type BlockStorage, type Clock, type RequestContext, type StoredEvent } from '@scoria/core';
import type { FastifyInstance } from 'fastify';
import { flagOf } from '../api/listing.ts';
import type { Authenticator } from './authenticator.ts';
import { contextOf, queryOf } from './dispatcher.ts';

const pageSize = 100;
const heartbeat = 15_000;
/** A client that takes nothing for so long is cut off; it resumes where it was. */
const patience = 30_000;
/** Streams end after an hour, so that a token that was revoked does not listen for ever. */
const longestLife = 3_600_000;

/** What the stream needs. */
export interface EventStreamOptions {
  readonly storage: { readonly events: Pick<BlockStorage['events'], 'after' | 'latest' | 'subscribe'> };
  readonly authenticator: Authenticator;
  readonly clock: Clock;
}

/**
 * `GET /scoria/v1/events`: what happens, as a server-sent stream (WHATWG HTML, server-sent events). The id of an event is
 * its place in the outbox; a client that comes back with `Last-Event-ID` misses nothing. The stream reads the outbox a page at a time
 * and waits for the client to take it, so a slow client costs one page of memory.
 */
export function mountEventStream(app: FastifyInstance, options: EventStreamOptions): void {
  const open = new Set<AbortController>();
  app.addHook('preClose', async () => {
    for (const stream of open) stream.abort();
  });
  app.get('/scoria/v1/events', async (request, reply) => {
    const context = await contextOf(request, options.authenticator);
    const after = await startOf(request.headers['last-event-id'], options.storage);
    const allProjects = flagOf('all_tenants', queryOf(request).all_tenants);
    const stream = new AbortController();
    open.add(stream);
    reply.hijack();
    reply.raw.once('close', () => stream.abort());
    reply.raw.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
      'X-Openstack-Request-Id': request.id,
    });
    reply.raw.flushHeaders();
    try {
      await follow(reply.raw, context, after, allProjects, stream, options);
    } catch (error) {
      if (!stream.signal.aborted) request.log.error({ err: error }, 'event stream failed');
    } finally {
      open.delete(stream);
      reply.raw.end();
    }
  });
}

async function startOf(header: string | string[] | undefined, storage: EventStreamOptions['storage']): Promise<number> {
  if (header === undefined) return storage.events.latest();
  if (typeof header === 'string' && /^\d{1,15}$/.test(header)) return Number(header);
  throw new ScoriaError('invalid-input', 'Last-Event-ID must be the id of an event of this stream, a number');
}

async function follow(
  response: ServerResponse,
  context: RequestContext,
  after: number,
  allProjects: boolean,
  stream: AbortController,
  { storage, clock }: EventStreamOptions,
): Promise<void> {
  const { signal } = stream;
  let wake = () => {};
  let woken = true;
  const rouse = () => {
    woken = true;
    wake();
  };
  signal.addEventListener('abort', rouse, { once: true });
  using _subscription = storage.events.subscribe(context, rouse, { allProjects });
  using _life = clock.timer(longestLife, () => stream.abort());
  let position = after;
  while (!signal.aborted) {
    woken = false;
    const events = await storage.events.after(context, position, { allProjects, limit: pageSize });
    for (const event of events) {
      position = event.sequence;
      await send(response, format(event), clock, stream);
    }
    if (events.length === pageSize) continue;
    while (!woken && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      using _beat = clock.timer(heartbeat, resolve);
      await promise;
      if (!woken) await send(response, ': heartbeat\n\n', clock, stream);
    }
  }
}

async function send(response: ServerResponse, text: string, clock: Clock, stream: AbortController): Promise<void> {
  if (stream.signal.aborted || response.write(text)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  using _patience = clock.timer(patience, () => {
    stream.abort();
    response.destroy();
  });
  response.once('drain', resolve);
  stream.signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
  response.off('drain', resolve);
}

function format(event: StoredEvent): string {
  const data = JSON.stringify({ sequence: event.sequence, at: new Date(event.at).toISOString(), ...event.payload });
  return `id: ${event.sequence}\nevent: ${event.name}\ndata: ${data}\n\n`;
}
