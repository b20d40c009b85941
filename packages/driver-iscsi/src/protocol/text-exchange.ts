import { NegotiationError, takeInFullFeaturePhase, type SessionParameters } from './negotiation.ts';
import { flag, rejectReason, reservedTag } from './pdu.ts';
import { ProtocolError } from './protocol-error.ts';
import { formatText, parseText, TextFormatError } from './text.ts';

/** Most text of one request, over all its PDUs, bytes. */
const maxTextLength = 65_536;

type Pairs = readonly (readonly [string, string])[];

/** What of a Text Response is not always the same. */
export interface TextAnswer {
  readonly flags: number;
  readonly transferTag: number;
  readonly data: Buffer;
}

const nothing = Buffer.alloc(0);

/**
 * Text requests of a session in full feature phase (RFC 7143, 11.10 and 11.11): SendTargets, and the keys that may come
 * again. Requests and answers may be spread over several PDUs; one exchange is under way at a time.
 */
export class TextExchange {
  readonly #parameters: SessionParameters;
  readonly #ownTarget: string | null;
  readonly #discover: () => Pairs;
  readonly #nextTag: () => number;
  #parts: Buffer[] = [];
  #length = 0;
  /** What of the answer has not been sent. */
  #rest: Buffer = nothing;
  /** Ties the next request to this exchange; `null` when it is over. */
  #transferTag: number | null = null;

  /**
   * @param ownTarget - the session's target; `null` in a discovery session.
   * @param discover - names and addresses of what the session may know.
   * @param nextTag - makes a target transfer tag.
   */
  constructor(parameters: SessionParameters, ownTarget: string | null, discover: () => Pairs, nextTag: () => number) {
    this.#parameters = parameters;
    this.#ownTarget = ownTarget;
    this.#discover = discover;
    this.#nextTag = nextTag;
  }

  /** Takes a request and gives the answer, or the reason to reject it. Throws {@link ProtocolError}. */
  take(bhs: Buffer, data: Buffer): TextAnswer | number {
    const transferTag = bhs.readUInt32BE(20);
    const final = (bhs[1]! & flag.final) !== 0;
    const continues = (bhs[1]! & flag.continues) !== 0;
    if (final && continues) return rejectReason.invalidPduField;
    // A request without a tag begins anew (RFC 7143, 11.10.4).
    if (transferTag === reservedTag) this.#reset();
    else if (transferTag !== this.#transferTag) return rejectReason.invalidPduField;
    if (this.#rest.length > 0) return this.#answer(final);
    this.#length += data.length;
    if (this.#length > maxTextLength) throw new ProtocolError('a text request is too long');
    this.#parts.push(data);
    if (continues) return { flags: 0, transferTag: this.#renewTag(), data: nothing };
    const whole = Buffer.concat(this.#parts);
    this.#reset();
    try {
      this.#rest = formatText(this.#answers(parseText(whole)));
    } catch (error) {
      if (error instanceof TextFormatError) return rejectReason.protocolError;
      if (error instanceof NegotiationError) throw new ProtocolError(error.message);
      throw error;
    }
    return this.#answer(final);
  }

  /** As much of the answer as the initiator takes at once. */
  #answer(final: boolean): TextAnswer {
    const segment = this.#parameters.initiatorMaxRecvDataSegmentLength;
    const data = this.#rest.subarray(0, segment);
    this.#rest = this.#rest.subarray(segment);
    if (this.#rest.length > 0) return { flags: flag.continues, transferTag: this.#renewTag(), data };
    // The exchange is over when both sides say so.
    if (!final) return { flags: 0, transferTag: this.#renewTag(), data };
    this.#reset();
    return { flags: flag.final, transferTag: reservedTag, data };
  }

  #renewTag(): number {
    this.#transferTag = this.#nextTag();
    return this.#transferTag;
  }

  #reset(): void {
    this.#parts = [];
    this.#length = 0;
    this.#rest = nothing;
    this.#transferTag = null;
  }

  #answers(keys: ReadonlyMap<string, string>): Pairs {
    const answers: (readonly [string, string])[] = [];
    for (const [key, value] of keys) {
      if (key === 'SendTargets') {
        answers.push(...this.#targets(value));
        continue;
      }
      const answer = takeInFullFeaturePhase(key, value, this.#parameters);
      if (answer !== null) answers.push([key, answer]);
    }
    return answers;
  }

  /** All targets are told in a discovery session, the session's own one in a normal session (RFC 7143, appendix C). */
  #targets(wanted: string): Pairs {
    const own = this.#ownTarget;
    if (wanted === (own === null ? '' : 'All')) return [['SendTargets', 'Reject']];
    const found = this.#discover();
    if (own === null && wanted === 'All') return found;
    const name = own !== null && wanted === '' ? own : wanted.toLowerCase();
    const chosen: (readonly [string, string])[] = [];
    let taking = false;
    for (const pair of found) {
      if (pair[0] === 'TargetName') taking = pair[1] === name;
      if (taking) chosen.push(pair);
    }
    return chosen;
  }
}
