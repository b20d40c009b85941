import { errorCodes, type ErrorCode, type Fault } from './error-codes.ts';

/** Plain data that says more about an error: ids, sizes in bytes, states. Never secrets. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** Options of {@link ScoriaError}. */
export interface ScoriaErrorOptions {
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
  /** Replaces the remedy of the code where the thrower knows a better one. */
  readonly remedy?: string;
}

/**
 * The one error class of Scoria. `code` says what went wrong and is stable; whose fault it is, whether a retry may
 * help and what to do follow from the code; the message names the things concerned.
 */
export class ScoriaError extends Error {
  override readonly name = 'ScoriaError';
  readonly code: ErrorCode;
  readonly fault: Fault;
  readonly retryable: boolean;
  readonly remedy: string;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: ScoriaErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    const definition = errorCodes[code];
    this.code = code;
    this.fault = definition.fault;
    this.retryable = definition.retryable;
    this.remedy = options.remedy ?? definition.remedy;
    this.details = options.details ?? {};
  }

  /**
   * Makes a `ScoriaError` of whatever was thrown: one of ours is returned as it is, anything else becomes `fallback`
   * with the original as its cause. Errors of a second copy of core in the process are recognised by their shape.
   */
  static from(thrown: unknown, fallback: ErrorCode = 'internal'): ScoriaError {
    if (thrown instanceof ScoriaError) return thrown;
    if (thrown instanceof Error) {
      if (thrown.name === 'ScoriaError' && 'code' in thrown && isErrorCode(thrown.code)) {
        return new ScoriaError(thrown.code, thrown.message, { cause: thrown });
      }
      return new ScoriaError(fallback, thrown.message, { cause: thrown });
    }
    return new ScoriaError(fallback, String(thrown), { cause: thrown });
  }

  /** The error as plain data, for a journal, a bus or a socket; causes are reduced to their messages. */
  toData(): ErrorData {
    const causes: string[] = [];
    for (let cause = this.cause; cause instanceof Error && causes.length < 8; cause = cause.cause) causes.push(cause.message);
    return { code: this.code, message: this.message, remedy: this.remedy, details: this.details, causes };
  }

  /** The inverse of {@link toData}. */
  static fromData(data: ErrorData): ScoriaError {
    let cause: Error | undefined;
    for (const message of data.causes.toReversed()) cause = new Error(message, cause ? { cause } : undefined);
    return new ScoriaError(data.code, data.message, { details: data.details, remedy: data.remedy, ...(cause && { cause }) });
  }
}

/** A {@link ScoriaError} as plain data. */
export interface ErrorData {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
  readonly details: ErrorDetails;
  /** Messages of the causes, outermost first, at most 8. */
  readonly causes: readonly string[];
}

/** Whether `value` is a code of {@link errorCodes}. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorCodes, value);
}
