import { HttpError } from './http-error.ts';

/** A version of the Block Storage API v3, `3.NN`. */
export type Microversion = `3.${number}`;

/** The oldest version; what a request without the header gets. */
export const minimumVersion: Microversion = '3.0';
/** The newest version that is understood. */
export const maximumVersion: Microversion = '3.71';

/** Header in which clients ask for a version and the answer tells which was used. */
export const versionHeader = 'OpenStack-API-Version';

/** The number after the point; versions are compared by it. */
export function minorOf(version: Microversion): number {
  return Number(version.slice(2));
}

/**
 * Reads the header as Cinder does: several services may be named, separated by commas; `volume` is ours; `latest` is the
 * newest. Returns the number after the point. Throws {@link HttpError}: 400 when it is malformed, 404 when it names
 * other services only, 406 when the version is beyond what is understood.
 */
export function negotiateVersion(header: string | undefined): number {
  if (header === undefined) return minorOf(minimumVersion);
  const ours = header
    .slice(0, 255)
    .split(',')
    .map((part) => part.trim().split(/\s+/))
    .find(([service]) => service === 'volume');
  if (!ours) throw new HttpError(404, `API version None is not supported on this method.`);
  const version = ours[1] ?? '';
  if (version === 'latest') return minorOf(maximumVersion);
  const match = /^([1-9]\d{0,5})\.(0|[1-9]\d{0,5})$/.exec(version);
  if (!match || ours.length !== 2) {
    throw new HttpError(400, `API Version String ${version} is of invalid format. Must be of format MajorNum.MinorNum.`);
  }
  const minor = Number(match[2]);
  if (match[1] !== '3' || minor > minorOf(maximumVersion)) {
    throw new HttpError(
      406,
      `Version ${version} is not supported by the API. Minimum is ${minimumVersion} and maximum is ${maximumVersion}.`,
    );
  }
  return minor;
}
