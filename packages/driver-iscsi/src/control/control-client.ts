import { connect, type Socket } from 'node:net';
import { ScoriaError, type Clock } from '@scoria/core/device';
import { LineChannel } from './line-channel.ts';
import { serverMessageSchema, verbs, type ServerMessage, type Verb, type VerbReply, type VerbRequest } from './messages.ts';

/** What accompanies a call. */
export interface ControlCall {
  readonly signal?: AbortSignal;
  progress?(done: number, total: number): void;
}

/** Time for the other side to end a call that was cancelled, ms. */
const cancelPatience = 5_000;

interface PendingCall {
  resolve(body: unknown): void;
  reject(error: unknown): void;
  progress(done: number, total: number): void;
}

/** The side of the control socket that asks. */
export class ControlClient {
  readonly #channel: LineChannel<ServerMessage>;
  readonly #pending = new Map<number, PendingCall>();
  readonly #clock: Clock;
  #lastId = 0;
  #gone = false;

  constructor(socket: Socket, clock: Clock) {
    this.#clock = clock;
    this.#channel = new LineChannel(socket, serverMessageSchema, (message) => this.#take(message));
    void this.#channel.closed.then(() => {
      this.#gone = true;
      const error = new ScoriaError('transport-failed', 'The process of the iSCSI target went away during the call');
      for (const call of this.#pending.values()) call.reject(error);
      this.#pending.clear();
    });
  }

  /** Connects to a socket; `null` when nobody listens there. */
  static async connect(socketPath: string, clock: Clock, ms: number): Promise<ControlClient | null> {
    const socket = connect(socketPath);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    using _timer = clock.timer(ms, () => resolve(false));
    if (await promise) return new ControlClient(socket, clock);
    socket.destroy();
    return null;
  }

  /** Settles when the connection is gone. */
  get closed(): Promise<void> {
    return this.#channel.closed;
  }

  /** Calls a verb. An abort asks the other side to stop, and the call then ends as that side says. */
  async call<V extends Verb>(verb: V, body: VerbRequest<V>, { signal, progress }: ControlCall = {}): Promise<VerbReply<V>> {
    signal?.throwIfAborted();
    if (this.#gone) throw new ScoriaError('transport-failed', 'The process of the iSCSI target is not there');
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#pending.set(id, { resolve, reject, progress: (done, total) => progress?.(done, total) });
    let patience: Disposable | undefined;
    const cancel = (): void => {
      this.#channel.send({ kind: 'cancel', id });
      patience = this.#clock.timer(cancelPatience, () => reject(signal?.reason));
    };
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      this.#channel.send({ kind: 'request', id, verb, body });
      const parsed = verbs[verb].reply.safeParse(await promise);
      if (!parsed.success)
        throw new ScoriaError('internal', `The process of the iSCSI target answered ${verb} with something else`);
      return parsed.data as VerbReply<V>;
    } finally {
      this.#pending.delete(id);
      patience?.[Symbol.dispose]();
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Ends the connection; the target goes on. */
  close(): void {
    this.#channel.close();
  }

  #take(message: ServerMessage): void {
    const call = this.#pending.get(message.id);
    if (message.kind === 'progress') call?.progress(message.done, message.total);
    else if (message.kind === 'error') call?.reject(ScoriaError.fromData(message.error));
    else call?.resolve(message.body);
  }
}
