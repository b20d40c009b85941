import { resolve } from 'node:path';
import { definePlugin, type Plugin } from '@scoria/core';
import { z } from 'zod';
import { FileDriver } from './driver.ts';

/** The driver's part of a configuration. */
export const fileConfigSchema = z.strictObject({
  directory: z.string().min(1).max(4096).describe('Where the volumes are kept. Relative paths count from the data directory.'),
  pool: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[\w.-]+$/)
    .default('pool')
    .describe('Name of the one pool.'),
  blockSize: z
    .union([z.literal(512), z.literal(4096)])
    .default(512)
    .describe('Logical block size of the volumes, bytes.'),
  provisioning: z
    .enum(['thin', 'thick'])
    .default('thin')
    .describe('"thick" reserves the whole size of a volume when it is made.'),
  maxOverSubscription: z
    .number()
    .min(1)
    .max(1000)
    .default(10)
    .describe('How far the file system may be promised beyond its size.'),
  reserved: z.number().min(0).max(1).default(0.05).describe('Share of the file system that is never promised.'),
});

/** Volumes as files in a directory. */
export const filePlugin: Plugin<'driver'> = definePlugin({
  name: '@scoria/driver-file',
  kind: 'driver',
  api: '^1.0',
  config: fileConfigSchema,
  capabilities: ['clone', 'create-from-snapshot', 'revert', 'shrink', 'manage'],
  create: ({ config, baseDirectory, installationId, random }) =>
    new FileDriver({ ...config, directory: resolve(baseDirectory, config.directory), installationId, random }),
});
