import { z } from 'zod';
import { isErrorCode, type ErrorData } from './scoria-error.ts';

/** Parses an {@link ErrorData} that came from a journal, a bus or a socket. */
export const errorDataSchema: z.ZodType<ErrorData> = z.object({
  code: z.custom<ErrorData['code']>(isErrorCode, 'unknown error code'),
  message: z.string(),
  remedy: z.string(),
  details: z.record(z.string(), z.unknown()),
  causes: z.array(z.string()),
});
