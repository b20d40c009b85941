import { z } from 'zod';
import { isErrorCode, type ErrorData } from './scoria-error.ts';

/** Parses what people are told of an error. */
export const toldErrorSchema = z.object({
  code: z.custom<ErrorData['code']>(isErrorCode, 'unknown error code'),
  message: z.string(),
  remedy: z.string(),
});

/** Parses an {@link ErrorData} that came from a journal, a bus or a socket. */
export const errorDataSchema: z.ZodType<ErrorData> = toldErrorSchema.extend({
  details: z.record(z.string(), z.unknown()),
  causes: z.array(z.string()),
});
