import { definePlugin, openPathDevice } from '@scoria/core';
import { iscsiConfiguration } from './configuration.ts';
import { IscsiTransport } from './iscsi-transport.ts';

/** The embedded iSCSI target as a plug-in of kind `transport`. */
export const iscsiPlugin = definePlugin({
  name: '@scoria/driver-iscsi',
  kind: 'transport',
  api: '^1.0',
  config: iscsiConfiguration,
  create: ({ name, config, baseDirectory, clock, random, log }) =>
    new IscsiTransport({
      name,
      config,
      baseDirectory,
      clock,
      random,
      log,
      openers: { path: (locator, options) => openPathDevice(locator, { ...options, io: 'pool' }) },
    }),
});
