import type { ScoriaError } from '../error/scoria-error.ts';
import type { Log } from '../platform/log.ts';

/** What is tried, and the ids of what it is tried on: only failures of the same work on the same things are compared. */
export interface Attempt {
  readonly work: string;
  readonly objects: readonly string[];
}

interface ToldFailure {
  readonly message: string;
  /** How often it has come again since it was told. */
  again: number;
}

/** Failures that are remembered. One whose work was given up never ends. */
const mostTold = 10_000;

/**
 * Warns of a failure once, until it ends or another one takes its place; then tells how often it came again. So what is
 * tried over and over on storage that is out of order does not fill the log.
 */
export class FailureLog {
  readonly #log: Log;
  readonly #told = new Map<string, ToldFailure>();

  constructor(log: Log) {
    this.#log = log;
  }

  failed(attempt: Attempt, error: ScoriaError): void {
    const { work, objects } = attempt;
    const key = keyOf(attempt);
    const told = this.#told.get(key);
    if (told?.message === error.message) {
      told.again += 1;
      this.#log.debug({ err: error, objects, again: told.again }, `${work} still fails`);
      return;
    }
    this.#log.warn({ err: error, objects, ...(told && { before: told }) }, `${work} failed`);
    this.#told.set(key, { message: error.message, again: 0 });
    if (this.#told.size > mostTold) for (const oldest of this.#told.keys()) return void this.#told.delete(oldest);
  }

  succeeded(attempt: Attempt): void {
    const key = keyOf(attempt);
    const before = this.#told.get(key);
    if (!before) return;
    this.#told.delete(key);
    this.#log.info({ objects: attempt.objects, before }, `${attempt.work} works again`);
  }
}

const keyOf = ({ work, objects }: Attempt): string => [work, ...objects].join(' ');
