/**
 * Devices without the rest of core: what a process that only moves bytes needs. Nothing here uses decorators, so Node
 * can run it from source.
 */
export * from '../error/error-codes.ts';
export * from '../error/error-data.ts';
export * from '../error/scoria-error.ts';
export * from '../platform/clock.ts';
export * from '../platform/deadline.ts';
export * from '../platform/log.ts';
export * from '../platform/random.ts';
export * from '../plugin/object-locks.ts';
export * from '../transport/io-limits.ts';
export * from './block-device.ts';
export * from './copy.ts';
export * from './device-error.ts';
export * from './device-locator.ts';
export * from './file-space.ts';
export * from './path-device.ts';
