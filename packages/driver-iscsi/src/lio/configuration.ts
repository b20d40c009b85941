import { z } from 'zod';
import { isNumeric, isReachable, notNumeric, portalConfiguration, unreachable } from '../portal-configuration.ts';

/** Configuration of LIO, the kernel's target. */
export const lioConfiguration = z
  .strictObject({
    ...portalConfiguration,
    queueDepth: z.int().min(1).max(512).default(128).describe('Commands that one session may have under way'),
    loginTimeout: z.int().min(5).max(30).default(15).describe('Seconds that a login may take'),
  })
  .refine(isReachable, unreachable)
  .refine(isNumeric, notNumeric);
/** See {@link lioConfiguration}. */
export type LioConfiguration = z.output<typeof lioConfiguration>;
