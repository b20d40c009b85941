export { OpenIscsiInitiator, type OpenIscsiInitiatorOptions } from './open-iscsi-initiator.ts';
