import { ScoriaError, type ErrorCode } from '@scoria/core';
import { HttpError } from './http-error.ts';

/** Names under which the API wraps an error, by status. */
const faultNames: Readonly<Record<number, string>> = {
  400: 'badRequest',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'itemNotFound',
  405: 'badMethod',
  408: 'badRequest',
  409: 'conflictingRequest',
  413: 'overLimit',
  415: 'badMediaType',
  422: 'unprocessableEntity',
  431: 'badRequest',
  501: 'notImplemented',
  503: 'serviceUnavailable',
};

/** Status of each code. Nowhere else do error codes meet HTTP. */
const statuses: Readonly<Record<ErrorCode, number>> = {
  'invalid-input': 400,
  'not-found': 404,
  'invalid-state': 400,
  conflict: 409,
  'idempotency-mismatch': 422,
  'not-permitted': 403,
  'not-authenticated': 401,
  'quota-exceeded': 413,
  'not-supported': 400,
  cancelled: 409,
  'no-valid-backend': 500,
  'backend-unavailable': 503,
  'backend-failed': 500,
  'backend-object-missing': 500,
  'backend-busy': 503,
  'transport-failed': 500,
  'writes-not-held': 503,
  'device-no-space': 500,
  'device-medium-error': 500,
  'device-gone': 500,
  'device-not-permitted': 500,
  'device-out-of-range': 500,
  'invalid-configuration': 500,
  'plugin-refused': 500,
  'data-directory-newer': 500,
  'data-directory-locked': 500,
  'foreign-backend': 500,
  'address-in-use': 500,
  'insecure-listen': 500,
  'store-failed': 503,
  'deadline-exceeded': 503,
  'lease-lost': 503,
  'stale-fence': 500,
  internal: 500,
};

/** An error, ready to be sent. */
export interface ErrorResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

const unexpected = 'The server has either erred or is incapable of performing the requested operation.';

function describe(thrown: unknown): { status: number; message: string } {
  if (thrown instanceof HttpError) return { status: thrown.status, message: thrown.message };
  const refused = refusalOfFastify(thrown);
  if (refused) return refused;
  const error = ScoriaError.from(thrown);
  // What a bug says is for the log: it may name things that are no business of the caller.
  if (error.code === 'internal') return { status: 500, message: unexpected };
  return { status: statuses[error.code], message: error.message };
}

/** What Fastify refuses before a handler sees it: a body that is too large, of another type, or no JSON. */
function refusalOfFastify(thrown: unknown): { status: number; message: string } | undefined {
  if (!(thrown instanceof Error) || !('statusCode' in thrown) || typeof thrown.statusCode !== 'number') return undefined;
  if (thrown.statusCode >= 500) return undefined;
  if (thrown.statusCode === 413) return { status: 413, message: 'Request is too large.' };
  return { status: thrown.statusCode, message: `Malformed message body: ${thrown.message}` };
}

/** An error in the shape that clients of Cinder expect: `{"itemNotFound": {"code": 404, "message": "…"}}`. */
export function blockStorageError(thrown: unknown, baseUrl: string): ErrorResponse {
  const { status, message } = describe(thrown);
  if (status === 401) return identityError(thrown, baseUrl);
  const retry: Readonly<Record<string, string>> = status === 413 ? { 'Retry-After': '0' } : {};
  const fault = { code: status, message, ...(status === 413 && { retryAfter: '0' }) };
  return { status, headers: retry, body: { [faultNames[status] ?? 'computeFault']: fault } };
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Request Entity Too Large',
  422: 'Unprocessable Entity',
  503: 'Service Unavailable',
};

/** An error in the shape of the Identity API: `{"error": {"code": 404, "title": "Not Found", "message": "…"}}`. */
export function identityError(thrown: unknown, baseUrl: string): ErrorResponse {
  const { status, message } = describe(thrown);
  return {
    status,
    headers: status === 401 ? { 'WWW-Authenticate': `Keystone uri="${baseUrl}/identity"` } : {},
    body: { error: { code: status, title: titles[status] ?? 'Internal Server Error', message } },
  };
}
