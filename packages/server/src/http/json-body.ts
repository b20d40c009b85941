import type { FastifyInstance } from 'fastify';
import { HttpError } from './http-error.ts';

/** How deep objects and arrays may lie in each other; what the API knows needs six. */
const deepest = 32;

/** JSON is the only thing understood; a body may be missing, as many clients name the type even then. */
export function acceptJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.trim() === '') return done(null, undefined);
    return parse(request, body, (error, value) => {
      const fault = error ? undefined : faultIn(value, deepest);
      return fault === undefined ? done(error, value) : done(new HttpError(400, `Malformed message body: ${fault}`), undefined);
    });
  });
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    if (body.length === 0) return done(null, undefined);
    return done(new HttpError(415, 'Only application/json is understood'), undefined);
  });
}

/** Why a parsed value is not taken: later code walks it recursively, and databases keep no NUL and no half of a character. */
function faultIn(value: unknown, levels: number): string | undefined {
  if (typeof value === 'string') {
    return value.includes('\0') || !value.isWellFormed() ? 'text has a character that cannot be stored' : undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (levels === 0) return `nested deeper than ${deepest} levels`;
  for (const [key, inner] of Object.entries(value)) {
    const fault = faultIn(key, levels) ?? faultIn(inner, levels - 1);
    if (fault !== undefined) return fault;
  }
  return undefined;
}
