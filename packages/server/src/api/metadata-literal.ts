import { z } from 'zod';

/** Longest literal that is read, in characters. */
const maxLength = 8192;
const maxPairs = 128;

/**
 * Reads a filter such as `{'key': 'value'}`: a JSON object of strings or, as `cinder` and `openstack` send it, a
 * Python dictionary of strings. `undefined` when it is neither.
 */
export function parseMetadataLiteral(source: string): Record<string, string> | undefined {
  const text = source.trim();
  if (text.length > maxLength || !text.startsWith('{') || !text.endsWith('}')) return undefined;
  return parseJson(text) ?? parsePython(text);
}

const pairs = z.record(z.string(), z.string()).refine((record) => Object.keys(record).length <= maxPairs);

function parseJson(text: string): Record<string, string> | undefined {
  try {
    return pairs.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function parsePython(text: string): Record<string, string> | undefined {
  const tokens = text.slice(1, -1).match(/u?'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[:,]|\S/gs) ?? [];
  const result = new Map<string, string>();
  for (let at = 0; at < tokens.length; at += 4) {
    const [key, colon, value, comma] = tokens.slice(at, at + 4);
    const name = unquote(key);
    const content = unquote(value);
    if (name === undefined || colon !== ':' || content === undefined) return undefined;
    if ((comma !== undefined && comma !== ',') || result.size >= maxPairs) return undefined;
    if (name !== '__proto__') result.set(name, content);
  }
  return Object.fromEntries(result);
}

function unquote(token: string | undefined): string | undefined {
  const body = /^u?(['"])(.*)\1$/s.exec(token ?? '')?.[2];
  return body?.replace(
    /\\(U([0-9a-f]{8})|u([0-9a-f]{4})|x([0-9a-f]{2})|.)/gs,
    (_all, escape: string, ...codes: (string | undefined)[]) => {
      const code = codes.slice(0, 3).find((each) => each !== undefined);
      if (code !== undefined) return fromCodePoint(Number.parseInt(code, 16));
      return { n: '\n', t: '\t', r: '\r' }[escape] ?? escape;
    },
  );
}

function fromCodePoint(code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
}
