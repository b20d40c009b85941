import { definePlugin } from '@scoria/core';
import { Configfs } from './configfs.ts';
import { lioConfiguration } from './configuration.ts';
import { lioRoot, LioTransport } from './lio-transport.ts';

/** LIO, the kernel's iSCSI target, as a plug-in of kind `transport`. */
export const lioPlugin = definePlugin({
  name: '@scoria/driver-iscsi/lio',
  kind: 'transport',
  api: '^1.0',
  config: lioConfiguration,
  create: ({ config, clock, log, exec }) => new LioTransport({ config, tree: new Configfs(lioRoot), clock, log, exec }),
});
