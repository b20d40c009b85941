import {
  type AnyVolumeDriver,
  type BackendObject,
  type CreatedCopy,
  definePlugin,
  type Plugin,
  type PluginCall,
  type VolumeDriver,
} from '@scoria/core';
import { filePlugin } from '@scoria/driver-file';
import { MemoryBackend, memoryDriver, MemoryObject } from '@scoria/driver-memory';
import { z } from 'zod';

/**
 * Storage behind a driver: `instant` copies and reverts by itself; `allocating` has the same verbs and leaves the
 * copying to core; `bare` has no optional group; `file` is driver-file.
 */
export const arrayKinds = ['instant', 'allocating', 'bare', 'file'] as const;
/** See {@link arrayKinds}. */
export type ArrayKind = (typeof arrayKinds)[number];

/** A plug-in with its configuration. */
export interface ConfiguredArray {
  readonly plugin: Plugin<'driver'>;
  readonly config?: unknown;
  /** Names of what of ours lies on the storage and is none of these placements, as leftovers do. Default: nothing can. */
  strays?(placementIds: ReadonlySet<string>): Promise<readonly string[]>;
}

/** Storage of one kind. `directory` is for `file` alone. */
export function makeArray(kind: ArrayKind, backendId: string, directory: string): ConfiguredArray {
  if (kind === 'file') return { plugin: filePlugin, config: { directory, reserved: 0 } };
  const backend = new MemoryBackend({ backendId });
  const plugin = memoryDriver({ backend });
  return { plugin: kind === 'instant' ? plugin : withoutCopies(plugin, backend, kind) };
}

function withoutCopies(plugin: Plugin<'driver'>, backend: MemoryBackend, kind: 'allocating' | 'bare'): Plugin<'driver'> {
  return definePlugin({
    name: kind,
    kind: 'driver',
    api: '^1.0',
    config: z.strictObject({}),
    capabilities: kind === 'bare' ? [] : ['clone', 'create-from-snapshot', 'revert'],
    locates: plugin.locates,
    devices: plugin.devices,
    create: (context) => {
      const driver = plugin.create({ ...context });
      const base = mandatory(driver, backend);
      return kind === 'bare' ? base : allocating(base);
    },
  });
}

function mandatory(driver: AnyVolumeDriver, backend: MemoryBackend): VolumeDriver {
  return {
    check: (call) => driver.check(call),
    pools: (call) => driver.pools(call),
    create: (request, call) => driver.create(request, call),
    delete: (volume, call) => driver.delete(volume, call),
    extend: (volume, size, call) => driver.extend(volume, size, call),
    createSnapshot: async ({ placementId, pool, size }) => {
      const place = backend.pools.get(pool);
      if (!place) throw new Error(`There is no pool ${pool}`);
      const made = backend.objects.get(placementId) ?? new MemoryObject({ kind: 'snapshot', placementId, size }, place);
      backend.objects.set(placementId, made);
      return { backendRef: placementId, size: made.size, filled: false };
    },
    deleteSnapshot: (snapshot, call) => driver.deleteSnapshot(snapshot, call),
    list: (call) => driver.list(call),
    locate: (object, call) => driver.locate(object, call),
  };
}

function allocating(driver: VolumeDriver): AnyVolumeDriver {
  const allocate = async (target: BackendObject, _source: BackendObject, call: PluginCall): Promise<CreatedCopy> => ({
    ...(await driver.create(target, call)),
    filled: false,
  });
  return { ...driver, clone: allocate, createFromSnapshot: allocate, revert: async () => ({ done: false }) };
}
