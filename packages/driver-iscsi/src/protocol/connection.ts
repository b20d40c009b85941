import { setImmediate } from 'node:timers';
import type { Socket } from 'node:net';
import { ScoriaError, type Clock, type Log, type Random } from '@scoria/core/device';
import { formatAddress } from './listen-address.ts';
import { isProved, LoginNegotiator, loginStatus, type LoginAnswer, type LoginPolicy, type LoginResult } from './login.ts';
import { loginMaxRecvDataSegmentLength, targetMaxRecvDataSegmentLength } from './negotiation.ts';
import { joinData, makeHeader, nextSequence, opcodeOf, paddingOf, requestOpcode, responseOpcode, taskTagOf } from './pdu.ts';
import { PduDecoder, PduFormatError } from './pdu-decoder.ts';
import { ProtocolError } from './protocol-error.ts';
import type { Session } from './session.ts';
import type { TargetRegistry } from './target-registry.ts';
import { formatText } from './text.ts';

/** What a connection needs of its surroundings. */
export interface ConnectionContext {
  readonly registry: TargetRegistry;
  readonly policy: LoginPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Makes the session of a finished login; rejects with `ScoriaError` when there cannot be one. */
  openSession(connection: Connection, login: LoginResult): Promise<Session>;
}

/** Time for a login, ms. */
const loginDeadline = 15_000;
/** Silence after which the initiator is pinged; after twice that it is taken for gone. ms. */
const pingInterval = 15_000;
const silenceLimit = 45_000;
/** Life of a discovery session without authentication, ms. */
const unprovedLife = 60_000;
/** Bytes waiting to be sent above which nothing more is read. */
const maxUnsent = 8_388_608;

/** Something to be told when what was queued before it has left. */
export interface Sendable {
  sent(): void;
}

const padding = Buffer.alloc(4);

/**
 * One TCP connection of an initiator: framing, login, and gathering of what goes out. Whatever goes wrong here costs
 * this connection only.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #context: ConnectionContext;
  readonly #decoder: PduDecoder;
  readonly #negotiator: LoginNegotiator;
  #session: Session | null = null;
  #loginPending = false;
  #statSN = 1;
  #queue: Buffer[] = [];
  #afterwards: Sendable[] = [];
  #flushPlanned = false;
  #unsent = 0;
  #ended = false;
  #heard: number;
  /** When the session ends whatever the initiator does, ms. */
  #end = Number.POSITIVE_INFINITY;
  #timer: Disposable;
  readonly #closed = Promise.withResolvers<void>();

  constructor(socket: Socket, context: ConnectionContext) {
    this.#socket = socket;
    this.#context = context;
    this.#negotiator = new LoginNegotiator(context.registry, context.random, context.policy);
    this.#decoder = new PduDecoder(
      {
        place: (bhs, length) => this.#session?.place(bhs, length) ?? null,
        pdu: (bhs, data) => this.#receive(bhs, data),
        corrupt: (bhs, data) => this.#session?.receiveDamaged(bhs, data),
      },
      loginMaxRecvDataSegmentLength,
    );
    this.#heard = context.clock.monotonic();
    this.#timer = context.clock.timer(loginDeadline, () => this.fail('the login took too long'));
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    socket.on('data', (chunk: Buffer) => this.#push(chunk));
    socket.on('error', () => this.destroy());
    socket.on('end', () => this.destroy());
    socket.on('close', () => this.destroy());
  }

  /** Address and port of the initiator, for the log. */
  get peer(): string {
    return `${this.#socket.remoteAddress ?? '?'}:${this.#socket.remotePort ?? 0}`;
  }

  /** Address and port at which the initiator reached this target. */
  get localAddress(): string {
    // A socket of both families tells IPv4 addresses in their mapped form (RFC 4291, 2.5.5.2).
    const host = (this.#socket.localAddress ?? '').replace(/^::ffff:(?=[0-9.]+$)/i, '');
    return formatAddress({ host, port: this.#socket.localPort ?? 0 });
  }

  /** Settles when the connection is gone. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Writes StatSN into a header; `advance` when the PDU carries a status. */
  stamp(bhs: Buffer, advance: boolean): void {
    bhs.writeUInt32BE(this.#statSN, 24);
    if (advance) this.#statSN = nextSequence(this.#statSN);
  }

  /** Queues bytes; all that is queued in one turn of the event loop goes out together. */
  write(bytes: Buffer): void {
    if (this.#ended || bytes.length === 0) return;
    this.#queue.push(bytes);
    this.#plan();
  }

  /** Queues the zeroes that pad a segment. */
  writePadding(length: number): void {
    const count = paddingOf(length);
    if (count > 0) this.write(padding.subarray(0, count));
  }

  /** Calls `sendable.sent` when all that is queued so far has left, or never will. */
  whenSent(sendable: Sendable): void {
    if (this.#ended) sendable.sent();
    else this.#afterwards.push(sendable);
  }

  /** Ends the connection because of the initiator. */
  fail(reason: string): void {
    if (this.#ended) return;
    this.#context.log.warn(
      { peer: this.peer, initiator: this.#session?.nexus.initiatorName },
      `iSCSI connection ended: ${reason}`,
    );
    this.destroy();
  }

  /** Sends what is queued without waiting for the end of this turn of the event loop. */
  flush(): void {
    this.#flush();
  }

  /** Sends what is queued, then ends the connection. */
  finish(): void {
    this.#decoder.stop();
    this.#flush();
    this.#socket.end();
    this.#timer[Symbol.dispose]();
    this.#timer = this.#context.clock.timer(5_000, () => this.destroy());
  }

  /** Ends the connection at once. */
  destroy(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer[Symbol.dispose]();
    this.#decoder.stop();
    this.#socket.destroy();
    this.#queue = [];
    for (const sendable of this.#afterwards.splice(0)) sendable.sent();
    void this.#session?.close();
    this.#closed.resolve();
  }

  #push(chunk: Buffer): void {
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      if (error instanceof PduFormatError || error instanceof ProtocolError) return this.fail(error.message);
      this.#context.log.error({ peer: this.peer, error: ScoriaError.from(error).message }, 'iSCSI connection failed by a bug');
      this.destroy();
    }
  }

  #receive(bhs: Buffer, data: Buffer): void {
    // A whole PDU is a sign of life; single bytes of one are not.
    this.#heard = this.#context.clock.monotonic();
    if (this.#session !== null) return this.#session.receive(bhs, data);
    if (opcodeOf(bhs) !== requestOpcode.login || this.#loginPending)
      throw new ProtocolError('a request came before the login was done');
    this.#login(bhs, data);
  }

  #login(bhs: Buffer, data: Buffer): void {
    const answer = this.#negotiator.answer(bhs, data);
    if (answer.kind !== 'finish') {
      this.#answerLogin(bhs, answer, 0, null);
      if (answer.kind === 'refuse') {
        this.#context.log.warn({ peer: this.peer, status: answer.status.toString(16) }, `iSCSI login refused: ${answer.reason}`);
        this.finish();
      }
      return;
    }
    this.#loginPending = true;
    // The request's buffer is a view of what the socket delivered; nothing overwrites it while the session is opened.
    this.#context.openSession(this, answer.result).then(
      (session) => {
        if (this.#ended) return void session.close();
        session.start(bhs.readUInt32BE(24));
        this.#answerLogin(bhs, answer, session.tsih, session);
        this.#session = session;
        this.#decoder.maxDataLength = targetMaxRecvDataSegmentLength;
        const { headerDigest, dataDigest } = session.parameters;
        this.#decoder.digests = { header: headerDigest, data: dataDigest };
        if (!isProved(answer.result)) this.#end = this.#context.clock.monotonic() + unprovedLife;
        this.#timer[Symbol.dispose]();
        this.#timer = this.#context.clock.timer(pingInterval, () => this.#ping());
        this.#context.log.info(
          { peer: this.peer, initiator: answer.result.initiatorName, target: answer.result.target?.name ?? 'discovery' },
          'iSCSI login',
        );
      },
      (error: unknown) => {
        const status = ScoriaError.from(error).code === 'not-found' ? loginStatus.notFound : loginStatus.outOfResources;
        this.#answerLogin(bhs, { kind: 'refuse', status, keys: [], reason: ScoriaError.from(error).message }, 0, null);
        this.finish();
      },
    );
  }

  #answerLogin(bhs: Buffer, answer: LoginAnswer, tsih: number, session: Session | null): void {
    const response = makeHeader(responseOpcode.login, answer.kind === 'refuse' ? 0 : answer.flags, taskTagOf(bhs));
    bhs.copy(response, 8, 8, 14);
    response.writeUInt16BE(tsih, 14);
    this.stamp(response, true);
    const cmdSN = bhs.readUInt32BE(24);
    response.writeUInt32BE(cmdSN, 28);
    response.writeUInt32BE(session?.maxCmdSN ?? cmdSN, 32);
    if (answer.kind === 'refuse') response.writeUInt16BE(answer.status, 36);
    this.write(joinData(response, formatText(answer.keys)));
  }

  #ping(): void {
    const now = this.#context.clock.monotonic();
    if (now >= this.#end) return this.fail('a discovery session without authentication lasted too long');
    const silence = now - this.#heard;
    if (silence >= silenceLimit) return this.fail('the initiator does not answer');
    if (silence >= pingInterval) this.#session?.ping();
    this.#timer = this.#context.clock.timer(pingInterval, () => this.#ping());
  }

  #plan(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushPlanned = false;
    if (this.#ended || this.#queue.length === 0) return;
    const queue = this.#queue;
    const afterwards = this.#afterwards;
    this.#queue = [];
    this.#afterwards = [];
    let length = 0;
    for (const bytes of queue) length += bytes.length;
    this.#unsent += length;
    const done = (): void => {
      this.#unsent -= length;
      for (const sendable of afterwards) sendable.sent();
      if (!this.#socket.isPaused()) return;
      // We do not listen to one who reads slowly; that it reads is a sign of life too.
      this.#heard = this.#context.clock.monotonic();
      if (this.#unsent <= maxUnsent) this.#socket.resume();
    };
    const last = queue.length - 1;
    if (last > 0) this.#socket.cork();
    for (let index = 0; index < last; index++) this.#socket.write(queue[index]!);
    this.#socket.write(queue[last]!, done);
    if (last > 0) this.#socket.uncork();
    if (this.#unsent > maxUnsent) this.#socket.pause();
  }
}
