export { MemoryDriver } from './driver.ts';
export {
  MemoryBackend,
  MemoryObject,
  MemoryPool,
  type MemoryBackendOptions,
  type MemoryObjectOptions,
  type MemoryPoolOptions,
} from './memory-backend.ts';
export { MemoryDevice } from './memory-device.ts';
export { memoryConfigSchema, memoryDriver, type MemoryDriverOptions } from './plugin.ts';
export { memoryPlugin as default } from './plugin.ts';
