import { resolve } from 'node:path';
import { pino, stdSerializers, type Logger } from 'pino';
import type { Configuration } from './configuration.ts';

/** Fields that never come into the log, wherever they stand. */
const redact = ['req.headers', '*.secret', '*.password', '*.auth_password', '*.token'];

/**
 * Opens the log of the service.
 *
 * @param directory - absolute; a relative `file` of the configuration is meant from here.
 * @returns the log, and where it is written to, in words.
 */
export function openLog({ file, level }: Configuration['log'], directory: string): { log: Logger; logFile: string } {
  const logFile = file === '-' ? 'standard error' : resolve(directory, file);
  const destination = pino.destination({ dest: file === '-' ? 2 : logFile, sync: false, mode: 0o600 });
  return { log: pino({ level, base: null, redact, serializers: { err: errorFields } }, destination), logFile };
}

/** An error as pino writes it, by the name that it gives itself: bundling renames classes. */
function errorFields(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const fields = stdSerializers.err(thrown);
  fields.type = thrown.name;
  return fields;
}
