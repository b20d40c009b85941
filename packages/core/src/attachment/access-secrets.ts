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

  /**
   * 24 characters of base64url, all but the first one random: 138 bits, more than the 96 that RFC 7143, 9.2.1 asks for. The
   * first is always the same small letter, because targets and initiators take some beginnings for something else: the kernel
   * of Linux `NULL` for no secret, others `0x` and `0b` for numbers, or `-` for an option.
   */
  of(accessId: string): string {
    const digest = createHmac('sha256', this.#key).update(`scoria access ${accessId}`).digest('base64url');
    return `s${digest.slice(0, 23)}`;
  }
}
