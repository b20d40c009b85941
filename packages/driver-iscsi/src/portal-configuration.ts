import { isIP } from 'node:net';
import { z } from 'zod';
import { formatAddress, parseAddress, type ListenAddress } from './protocol/listen-address.ts';

const anyHost: readonly string[] = ['0.0.0.0', '::'];

/** An address in a configuration: `host:port`, with an IPv6 address in brackets. */
export const portalAddress = z
  .string()
  .refine((text) => parseAddress(text) !== null, 'must be host:port, with an IPv6 address in brackets');

/** The options that every target has, for `z.strictObject`. */
export const portalConfiguration = {
  listen: z.array(portalAddress).min(1).max(16).default(['127.0.0.1:3260']).describe('Addresses on which initiators are served'),
  advertise: portalAddress.optional().describe('Address told to clients; default: the first one of listen'),
  iqnPrefix: z
    .string()
    .regex(/^iqn\.[0-9]{4}-(0[1-9]|1[0-2])\.[a-z0-9.-]+(:[a-z0-9.:-]+)?$/, 'must be an iSCSI qualified name in lower case')
    .max(180)
    .default('iqn.2026-11.org.scoria')
    .describe('Target names are this, a colon and the id of the access'),
  bindInitiator: z.boolean().default(false).describe('Let only the initiator name of the connector log in, besides CHAP'),
};

/** What {@link portalConfiguration} gives of addresses. */
export interface PortalConfiguration {
  readonly listen: readonly string[];
  readonly advertise?: string | undefined;
}

/** Whether clients can be told an address: a check for `refine`, with {@link unreachable}. */
export const isReachable = ({ listen, advertise }: PortalConfiguration): boolean =>
  advertise !== undefined || !anyHost.includes(parseAddress(listen[0] ?? '')?.host ?? '');

/** What is said where {@link isReachable} is false. */
export const unreachable = {
  path: ['advertise'],
  message: 'is needed where the first address of listen is a wildcard: clients must be told a real one',
};

/** The addresses to listen on. */
export const listenAddresses = ({ listen }: PortalConfiguration): readonly ListenAddress[] =>
  listen.flatMap((text) => parseAddress(text) ?? []);

/** Whether targets that look no names up, and choose no port, can listen: a check for `refine`, with {@link notNumeric}. */
export const isNumeric = (config: PortalConfiguration): boolean =>
  listenAddresses(config).every(({ host, port }) => isIP(host) !== 0 && port > 0);

/** What is said where {@link isNumeric} is false. */
export const notNumeric = { path: ['listen'], message: 'must be IP addresses with a port' };

/** The portals that clients are told, `host:port`. */
export const advertisedPortals = (config: PortalConfiguration): readonly string[] =>
  config.advertise === undefined ? listenAddresses(config).map(formatAddress) : [config.advertise];
