export { iscsiConfiguration, type IscsiConfiguration } from './configuration.ts';
export { IscsiTransport, type IscsiTransportOptions } from './iscsi-transport.ts';
export { iscsiPlugin as default } from './plugin.ts';
