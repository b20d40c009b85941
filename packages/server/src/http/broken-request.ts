import type { Socket } from 'node:net';
import { STATUS_CODES } from 'node:http';
import { blockStorageError } from './error-response.ts';
import { HttpError } from './http-error.ts';

/** What Node's parser says of a request that it does not take; other codes are a 400. */
const refusals: Readonly<Record<string, HttpError>> = {
  ERR_HTTP_REQUEST_TIMEOUT: new HttpError(408, 'The request did not come in time.'),
  HPE_HEADER_OVERFLOW: new HttpError(431, 'The headers of the request are too large.'),
};
const malformed = new HttpError(400, 'The request is no HTTP that is understood here.');

/**
 * Answers what cannot be parsed as HTTP, which no route nor hook sees, in the shape of all errors, and closes the
 * connection. Its path is not known, so the shape is that of the Block Storage API.
 *
 * @param id - names the request.
 * @returns the status that was answered; `null` when nobody is there to hear it.
 */
export function answerBrokenRequest(error: { readonly code?: string }, socket: Socket, id: string): number | null {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return null;
  }
  const refusal = (error.code !== undefined && Object.hasOwn(refusals, error.code) && refusals[error.code]) || malformed;
  const { status, body } = blockStorageError(refusal, '');
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    `X-Compute-Request-Id: ${id}`,
    `X-Openstack-Request-Id: ${id}`,
  ];
  // The rest of the request is not read, so the answer must be out before the socket goes.
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`, () => socket.destroy());
  return status;
}
