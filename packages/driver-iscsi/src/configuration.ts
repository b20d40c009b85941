import { z } from 'zod';
import { isReachable, portalAddress, portalConfiguration, unreachable } from './portal-configuration.ts';

/** Configuration of the embedded iSCSI target. */
export const iscsiConfiguration = z
  .strictObject({
    ...portalConfiguration,
    inProcess: z.boolean().default(false).describe('Serve from the process of the control plane instead of one of its own'),
    authentication: z
      .enum(['chap', 'initiator-name'])
      .default('chap')
      .describe(
        'What a login needs: the secret of its access, or only the initiator name of its connector, which proves nothing: for networks that are trusted',
      ),
    mutualChap: z
      .strictObject({
        username: z
          .string()
          .regex(/^[\x21-\x7e]{1,223}$/, 'must be printable ASCII without blanks')
          .describe('CHAP name of the target'),
        secretFile: z.string().min(1).describe('File of mode 0600 with its secret, 12 to 255 characters in one line'),
      })
      .optional()
      .describe('What the target proves itself by to initiators that ask for it'),
    redirect: portalAddress.optional().describe('Send every login to this address instead: for draining a host'),
    orphanTimeout: z
      .number()
      .positive()
      .max(604_800)
      .default(600)
      .describe('Seconds after which a target process without a control plane ends'),
  })
  .refine((config) => config.authentication === 'chap' || config.mutualChap === undefined, {
    path: ['mutualChap'],
    message: 'needs authentication: chap',
  })
  .refine(isReachable, unreachable);
/** See {@link iscsiConfiguration}. */
export type IscsiConfiguration = z.output<typeof iscsiConfiguration>;
