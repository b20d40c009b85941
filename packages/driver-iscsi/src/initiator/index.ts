export { discover, type DiscoveredTarget, type DiscoveryOptions } from './discovery.ts';
export { IscsiInitiator, type IscsiInitiatorOptions } from './iscsi-initiator.ts';
export type { DigestOffer, OperationalOffer } from './operational-offer.ts';
export type { RecoveryTimes } from './recovering-session.ts';
export type { ChapSecret } from '../protocol/chap.ts';
export type { ChapCredentials } from './chap-login.ts';
export type { ListenAddress } from '../protocol/listen-address.ts';
