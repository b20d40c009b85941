import { definePlugin, ScoriaError, type DeviceOpener, type Plugin } from '@scoria/core';
import { z } from 'zod';
import { locatorKind, MemoryDriver } from './driver.ts';
import { defaultPools, MemoryBackend } from './memory-backend.ts';
import { MemoryDevice } from './memory-device.ts';

const poolSchema = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[\w.-]+$/)
    .describe('Name of the pool.'),
  total: z.int().positive().describe('Size in bytes.'),
  thin: z.boolean().default(true).describe('Whether volumes take space only as they are written.'),
  maxOverSubscription: z.number().min(1).default(20).describe('How far a thin pool may be promised beyond its size.'),
  reserved: z.number().min(0).max(1).default(0).describe('Share of the pool that is never promised.'),
});

/** The driver's part of a configuration. */
export const memoryConfigSchema = z.strictObject({
  pools: z
    .array(poolSchema)
    .min(1)
    .max(64)
    .refine((pools) => new Set(pools.map((pool) => pool.name)).size === pools.length, 'Two pools have the same name.')
    .default([...defaultPools])
    .describe('The pools. Default: one thin pool named "pool" of 1 TiB.'),
});

/** Options of {@link memoryDriver}. */
export interface MemoryDriverOptions {
  /** The backend to use, or a function that gives the one for a backend's name in the configuration. */
  readonly backend: MemoryBackend | ((name: string) => MemoryBackend);
}

/**
 * A plug-in over backends that the caller owns, for embedding and for tests that restart the control plane. Its
 * configuration is empty. Several such plug-ins in a process do not see each other's volumes.
 *
 * @example
 * const backend = new MemoryBackend({ backendId: systemRandom.uuid() });
 * const plugin = memoryDriver({ backend });
 */
export function memoryDriver(options: MemoryDriverOptions): Plugin<'driver'> {
  const { backend } = options;
  return define(z.strictObject({}), (name) => (typeof backend === 'function' ? backend(name) : backend));
}

function define<Schema extends z.ZodType>(
  config: Schema,
  backendOf: (name: string, config: z.output<Schema>, newId: () => string) => MemoryBackend,
): Plugin<'driver'> {
  // The plug-in must not keep alive what its drivers and their owners have let go of.
  const registry = new Map<string, WeakRef<MemoryBackend>>();
  const open: DeviceOpener = async (locator, openOptions) => {
    const [backendId = '', placementId = ''] = locator.path.split('/');
    const object = registry.get(backendId)?.deref()?.objects.get(placementId);
    if (!object) throw new ScoriaError('device-gone', `This process has no memory volume ${locator.path}`);
    return new MemoryDevice(object, locator.blockSize, openOptions);
  };
  return definePlugin({
    name: '@scoria/driver-memory',
    kind: 'driver',
    api: '^1.0',
    config,
    capabilities: ['clone', 'create-from-snapshot', 'revert', 'shrink', 'manage', 'extents'],
    locates: locatorKind,
    devices: { [locatorKind]: open },
    create: (context) => {
      const backend = backendOf(context.name, context.config, () => context.random.uuid());
      registry.set(backend.backendId, new WeakRef(backend));
      return new MemoryDriver(backend, context.installationId);
    },
  });
}

/** The plug-in that a configuration names: every driver it makes has a backend of its own, gone with the process. */
export const memoryPlugin: Plugin<'driver'> = define(
  memoryConfigSchema,
  (_name, { pools }, newId) => new MemoryBackend({ backendId: newId(), pools }),
);
