import { z } from 'zod';
import { parseAddress } from './protocol/listen-address.ts';

const address = z.string().refine((text) => parseAddress(text) !== null, 'must be host:port, with an IPv6 address in brackets');
const anyHost: readonly string[] = ['0.0.0.0', '::'];

/** Configuration of the embedded iSCSI target. */
export const iscsiConfiguration = z
  .strictObject({
    listen: z.array(address).min(1).max(16).default(['127.0.0.1:3260']).describe('Addresses on which initiators are served'),
    advertise: address.optional().describe('Address told to clients; default: the first one of listen'),
    iqnPrefix: z
      .string()
      .regex(/^iqn\.[0-9]{4}-(0[1-9]|1[0-2])\.[a-z0-9.-]+(:[a-z0-9.:-]+)?$/, 'must be an iSCSI qualified name in lower case')
      .max(180)
      .default('iqn.2026-11.org.scoria')
      .describe('Target names are this, a colon and the id of the access'),
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
    redirect: address.optional().describe('Send every login to this address instead: for draining a host'),
    bindInitiator: z.boolean().default(false).describe('Let only the initiator name of the connector log in, besides CHAP'),
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
  .refine((config) => config.advertise !== undefined || !anyHost.includes(parseAddress(config.listen[0] ?? '')?.host ?? ''), {
    path: ['advertise'],
    message: 'is needed where the first address of listen is a wildcard: clients must be told a real one',
  });
/** See {@link iscsiConfiguration}. */
export type IscsiConfiguration = z.output<typeof iscsiConfiguration>;
