import { timingSafeEqual } from 'node:crypto';
import type { Random } from '@scoria/core/device';
import { ChapError, chapResponse, decodeBinary, type ChapSecret } from '../protocol/chap.ts';

/** Who an initiator says it is, and whom it wants to meet. */
export interface ChapCredentials {
  /** Name and secret of the initiator. */
  readonly own: ChapSecret;
  /** Name and secret that the target has to prove (mutual CHAP). */
  readonly target?: ChapSecret | undefined;
}

/** CHAP_A numbers: MD5, which older targets know alone, and SHA-256 (RFC 7143, 12.1.3; IANA "PPP Authentication Algorithms"). */
const [md5, sha256] = ['5', '7'];

type Keys = readonly (readonly [string, string])[];

/** The initiator's side of one CHAP exchange (RFC 7143, 12.1.3). */
export class ChapLogin {
  readonly #credentials: ChapCredentials;
  readonly #random: Random;
  readonly #offered: readonly string[];
  #algorithm = '';
  #identifier = 0;
  #challenge: Buffer = Buffer.alloc(0);

  /** @param onlyMd5 - leave out SHA-256. */
  constructor(credentials: ChapCredentials, onlyMd5: boolean, random: Random) {
    this.#credentials = credentials;
    this.#offered = onlyMd5 ? [md5] : [sha256, md5];
    this.#random = random;
  }

  /** Whether the target chose SHA-256. */
  get usesSha256(): boolean {
    return this.#algorithm === sha256;
  }

  /** Begins the exchange. */
  offer(): Keys {
    return [['CHAP_A', this.#offered.join(',')]];
  }

  /** Answers the target's challenge, and challenges it where it has to prove itself. Throws {@link ChapError}. */
  respond(keys: ReadonlyMap<string, string>): Keys {
    const { own, target } = this.#credentials;
    const algorithm = keys.get('CHAP_A');
    const identifier = keys.get('CHAP_I');
    const challenge = keys.get('CHAP_C');
    if (algorithm === undefined || identifier === undefined || challenge === undefined) {
      throw new ChapError('the target sent no whole challenge');
    }
    if (!this.#offered.includes(algorithm)) throw new ChapError('the target chose an algorithm that was not offered');
    const number = Number(identifier);
    if (!/^(0[xX][0-9a-fA-F]{1,2}|[0-9]{1,3})$/.test(identifier) || number > 255) throw new ChapError('CHAP_I is malformed');
    this.#algorithm = algorithm;
    const bytes = decodeBinary(challenge);
    const answer: (readonly [string, string])[] = [
      ['CHAP_N', own.name],
      ['CHAP_R', `0x${chapResponse(algorithm, number, own.secret, bytes).toString('hex')}`],
    ];
    if (target === undefined) return answer;
    const random = Buffer.from(this.#random.bytes(33));
    this.#identifier = random[0]!;
    this.#challenge = random.subarray(1);
    answer.push(['CHAP_I', String(this.#identifier)], ['CHAP_C', `0x${this.#challenge.toString('hex')}`]);
    return answer;
  }

  /** Checks the proof of the target where one is due. Throws {@link ChapError}. */
  verify(keys: ReadonlyMap<string, string>): void {
    const { target } = this.#credentials;
    if (target === undefined) return;
    const name = keys.get('CHAP_N');
    const given = keys.get('CHAP_R');
    if (name === undefined || given === undefined) throw new ChapError('the target does not prove itself');
    const expected = chapResponse(this.#algorithm, this.#identifier, target.secret, this.#challenge);
    const response = decodeBinary(given);
    const equal = response.length === expected.length && timingSafeEqual(response, expected);
    if (!equal || name !== target.name) throw new ChapError('the target proves another name or secret');
  }
}
