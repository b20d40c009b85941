import { inspect } from 'node:util';
import type { Log, LogFields } from '@scoria/core';

/** Lines kept; a plug-in that logs without end must not fill memory. */
const limit = 10_000;

/** A log that keeps its lines as text, to be searched for what must not be in them. */
export class RecordingLog implements Log {
  readonly #lines: string[] = [];

  /** What was logged, oldest first, at most 10,000 lines. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  debug(fields: LogFields, message: string): void {
    this.#add(fields, message);
  }
  info(fields: LogFields, message: string): void {
    this.#add(fields, message);
  }
  warn(fields: LogFields, message: string): void {
    this.#add(fields, message);
  }
  error(fields: LogFields, message: string): void {
    this.#add(fields, message);
  }

  #add(fields: LogFields, message: string): void {
    if (this.#lines.length < limit) this.#lines.push(`${message} ${textOf(fields)}`);
  }
}

/** Everything that a log would show of a value, errors with their details and causes included. */
export function textOf(value: unknown): string {
  return inspect(value, { depth: 12, maxArrayLength: 1000, maxStringLength: 65_536, breakLength: Number.POSITIVE_INFINITY });
}
