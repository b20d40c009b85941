import { z } from 'zod';

/** A time as the API writes it: UTC, microseconds, no zone. */
export const dateTimeSchema = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/);

/** A time, milliseconds since 1970 UTC, as the API writes it. */
export function dateTime(at: number): string {
  return new Date(at).toISOString().replace('Z', '000');
}

/** The same for a time that may be missing. */
export function optionalDateTime(at: number | null): string | null {
  return at === null ? null : dateTime(at);
}
