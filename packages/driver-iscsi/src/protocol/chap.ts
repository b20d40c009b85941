import { createHash, timingSafeEqual } from 'node:crypto';
import type { Random } from '@scoria/core/device';

/** CHAP_A numbers that this target takes, with the hash of each (RFC 7143, 12.1.3; IANA "PPP Authentication Algorithms"). */
const algorithms: ReadonlyMap<string, string> = new Map([
  ['5', 'md5'],
  ['7', 'sha256'],
]);

/** Longest challenge or response, bytes (RFC 7143, 12.1.3). */
const maxBinaryLength = 1024;

/** A name and its secret. */
export interface ChapSecret {
  readonly name: string;
  readonly secret: string;
}

/** Authentication failed. The message says why and holds no secret; it is for the log, not for the peer. */
export class ChapError extends Error {}

/**
 * Decodes a binary value: `0x` with hexadecimal digits or `0b` with base64 (RFC 7143, 6.1). Throws {@link ChapError}.
 */
export function decodeBinary(value: string): Buffer {
  const digits = value.slice(2);
  if (digits.length > 2 * maxBinaryLength) throw new ChapError('a binary value is too long');
  if (/^0x/i.test(value) && /^[0-9a-f]+$/i.test(digits)) {
    return Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
  }
  if (/^0b/i.test(value) && /^[A-Za-z0-9+/]+={0,2}$/.test(digits)) return Buffer.from(digits, 'base64');
  throw new ChapError('a binary value is malformed');
}

/** The response to a challenge: hash of identifier, secret and challenge (RFC 1994, 4.1). */
export function chapResponse(algorithm: string, identifier: number, secret: string, challenge: Buffer): Buffer {
  const hash = algorithms.get(algorithm);
  if (hash === undefined) throw new ChapError(`unknown algorithm ${algorithm}`);
  return createHash(hash).update(Buffer.of(identifier)).update(secret, 'utf8').update(challenge).digest();
}

/** The target's side of one CHAP exchange. Each instance makes one challenge, for one connection. */
export class ChapAuthenticator {
  readonly #random: Random;
  #algorithm: string | null = null;
  #identifier = 0;
  #challenge: Buffer = Buffer.alloc(0);

  constructor(random: Random) {
    this.#random = random;
  }

  /**
   * Answers the initiator's CHAP_A list with an algorithm, an identifier and a challenge. Throws {@link ChapError} when
   * there is no common algorithm.
   */
  challenge(offered: string): ReadonlyMap<string, string> {
    const algorithm = offered.split(',').find((name) => algorithms.has(name));
    if (algorithm === undefined) throw new ChapError('no algorithm in common; MD5 (5) and SHA-256 (7) are possible');
    const bytes = Buffer.from(this.#random.bytes(33));
    this.#algorithm = algorithm;
    this.#identifier = bytes[0]!;
    this.#challenge = bytes.subarray(1);
    return new Map([
      ['CHAP_A', algorithm],
      ['CHAP_I', String(this.#identifier)],
      ['CHAP_C', `0x${this.#challenge.toString('hex')}`],
    ]);
  }

  /**
   * Checks the initiator's answer. Returns the name that it proved, and the keys to send back when it asked the target
   * to prove itself too. Throws {@link ChapError}.
   *
   * @param find - finds the secret for a name.
   * @param own - the target's own name and secret; without it an initiator that asks for mutual CHAP is refused.
   */
  verify(
    keys: ReadonlyMap<string, string>,
    find: (name: string) => string | undefined,
    own?: ChapSecret,
  ): { readonly name: string; readonly reply: ReadonlyMap<string, string> } {
    const algorithm = this.#algorithm;
    if (algorithm === null) throw new ChapError('an answer came before the challenge');
    this.#algorithm = null;
    const name = keys.get('CHAP_N');
    const given = keys.get('CHAP_R');
    if (name === undefined || given === undefined) throw new ChapError('CHAP_N or CHAP_R is missing');
    const secret = find(name);
    // The same work for an unknown name, so that time does not tell which names exist.
    const expected = chapResponse(algorithm, this.#identifier, secret ?? '', this.#challenge);
    const response = decodeBinary(given);
    const equal = response.length === expected.length && timingSafeEqual(response, expected);
    if (!equal || secret === undefined) throw new ChapError('name or secret is wrong');
    const reply = new Map<string, string>();
    const challenge = keys.get('CHAP_C');
    const identifier = keys.get('CHAP_I');
    if (challenge !== undefined || identifier !== undefined) {
      if (challenge === undefined || identifier === undefined) throw new ChapError('CHAP_I or CHAP_C is missing');
      const bytes = decodeBinary(challenge);
      // RFC 7143, 12.1.3: the challenge must not be our own one, or an attacker could have us answer it.
      if (bytes.equals(this.#challenge)) throw new ChapError('our own challenge was reflected');
      if (own === undefined) throw new ChapError('the initiator asks for mutual CHAP, for which no secret is set');
      if (own.secret === secret) throw new ChapError('both directions have the same secret');
      const number = Number(identifier);
      if (!/^(0[xX][0-9a-fA-F]{1,2}|[0-9]{1,3})$/.test(identifier) || number > 255) throw new ChapError('CHAP_I is malformed');
      reply.set('CHAP_N', own.name);
      reply.set('CHAP_R', `0x${chapResponse(algorithm, number, own.secret, bytes).toString('hex')}`);
    }
    return { name, reply };
  }
}
