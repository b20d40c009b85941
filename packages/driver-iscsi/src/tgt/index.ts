export { tgtConfiguration, type TgtConfiguration } from './configuration.ts';
export { TgtTransport, type TgtTransportOptions } from './tgt-transport.ts';
export { tgtPlugin as default } from './plugin.ts';
