import { digestLength, digestMatches, type Digests } from './digest.ts';
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
  /** A PDU whose data segment does not match its digest. Without this the stream ends there. */
  corrupt?(bhs: Buffer, data: Buffer): void;
}

/** The stream cannot be cut into PDUs any further. */
export class PduFormatError extends Error {}

const nothing = Buffer.alloc(0);

/**
 * Cuts a byte stream into iSCSI PDUs (RFC 7143, 11.2) and checks their digests where there are any. A PDU that lies
 * whole in one chunk is handed on as views; otherwise each byte is copied once. Additional header segments, of 1,020
 * bytes at most by the size of their length field, are passed over.
 */
export class PduDecoder {
  readonly #receiver: PduReceiver;
  #maxDataLength: number;
  #headerDigest = 0;
  #dataDigest = 0;
  #header = Buffer.allocUnsafe(bhsLength);
  #headerFilled = 0;
  /** Header of the PDU whose rest is awaited; `null` while a header is awaited. */
  #bhs: Buffer | null = null;
  /** Additional headers and header digest. */
  #extra: Buffer = nothing;
  #extraFilled = 0;
  #data: Buffer = nothing;
  #dataFilled = 0;
  /** Padding and data digest. */
  #trailer: Buffer = nothing;
  #trailerFilled = 0;
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

  /** The digests of the PDUs that follow; none before this is set. */
  set digests({ header, data }: Digests) {
    this.#headerDigest = header ? digestLength : 0;
    this.#dataDigest = data ? digestLength : 0;
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
          const dataLength = this.#check(bhs);
          const start = at + ahsLengthOf(bhs) + this.#headerDigest;
          const end = start + dataLength + this.#trailerLength(dataLength);
          if (chunk.length >= end) {
            if (this.#headerDigest > 0) this.#checkHeader(bhs, chunk.subarray(at, start));
            at = end;
            if (dataLength === 0) this.#receiver.pdu(bhs, nothing);
            else this.#deliver(bhs, chunk.subarray(start, start + dataLength), chunk, start + dataLength, end);
            continue;
          }
          this.#begin(bhs);
        } else {
          const count = chunk.copy(this.#header, this.#headerFilled, at);
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

  /** Length of the data segment, bytes, if it is allowed. */
  #check(bhs: Buffer): number {
    const dataLength = dataLengthOf(bhs);
    if (dataLength > this.#maxDataLength) {
      throw new PduFormatError(`data segment of ${dataLength} bytes, at most ${this.#maxDataLength} were allowed`);
    }
    return dataLength;
  }

  #trailerLength(dataLength: number): number {
    return dataLength === 0 ? 0 : paddingOf(dataLength) + this.#dataDigest;
  }

  /** A header that cannot be trusted leaves no way to find the next one (RFC 7143, 7.8). */
  #checkHeader(bhs: Buffer, extra: Buffer): void {
    if (!digestMatches(bhs, extra)) throw new PduFormatError('a header does not match its digest');
  }

  /** Hands on a PDU whose padding and data digest lie in `source` from `from` to `to`. */
  #deliver(bhs: Buffer, data: Buffer, source: Buffer, from: number, to: number): void {
    if (this.#dataDigest === 0 || digestMatches(data, source.subarray(from, to))) return this.#receiver.pdu(bhs, data);
    if (this.#receiver.corrupt === undefined) throw new PduFormatError('data do not match their digest');
    this.#receiver.corrupt(bhs, data);
  }

  #begin(bhs: Buffer): void {
    const extra = ahsLengthOf(bhs) + this.#headerDigest;
    this.#bhs = bhs;
    this.#extra = extra === 0 ? nothing : Buffer.allocUnsafe(extra);
    this.#extraFilled = 0;
    if (extra === 0) this.#beginData(bhs);
  }

  #beginData(bhs: Buffer): void {
    const length = dataLengthOf(bhs);
    const trailer = this.#trailerLength(length);
    this.#data = length === 0 ? nothing : (this.#receiver.place(bhs, length) ?? Buffer.allocUnsafeSlow(length));
    this.#dataFilled = 0;
    this.#trailer = trailer === 0 ? nothing : Buffer.allocUnsafe(trailer);
    this.#trailerFilled = 0;
  }

  #continue(chunk: Buffer, from: number): number {
    const bhs = this.#bhs;
    if (bhs === null) return from;
    let at = from;
    if (this.#extraFilled < this.#extra.length) {
      const count = chunk.copy(this.#extra, this.#extraFilled, at);
      this.#extraFilled += count;
      at += count;
      if (this.#extraFilled < this.#extra.length) return at;
      if (this.#headerDigest > 0) this.#checkHeader(bhs, this.#extra);
      this.#beginData(bhs);
    }
    if (this.#dataFilled < this.#data.length) {
      const count = chunk.copy(this.#data, this.#dataFilled, at);
      this.#dataFilled += count;
      at += count;
      if (this.#dataFilled < this.#data.length) return at;
    }
    if (this.#trailerFilled < this.#trailer.length) {
      const count = chunk.copy(this.#trailer, this.#trailerFilled, at);
      this.#trailerFilled += count;
      at += count;
      if (this.#trailerFilled < this.#trailer.length) return at;
    }
    const data = this.#data;
    this.#bhs = null;
    this.#data = nothing;
    if (data.length === 0) this.#receiver.pdu(bhs, nothing);
    else this.#deliver(bhs, data, this.#trailer, 0, this.#trailer.length);
    return at;
  }
}
