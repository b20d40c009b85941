/** Most keys in one negotiation message; the sender of more is at fault. */
const maxKeys = 128;
/** Longest key (RFC 7143, 6.1). */
const maxKeyLength = 63;
/** Longest value that any key of ours needs; RFC 7143, 6.1 allows 255 unless a key says otherwise, and CHAP needs more. */
const maxValueLength = 8192;

/** Text that is not a list of `key=value` pairs (RFC 7143, 6.1). */
export class TextFormatError extends Error {}

/**
 * Parses a text data segment: `key=value` pairs, each ended by a NUL. A key may come once. Throws {@link TextFormatError}.
 */
export function parseText(data: Buffer): Map<string, string> {
  const pairs = new Map<string, string>();
  let at = 0;
  while (at < data.length) {
    let end = data.indexOf(0, at);
    if (end < 0) end = data.length;
    if (end > at) {
      const pair = data.toString('utf8', at, end);
      const equals = pair.indexOf('=');
      if (equals < 1 || equals > maxKeyLength) throw new TextFormatError('a pair has no key');
      const key = pair.slice(0, equals);
      if (!/^[A-Za-z0-9.\-+@_#/]+$/.test(key)) throw new TextFormatError('a key has characters that keys cannot have');
      if (pair.length - equals - 1 > maxValueLength) throw new TextFormatError(`the value of ${key} is too long`);
      if (pairs.has(key)) throw new TextFormatError(`${key} comes twice`);
      if (pairs.size >= maxKeys) throw new TextFormatError('there are too many keys');
      pairs.set(key, pair.slice(equals + 1));
    }
    at = end + 1;
  }
  return pairs;
}

/** Formats pairs as a text data segment. Keys may repeat, as TargetName does in an answer to SendTargets. */
export function formatText(pairs: Iterable<readonly [string, string]>): Buffer {
  let text = '';
  for (const [key, value] of pairs) text += `${key}=${value}\0`;
  return Buffer.from(text, 'utf8');
}
