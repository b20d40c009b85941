import { isIP } from 'node:net';
import { z } from 'zod';
import { isReachable, listenAddresses, portalConfiguration, unreachable } from '../portal-configuration.ts';

/** Configuration of LIO, the kernel's target. */
export const lioConfiguration = z
  .strictObject({
    ...portalConfiguration,
    queueDepth: z.int().min(1).max(512).default(128).describe('Commands that one session may have under way'),
    loginTimeout: z.int().min(5).max(30).default(15).describe('Seconds that a login may take'),
  })
  .refine(isReachable, unreachable)
  .refine((config) => listenAddresses(config).every(({ host, port }) => isIP(host) !== 0 && port > 0), {
    path: ['listen'],
    message: 'must be IP addresses with a port: the kernel looks no names up and chooses no port',
  });
/** See {@link lioConfiguration}. */
export type LioConfiguration = z.output<typeof lioConfiguration>;
