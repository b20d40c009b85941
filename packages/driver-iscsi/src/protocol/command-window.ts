import { compareSequence, nextSequence } from './pdu.ts';
import { ProtocolError } from './protocol-error.ts';

/** Most bytes of requests that came before an earlier one. On one connection nothing comes early but after a gap. */
const maxEarlyBytes = 4_194_304;

/** Takes a request whose turn has come. */
export type Deliver = (bhs: Buffer, data: Buffer) => void;

/**
 * The CmdSN window of a session (RFC 7143, 4.2.2.1): numbered requests are delivered once each, in the order of their
 * numbers. Those outside the window are ignored without an answer.
 */
export class CommandWindow {
  readonly #deliver: Deliver;
  #expCmdSN = 0;
  #maxCmdSN = 0;
  /** Requests that came before an earlier one, by CmdSN; `null` for one that was aborted before it came. */
  readonly #early = new Map<number, readonly [Buffer, Buffer] | null>();
  #earlyBytes = 0;

  constructor(deliver: Deliver) {
    this.#deliver = deliver;
  }

  /** Number of the last request that may come. */
  get maxCmdSN(): number {
    return this.#maxCmdSN;
  }

  /** Begins with the number of the first request, and room for `width` of them. */
  open(cmdSN: number, width: number): void {
    this.#expCmdSN = cmdSN;
    this.#maxCmdSN = nextSequence(cmdSN, width - 1);
  }

  /** Makes room for one more request. */
  widen(): void {
    this.#maxCmdSN = nextSequence(this.#maxCmdSN);
  }

  /** Writes ExpCmdSN and MaxCmdSN into a header. */
  stamp(bhs: Buffer): void {
    bhs.writeUInt32BE(this.#expCmdSN, 28);
    bhs.writeUInt32BE(this.#maxCmdSN, 32);
  }

  /** Takes a numbered request as it comes. Throws {@link ProtocolError} when too much comes early. */
  admit(bhs: Buffer, data: Buffer): void {
    const cmdSN = bhs.readUInt32BE(24);
    if (compareSequence(cmdSN, this.#expCmdSN) < 0 || compareSequence(cmdSN, this.#maxCmdSN) > 0) return;
    if (cmdSN !== this.#expCmdSN) return this.#keep(cmdSN, bhs, data);
    this.#expCmdSN = nextSequence(cmdSN);
    this.#deliver(bhs, data);
    if (this.#early.size > 0) this.#deliverEarly();
  }

  /**
   * Takes back that the request being delivered was received: a rejected one leaves a gap, which the initiator fills
   * (RFC 7143, 11.17.1).
   *
   * @param widened - whether {@link widen} was called for it.
   */
  refuse(cmdSN: number, widened: boolean): void {
    this.#expCmdSN = cmdSN;
    if (widened) this.#maxCmdSN = (this.#maxCmdSN - 1) >>> 0;
  }

  /**
   * Takes a request that was not delivered for received, since its task is aborted (RFC 7143, 11.5.1). Returns whether its
   * number is within the window and before that of the request that aborts it.
   */
  skip(cmdSN: number, before: number): boolean {
    if (
      compareSequence(cmdSN, this.#expCmdSN) < 0 ||
      compareSequence(cmdSN, this.#maxCmdSN) > 0 ||
      compareSequence(cmdSN, before) >= 0
    ) {
      return false;
    }
    this.#forget(cmdSN);
    this.#early.set(cmdSN, null);
    this.#deliverEarly();
    return true;
  }

  #keep(cmdSN: number, bhs: Buffer, data: Buffer): void {
    if (this.#early.has(cmdSN)) return;
    this.#earlyBytes += bhs.length + data.length;
    if (this.#earlyBytes > maxEarlyBytes) throw new ProtocolError('too much came before an earlier request');
    this.#early.set(cmdSN, [bhs, data]);
  }

  #forget(cmdSN: number): void {
    const kept = this.#early.get(cmdSN);
    this.#early.delete(cmdSN);
    if (kept !== undefined && kept !== null) this.#earlyBytes -= kept[0].length + kept[1].length;
  }

  #deliverEarly(): void {
    for (;;) {
      const next = this.#early.get(this.#expCmdSN);
      if (next === undefined) return;
      this.#forget(this.#expCmdSN);
      this.#expCmdSN = nextSequence(this.#expCmdSN);
      if (next === null) this.widen();
      else this.#deliver(next[0], next[1]);
    }
  }
}
