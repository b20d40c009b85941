import { z } from 'zod';
import { isNumeric, isReachable, notNumeric, portalConfiguration, unreachable } from '../portal-configuration.ts';

const absolutePath = z
  .string()
  .regex(/^\/[^\s\0]*$/, 'must be an absolute path')
  .max(4096);

/** Configuration of tgt, the target daemon in user space. */
export const tgtConfiguration = z
  .strictObject({
    ...portalConfiguration,
    controlSocket: absolutePath.optional().describe('TGT_IPC_SOCKET of the tgtd to use, where it is not the one of the system'),
    cgroup: absolutePath
      .optional()
      .describe(
        'Folder of the control group (version 2) that tgtd runs in; with it volumes on block devices can have I/O limits',
      ),
  })
  .refine(isReachable, unreachable)
  .refine(isNumeric, notNumeric);
/** See {@link tgtConfiguration}. */
export type TgtConfiguration = z.output<typeof tgtConfiguration>;
