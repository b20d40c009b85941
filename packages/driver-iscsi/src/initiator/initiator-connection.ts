import { connect, type Socket } from 'node:net';
import { ScoriaError, withDeadline, type Clock, type Log } from '@scoria/core/device';
import { ChapError } from '../protocol/chap.ts';
import { dataTrailer, headerWithDigest, type Digests } from '../protocol/digest.ts';
import { formatAddress, type ListenAddress } from '../protocol/listen-address.ts';
import { NegotiationError } from '../protocol/negotiation.ts';
import { setDataLength } from '../protocol/pdu.ts';
import { PduDecoder, PduFormatError } from '../protocol/pdu-decoder.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { TextFormatError } from '../protocol/text.ts';

/** Who gets what a connection receives. What its functions throw ends the connection. */
export interface ConnectionReceiver {
  /** See {@link PduDecoder}: where the data of a PDU should go. */
  place(bhs: Buffer, length: number): Buffer | null;
  pdu(bhs: Buffer, data: Buffer): void;
  /** The connection is gone, and nothing comes after that. */
  lost(error: ScoriaError): void;
}

const nothing = Buffer.alloc(0);

/** Connects to a portal. Rejects with `transport-failed`, or with the reason of the signal. */
export async function openSocket(address: ListenAddress, clock: Clock, ms: number, signal: AbortSignal): Promise<Socket> {
  const portal = formatAddress(address);
  const socket = connect({ ...address, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 });
  try {
    await withDeadline(
      clock,
      ms,
      `The connection to iSCSI portal ${portal}`,
      () =>
        new Promise<void>((resolve, reject) => {
          socket.once('connect', () => resolve());
          socket.once('error', reject);
        }),
      signal,
    );
    return socket;
  } catch (error) {
    // An error that comes after all this concerns nobody.
    socket.on('error', () => {}).destroy();
    signal.throwIfAborted();
    throw new ScoriaError('transport-failed', `iSCSI portal ${portal} cannot be reached: ${messageOf(error)}`, { cause: error });
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * One TCP connection to a target: framing, and gathering of what goes out. Whatever the target sends costs this
 * connection at most.
 */
export class InitiatorConnection {
  readonly portal: string;
  readonly #socket: Socket;
  readonly #decoder: PduDecoder;
  readonly #log: Log;
  #receiver: ConnectionReceiver;
  #digests: Digests = { header: false, data: false };
  #corked = false;
  #ended = false;
  #heard = false;

  constructor(socket: Socket, address: ListenAddress, receiver: ConnectionReceiver, maxDataLength: number, log: Log) {
    this.portal = formatAddress(address);
    this.#socket = socket;
    this.#receiver = receiver;
    this.#log = log;
    this.#decoder = new PduDecoder(
      {
        place: (bhs, length) => this.#receiver.place(bhs, length),
        pdu: (bhs, data) => {
          this.#heard = true;
          this.#receiver.pdu(bhs, data);
        },
      },
      maxDataLength,
    );
    socket.on('data', (chunk: Buffer) => this.#push(chunk));
    socket.on('error', (error) => this.fail(error));
    socket.on('end', () => this.fail(new Error('the target closed it')));
    socket.on('close', () => this.fail(new Error('it was closed')));
  }

  /** Whether a whole PDU came since this was asked last. */
  takeHeard(): boolean {
    const heard = this.#heard;
    this.#heard = false;
    return heard;
  }

  /** Goes into full feature phase: what comes from here on is for `receiver`. */
  upgrade(receiver: ConnectionReceiver, digests: Digests, maxDataLength: number): void {
    this.#receiver = receiver;
    this.#digests = digests;
    this.#decoder.digests = digests;
    this.#decoder.maxDataLength = maxDataLength;
  }

  /**
   * Sends a PDU; its data length is set here. All that is sent in one turn goes out together. The data are not copied:
   * they must stay as they are until the target has answered.
   *
   * @param sent - called when the PDU has left.
   */
  send(bhs: Buffer, data: Buffer = nothing, sent?: () => void): void {
    if (this.#ended) return;
    const socket = this.#socket;
    if (!this.#corked) {
      this.#corked = true;
      socket.cork();
      process.nextTick(this.#uncork);
    }
    setDataLength(bhs, data.length);
    socket.write(this.#digests.header ? headerWithDigest(bhs) : bhs, sent);
    if (data.length === 0) return;
    socket.write(data);
    const trailer = dataTrailer(data, this.#digests.data);
    if (trailer.length > 0) socket.write(trailer);
  }

  /** Ends the connection at once; the receiver is told nothing any more. */
  close(): void {
    this.#ended = true;
    this.#decoder.stop();
    this.#socket.destroy();
  }

  /** Ends the connection at once and tells the receiver why. */
  fail(reason: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#decoder.stop();
    this.#socket.destroy();
    this.#receiver.lost(this.#errorOf(reason));
  }

  readonly #uncork = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };

  #push(chunk: Buffer): void {
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      this.fail(error);
    }
  }

  #errorOf(reason: unknown): ScoriaError {
    if (reason instanceof ScoriaError) return reason;
    if (reason instanceof ChapError) {
      return new ScoriaError('not-permitted', `The login at iSCSI portal ${this.portal} failed: ${reason.message}`, {
        remedy: 'Compare names and secrets with those that the target was given.',
      });
    }
    const fault = [PduFormatError, ProtocolError, NegotiationError, TextFormatError].some((kind) => reason instanceof kind);
    if (fault) {
      return new ScoriaError(
        'transport-failed',
        `The target at iSCSI portal ${this.portal} breaks the protocol: ${messageOf(reason)}`,
      );
    }
    this.#log.debug({ portal: this.portal, reason: messageOf(reason) }, 'iSCSI connection lost');
    return new ScoriaError('transport-failed', `The connection to iSCSI portal ${this.portal} is lost: ${messageOf(reason)}`, {
      cause: reason,
    });
  }
}
