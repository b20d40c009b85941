import { flag, makeHeader, nextSequence, requestOpcode, reservedTag, taskTagOf } from '../protocol/pdu.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import type { InitiatorConnection } from './initiator-connection.ts';
import type { SequenceNumbers } from './sequence-numbers.ts';

/** Answers to the target's pings that wait to be sent, at most. */
const maxPongs = 64;
/** Task tags from here on belong to requests that are no SCSI commands. */
export const firstRequestTag = 0x8000_0000;

/**
 * Requests of a session that are no SCSI commands, for immediate delivery: they have the present CmdSN and do not use it
 * up (RFC 7143, 4.2.2.1).
 */
export class ImmediateRequests {
  readonly #connection: InitiatorConnection;
  readonly #numbers: SequenceNumbers;
  /** Who waits for an answer, by task tag. */
  readonly #asked = new Map<number, (bhs: Buffer) => void>();
  #lastTag = firstRequestTag - 1;
  #pongs = 0;

  constructor(connection: InitiatorConnection, numbers: SequenceNumbers) {
    this.#connection = connection;
    this.#numbers = numbers;
  }

  /**
   * Sends a request and settles with the header of the answer. It never settles when the session ends first.
   *
   * @param code - of the request, in the second byte.
   * @param fill - completes the header.
   */
  ask(opcode: number, code: number, fill?: (bhs: Buffer) => void): Promise<Buffer> {
    this.#lastTag = nextSequence(this.#lastTag);
    if (this.#lastTag === reservedTag) this.#lastTag = firstRequestTag;
    const bhs = this.#header(opcode, code, this.#lastTag);
    fill?.(bhs);
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    this.#asked.set(this.#lastTag, resolve);
    this.#connection.send(bhs);
    return promise;
  }

  /** Takes an answer. Throws {@link ProtocolError} when nobody asked. */
  answered(bhs: Buffer): void {
    const tag = taskTagOf(bhs);
    const answer = this.#asked.get(tag);
    if (answer === undefined) throw new ProtocolError('the target answers what was not asked');
    this.#asked.delete(tag);
    answer(bhs);
  }

  /** Answers a ping of the target (RFC 7143, 11.18). Throws {@link ProtocolError} when it does not read the answers. */
  pong(bhs: Buffer): void {
    if (this.#pongs >= maxPongs) throw new ProtocolError('the target pings without reading the answers');
    this.#pongs++;
    const answer = this.#header(requestOpcode.nopOut, 0, reservedTag);
    bhs.copy(answer, 8, 8, 16);
    answer.writeUInt32BE(bhs.readUInt32BE(20), 20);
    this.#connection.send(answer, undefined, () => this.#pongs--);
  }

  #header(opcode: number, code: number, tag: number): Buffer {
    const bhs = makeHeader(opcode | 0x40, flag.final | code, tag);
    bhs.writeUInt32BE(this.#numbers.cmdSN, 24);
    bhs.writeUInt32BE(this.#numbers.expStatSN, 28);
    return bhs;
  }
}
