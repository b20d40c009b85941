export { lioConfiguration, type LioConfiguration } from './configuration.ts';
export { Configfs, type ConfigTree } from './configfs.ts';
export { lioRoot, LioTransport, type LioTransportOptions } from './lio-transport.ts';
export { lioPlugin as default } from './plugin.ts';
