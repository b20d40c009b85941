import { createServer, type Server, type Socket } from 'node:net';
import { ScoriaError, type Clock, type Log } from '@scoria/core/device';
import { CallerGone, type TargetService, type VerbCall } from '../target/target-service.ts';
import { LineChannel } from './line-channel.ts';
import {
  clientMessageSchema,
  protocolVersion,
  verbs,
  parseRequest,
  type ClientMessage,
  type TargetSettings,
  type Verb,
  type VerbReply,
} from './messages.ts';

/** What a {@link ControlServer} needs. */
export interface ControlServerOptions {
  readonly socketPath: string;
  readonly settings: TargetSettings;
  readonly service: TargetService;
  readonly clock: Clock;
  readonly log: Log;
  /** Called once when the target is to end: on request, or when nobody has controlled it for too long. */
  readonly onShutdown: (reason: string) => void;
}

/** Most calls under way in one connection. */
const maxCalls = 20_000;

/** The side of the control socket that serves: verbs of the target for whoever connects. */
export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #server: Server;
  readonly #channels = new Set<LineChannel<ClientMessage>>();
  #orphan: Disposable | null = null;
  #stopping = false;

  constructor(options: ControlServerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.on('error', (error) => options.log.error({ error: error.message }, 'control socket of the iSCSI target failed'));
  }

  /** Listens on the socket, which only its owner may use. */
  async start(): Promise<void> {
    const mask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        this.#server.listen(this.#options.socketPath, () => {
          this.#server.off('error', reject);
          resolve();
        });
      });
    } finally {
      process.umask(mask);
    }
    this.#watchForOrphan();
  }

  /** Stops listening and ends the control connections. */
  async stop(): Promise<void> {
    this.#orphan?.[Symbol.dispose]();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const channel of this.#channels) channel.end();
    await closed;
  }

  async #stopService(): Promise<null> {
    if (this.#stopping) return null;
    this.#stopping = true;
    await this.#options.service.stop();
    this.#options.onShutdown('asked by the controller');
    return null;
  }

  #watchForOrphan(): void {
    this.#orphan?.[Symbol.dispose]();
    this.#orphan =
      this.#channels.size > 0
        ? null
        : this.#options.clock.timer(this.#options.settings.orphanTimeout * 1000, () => {
            this.#options.log.warn(
              { seconds: this.#options.settings.orphanTimeout },
              'the iSCSI target ends: nobody controls it',
            );
            void this.#options.service.stop().finally(() => this.#options.onShutdown('nobody controls it'));
          });
  }

  #accept(socket: Socket): void {
    const calls = new Map<number, AbortController>();
    const channel: LineChannel<ClientMessage> = new LineChannel(socket, clientMessageSchema, (message) => {
      if (message.kind === 'cancel') {
        calls.get(message.id)?.abort(new ScoriaError('cancelled', 'The call to the iSCSI target was cancelled'));
      } else if (calls.has(message.id) || calls.size >= maxCalls) {
        channel.close();
      } else {
        const controller = new AbortController();
        calls.set(message.id, controller);
        void this.#answer(channel, message.id, message.verb, message.body, controller.signal).finally(() =>
          calls.delete(message.id),
        );
      }
    });
    this.#channels.add(channel);
    this.#watchForOrphan();
    void channel.closed.then(() => {
      this.#channels.delete(channel);
      // Whoever asked for a copy is gone, and will ask again from the start. A mirror goes on for who comes next.
      for (const controller of calls.values()) controller.abort(new CallerGone());
      if (!this.#stopping) this.#watchForOrphan();
    });
  }

  async #answer(
    channel: LineChannel<ClientMessage>,
    id: number,
    verb: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      if (!isVerb(verb)) throw new ScoriaError('invalid-input', `The iSCSI target process knows no verb ${verb}`);
      const reply = await this.#call(verb, body, {
        signal,
        progress: (done, total) => channel.send({ kind: 'progress', id, done, total }),
      });
      channel.send({ kind: 'reply', id, body: reply });
    } catch (error) {
      channel.send({ kind: 'error', id, error: ScoriaError.from(error).toData() });
    }
  }

  async #call(verb: Verb, body: unknown, call: VerbCall): Promise<unknown> {
    const { service, settings } = this.#options;
    if (verb === 'hello') {
      const request = parseRequest(verb, body);
      const reply: VerbReply<'hello'> = {
        version: protocolVersion,
        settingsMatch: JSON.stringify(request.settings) === JSON.stringify(settings),
        processId: process.pid,
        addresses: [...service.addresses],
      };
      return reply;
    }
    if (verb === 'shutdown') return this.#stopService();
    return service.call(verb, body, call);
  }
}

const isVerb = (verb: string): verb is Verb => Object.hasOwn(verbs, verb);
