import { ahsLengthOf, bhsLength, dataLengthOf, paddingOf } from './pdu.ts';

/** What a {@link PduDecoder} does with what it finds. */
export interface PduReceiver {
  /**
   * Asked once per PDU whose data segment is spread over several chunks: where its data should go, or `null` for a
   * buffer of the decoder's choice.
   */
  place(bhs: Buffer, length: number): Buffer | null;
  /** A whole PDU. The buffers may be views of what the socket delivered; nobody reuses them. */
  pdu(bhs: Buffer, data: Buffer): void;
}

/** The stream cannot be cut into PDUs any further. */
export class PduFormatError extends Error {}

/** Most bytes of additional header segments that are skipped over; the field itself allows 1,020. */
const maxAhsLength = 1020;

const nothing = Buffer.alloc(0);

/**
 * Cuts a byte stream into iSCSI PDUs (RFC 7143, 11.2) without digests. A PDU that lies whole in one chunk is handed on
 * as views; otherwise each byte is copied once.
 */
export class PduDecoder {
  readonly #receiver: PduReceiver;
  #maxDataLength: number;
  #header = Buffer.allocUnsafe(bhsLength);
  #headerFilled = 0;
  /** Header of the PDU whose rest is awaited; `null` while a header is awaited. */
  #bhs: Buffer | null = null;
  #ahsLeft = 0;
  #data: Buffer = nothing;
  #dataFilled = 0;
  #paddingLeft = 0;
  #stopped = false;

  /** @param maxDataLength - longest data segment that the peer may send, bytes. */
  constructor(receiver: PduReceiver, maxDataLength: number) {
    this.#receiver = receiver;
    this.#maxDataLength = maxDataLength;
  }

  /** Longest data segment that the peer may send, bytes. */
  set maxDataLength(value: number) {
    this.#maxDataLength = value;
  }

  /** Ignores everything from now on. */
  stop(): void {
    this.#stopped = true;
  }

  /** Takes the next bytes of the stream. Throws {@link PduFormatError}; the stream is then beyond repair. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#bhs === null) {
        if (this.#headerFilled === 0 && chunk.length - at >= bhsLength) {
          const bhs = chunk.subarray(at, at + bhsLength);
          at += bhsLength;
          const rest = this.#check(bhs);
          if (chunk.length - at >= rest) {
            const start = at + ahsLengthOf(bhs);
            at += rest;
            this.#receiver.pdu(bhs, rest === 0 ? nothing : chunk.subarray(start, start + dataLengthOf(bhs)));
            continue;
          }
          this.#begin(bhs);
        } else {
          const count = Math.min(bhsLength - this.#headerFilled, chunk.length - at);
          chunk.copy(this.#header, this.#headerFilled, at, at + count);
          this.#headerFilled += count;
          at += count;
          if (this.#headerFilled < bhsLength) return;
          const bhs = this.#header;
          this.#header = Buffer.allocUnsafe(bhsLength);
          this.#headerFilled = 0;
          this.#check(bhs);
          this.#begin(bhs);
        }
      }
      at = this.#continue(chunk, at);
    }
  }

  /** Length of what follows the header, bytes. */
  #check(bhs: Buffer): number {
    const dataLength = dataLengthOf(bhs);
    if (dataLength > this.#maxDataLength) {
      throw new PduFormatError(`data segment of ${dataLength} bytes, at most ${this.#maxDataLength} were allowed`);
    }
    const ahsLength = ahsLengthOf(bhs);
    if (ahsLength > maxAhsLength) throw new PduFormatError(`additional headers of ${ahsLength} bytes`);
    return ahsLength + dataLength + paddingOf(dataLength);
  }

  #begin(bhs: Buffer): void {
    const length = dataLengthOf(bhs);
    this.#bhs = bhs;
    this.#ahsLeft = ahsLengthOf(bhs);
    this.#paddingLeft = paddingOf(length);
    this.#data = length === 0 ? nothing : (this.#receiver.place(bhs, length) ?? Buffer.allocUnsafeSlow(length));
    this.#dataFilled = 0;
  }

  #continue(chunk: Buffer, from: number): number {
    let at = from;
    const skipped = Math.min(this.#ahsLeft, chunk.length - at);
    this.#ahsLeft -= skipped;
    at += skipped;
    const count = Math.min(this.#data.length - this.#dataFilled, chunk.length - at);
    if (count > 0) {
      chunk.copy(this.#data, this.#dataFilled, at, at + count);
      this.#dataFilled += count;
      at += count;
    }
    if (this.#dataFilled === this.#data.length) {
      const padding = Math.min(this.#paddingLeft, chunk.length - at);
      this.#paddingLeft -= padding;
      at += padding;
    }
    if (this.#bhs !== null && this.#ahsLeft === 0 && this.#dataFilled === this.#data.length && this.#paddingLeft === 0) {
      const bhs = this.#bhs;
      const data = this.#data;
      this.#bhs = null;
      this.#data = nothing;
      this.#receiver.pdu(bhs, data);
    }
    return at;
  }
}
