export { FileDriver, type FileDriverOptions } from './driver.ts';
export { fileConfigSchema, filePlugin, filePlugin as default } from './plugin.ts';
