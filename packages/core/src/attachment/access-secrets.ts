import { createHmac } from 'node:crypto';

/**
 * Derives the CHAP secret of each access from one key, so that no secret lies in the store, the journal or a log. The
 * key is kept by whoever assembles the service, in a file that only it can read.
 */
export class AccessSecrets {
  readonly #key: Uint8Array;

  /** @param key - at least 32 random bytes. */
  constructor(key: Uint8Array) {
    if (key.length < 32) throw new Error(`The access key has ${key.length} bytes; it needs 32 or more`);
    this.#key = key;
  }

  /** 144 bits as 24 characters of base64url: more than the 96 bits that RFC 7143, 9.2.1 asks for. */
  of(accessId: string): string {
    return createHmac('sha256', this.#key).update(`scoria access ${accessId}`).digest('base64url').slice(0, 24);
  }
}
