import { createHmac, timingSafeEqual } from 'node:crypto';
import { ScoriaError } from '@scoria/core';
import { z } from 'zod';

const maxTokenLength = 1024;

const payloadSchema = z.strictObject({
  /** Audit id: names the token without giving it away. */
  id: z.string().max(64),
  user: z.string().max(64),
  /** Project that the token is for; `null` for one without scope. */
  project: z.string().max(64).nullable(),
  methods: z.array(z.string().max(32)).max(8),
  /** Milliseconds since 1970 UTC. */
  issuedAt: z.number(),
  /** Milliseconds since 1970 UTC. */
  expiresAt: z.number(),
});

/** What a token says. Roles are not in it: they are looked up when it is used, so that a change takes effect at once. */
export type TokenPayload = Readonly<z.infer<typeof payloadSchema>>;

/** Makes the text of a token: the payload and an HMAC-SHA-256 of it (RFC 2104), both in base64url. */
export function signToken(payload: TokenPayload, key: Uint8Array): string {
  const body = Buffer.from(JSON.stringify(payload)).toString('base64url');
  return `${body}.${mac(body, key).toString('base64url')}`;
}

/** Reads a token. `not-authenticated` when it was not made with this key, or is past its time; the reason is not told apart. */
export function readToken(token: string, key: Uint8Array, now: number): TokenPayload {
  const refused = () => new ScoriaError('not-authenticated', 'The token is not valid or has expired');
  if (token.length > maxTokenLength) throw refused();
  const dot = token.indexOf('.');
  if (dot <= 0) throw refused();
  const body = token.slice(0, dot);
  const expected = mac(body, key);
  const given = Buffer.from(token.slice(dot + 1), 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw refused();
  const payload = payloadSchema.safeParse(JSON.parse(Buffer.from(body, 'base64url').toString('utf8')));
  if (!payload.success || payload.data.expiresAt <= now) throw refused();
  return payload.data;
}

function mac(body: string, key: Uint8Array): Buffer {
  return createHmac('sha256', key).update('scoria token 1\0').update(body).digest();
}
