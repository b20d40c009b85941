import { fullFeatureKeys, NegotiationError, redeclare, type SessionParameters } from './negotiation.ts';
import { ProtocolError } from './scsi-task.ts';
import { formatText, parseText, TextFormatError } from './text.ts';

/** Most text of one request, over all its PDUs, bytes. */
const maxTextLength = 65_536;

type Pairs = readonly (readonly [string, string])[];

/** Text requests of a session in full feature phase (RFC 7143, 11.10): SendTargets, and the keys that may come again. */
export class TextExchange {
  readonly #parameters: SessionParameters;
  readonly #ownTarget: string | null;
  readonly #discover: () => Pairs;
  #parts: Buffer[] = [];
  #length = 0;

  /**
   * @param ownTarget - the session's target; `null` in a discovery session.
   * @param discover - names and addresses of what the session may know.
   */
  constructor(parameters: SessionParameters, ownTarget: string | null, discover: () => Pairs) {
    this.#parameters = parameters;
    this.#ownTarget = ownTarget;
    this.#discover = discover;
  }

  /** Takes a part of a request that goes on. Throws `ProtocolError` when it becomes too long. */
  add(data: Buffer): void {
    this.#length += data.length;
    if (this.#length > maxTextLength) throw new ProtocolError('a text request is too long');
    this.#parts.push(data);
  }

  /** Takes the last part and gives the answer, or `null` for text that is malformed. */
  finish(data: Buffer): Buffer | null {
    this.add(data);
    const whole = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    try {
      return formatText(this.#answer(parseText(whole)));
    } catch (error) {
      if (error instanceof TextFormatError) return null;
      if (error instanceof NegotiationError) throw new ProtocolError(error.message);
      throw error;
    }
  }

  #answer(keys: ReadonlyMap<string, string>): Pairs {
    const answers: (readonly [string, string])[] = [];
    for (const [key, value] of keys) {
      if (key === 'SendTargets') answers.push(...this.#targets(value));
      else if (fullFeatureKeys.has(key)) redeclare(key, value, this.#parameters);
      else answers.push([key, 'NotUnderstood']);
    }
    return answers;
  }

  /** In a normal session only the target itself may be asked for (RFC 7143, appendix C). */
  #targets(wanted: string): Pairs {
    const found = this.#discover();
    if (this.#ownTarget === null && wanted === 'All') return found;
    const name = this.#ownTarget !== null && wanted === '' ? this.#ownTarget : wanted.toLowerCase();
    const chosen: (readonly [string, string])[] = [];
    let taking = false;
    for (const pair of found) {
      if (pair[0] === 'TargetName') taking = pair[1] === name;
      if (taking) chosen.push(pair);
    }
    return chosen;
  }
}
