/** Fields of a log line: plain data, never secrets. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where core, drivers and transports write what an operator may want to read. pino's loggers fit. */
export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

/** A log that keeps nothing. */
export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
