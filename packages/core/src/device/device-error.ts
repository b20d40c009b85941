import { getSystemErrorName } from 'node:util';
import type { ErrorCode } from '../error/error-codes.ts';
import { ScoriaError } from '../error/scoria-error.ts';

/** Codes of errno(3) by what they say about a device. Any other is taken as a medium error: the data cannot be trusted. */
const codes: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'device-no-space',
  EDQUOT: 'device-no-space',
  EFBIG: 'device-no-space',
  EROFS: 'device-not-permitted',
  EACCES: 'device-not-permitted',
  EPERM: 'device-not-permitted',
  ENXIO: 'device-gone',
  ENODEV: 'device-gone',
  ENOENT: 'device-gone',
  ENOTDIR: 'device-gone',
  ESTALE: 'device-gone',
  ENOTCONN: 'device-gone',
};

/**
 * Makes the `device-…` error that stands for an error of the operating system.
 *
 * @param action - what was tried, for the message: `read`, `flush`.
 * @param path - names the device.
 */
export function deviceError(path: string, action: string, cause: unknown): ScoriaError {
  if (cause instanceof ScoriaError) return cause;
  const errno = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
  const code = (errno !== undefined && codes[errno]) || 'device-medium-error';
  return new ScoriaError(code, `Device ${path}: ${action} failed with ${errno ?? String(cause)}`, {
    cause,
    details: { path, errno },
  });
}

/** An `Error` with the `code` of a positive errno(3) number, as `node:fs` makes them. */
export function errnoError(errno: number, call: string): Error & { readonly code: string } {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${code}: ${call}`), { code });
}

/** The error of a range that is not whole blocks within a device; `undefined` when it is. */
export function rangeError(
  path: string,
  device: { readonly size: number; readonly blockSize: number },
  offset: number,
  length: number,
): ScoriaError | undefined {
  const { size, blockSize } = device;
  if (offset >= 0 && length >= 0 && offset + length <= size && offset % blockSize === 0 && length % blockSize === 0)
    return undefined;
  return new ScoriaError('device-out-of-range', `${length} bytes at ${offset} are not whole blocks within ${path}`, {
    details: { offset, length, size, blockSize },
  });
}
