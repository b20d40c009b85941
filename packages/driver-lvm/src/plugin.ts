import { definePlugin, type Plugin } from '@scoria/core';
import { lvmConfigSchema } from './configuration.ts';
import { LvmDriver } from './driver.ts';

/** Volumes as logical volumes of LVM, thick or thin. */
export const lvmPlugin: Plugin<'driver'> = definePlugin({
  name: '@scoria/driver-lvm',
  kind: 'driver',
  api: '^1.0',
  config: lvmConfigSchema,
  capabilities: ['clone', 'create-from-snapshot', 'revert', 'shrink', 'manage', 'extents'],
  create: ({ config, installationId, clock, random, log, exec }) =>
    new LvmDriver({ config, installationId, clock, random, log, exec }),
});
