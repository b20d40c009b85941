import { definePlugin, type AnyVolumeDriver, type Plugin, type PluginCall, type PluginContext } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { z } from 'zod';

/** What happens before a verb reaches the real driver: it may throw, wait, or note that it was called. */
export type Script = (verb: string, placementId: string, call: PluginCall) => Promise<void> | void;

/** A plug-in over a memory backend, or over a plug-in of several, whose verbs run a script first. */
export function scriptedDriver(backend: MemoryBackend | ReturnType<typeof memoryDriver>, script: Script): Plugin<'driver'> {
  const plugin = backend instanceof MemoryBackend ? memoryDriver({ backend }) : backend;
  return definePlugin({
    name: 'scripted',
    kind: 'driver',
    api: '^1.0',
    config: z.strictObject({}),
    capabilities: plugin.capabilities,
    locates: plugin.locates,
    devices: plugin.devices,
    create: (context) => scripted(plugin.create(context as PluginContext<unknown>), script),
  });
}

function scripted(driver: AnyVolumeDriver, script: Script): AnyVolumeDriver {
  const { clone, createFromSnapshot, revert, shrink, listManageable, manage, unmanage, allocatedExtents, changedExtents } =
    driver;
  const copies = clone && createFromSnapshot && revert;
  if (!copies || !shrink || !listManageable || !manage || !unmanage || !allocatedExtents || !changedExtents) {
    throw new Error('the memory driver lacks a group');
  }
  return {
    check: (call) => driver.check(call),
    pools: (call) => driver.pools(call),
    list: (call) => driver.list(call),
    locate: (object, call) => driver.locate(object, call),
    create: async (request, call) => {
      await script('create', request.placementId, call);
      return driver.create(request, call);
    },
    delete: async (volume, call) => {
      await script('delete', volume.placementId, call);
      return driver.delete(volume, call);
    },
    extend: async (volume, size, call) => {
      await script('extend', volume.placementId, call);
      return driver.extend(volume, size, call);
    },
    createSnapshot: async (snapshot, volume, call) => {
      await script('createSnapshot', snapshot.placementId, call);
      return driver.createSnapshot(snapshot, volume, call);
    },
    deleteSnapshot: async (snapshot, call) => {
      await script('deleteSnapshot', snapshot.placementId, call);
      return driver.deleteSnapshot(snapshot, call);
    },
    clone: async (target, source, call) => {
      await script('clone', target.placementId, call);
      return clone.call(driver, target, source, call);
    },
    createFromSnapshot: async (target, snapshot, call) => {
      await script('createFromSnapshot', target.placementId, call);
      return createFromSnapshot.call(driver, target, snapshot, call);
    },
    revert: async (volume, snapshot, call) => {
      await script('revert', volume.placementId, call);
      return revert.call(driver, volume, snapshot, call);
    },
    shrink: async (volume, size, call) => {
      await script('shrink', volume.placementId, call);
      return shrink.call(driver, volume, size, call);
    },
    listManageable: (call) => listManageable.call(driver, call),
    manage: async (target, reference, call) => {
      await script('manage', target.placementId, call);
      return manage.call(driver, target, reference, call);
    },
    unmanage: async (volume, call) => {
      await script('unmanage', volume.placementId, call);
      return unmanage.call(driver, volume, call);
    },
    allocatedExtents: (object, call) => allocatedExtents.call(driver, object, call),
    changedExtents: (from, to, call) => changedExtents.call(driver, from, to, call),
  };
}

/** Settles only when the call is aborted, with the reason. */
export function untilAborted({ signal }: PluginCall): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
