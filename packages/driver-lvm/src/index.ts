export { lvmConfigSchema, type LvmConfig } from './configuration.ts';
export { LvmDriver, type LvmDriverOptions } from './driver.ts';
export { lvmPlugin, lvmPlugin as default } from './plugin.ts';
