export type { DiscoveredTarget } from '../initiator/discovery.ts';
export type { ListenAddress } from '../protocol/listen-address.ts';
export { OpenIscsiInitiator, type OpenIscsiInitiatorOptions } from './open-iscsi-initiator.ts';
