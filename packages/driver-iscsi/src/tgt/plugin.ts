import { definePlugin } from '@scoria/core';
import { tgtConfiguration } from './configuration.ts';
import { TgtTransport } from './tgt-transport.ts';

/** tgt, the target daemon in user space, as a plug-in of kind `transport`. */
export const tgtPlugin = definePlugin({
  name: '@scoria/driver-iscsi/tgt',
  kind: 'transport',
  api: '^1.0',
  config: tgtConfiguration,
  create: ({ config, clock, log, exec }) => new TgtTransport({ config, clock, log, exec }),
});
