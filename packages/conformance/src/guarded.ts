import assert from 'node:assert/strict';
import {
  capabilityMethods,
  definePlugin,
  deviceLocatorSchema,
  makePlugins,
  silentLog,
  systemClock,
  systemRandom,
  type AnyVolumeDriver,
  type DriverCapability,
  type Plugin,
  type PluginSurroundings,
  type Transport,
  noExec,
} from '@scoria/core';

/** An object without keys. Taken from a schema of core, so that this package needs no zod of its own. */
const noConfig = deviceLocatorSchema.pick({});

const declared = Object.keys(capabilityMethods) as DriverCapability[];

const shape = { name: '@scoria/conformance', api: '^1.0', config: noConfig } as const;

function surroundings(): PluginSurroundings {
  return {
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    exec: noExec,
    installationId: systemRandom.uuid(),
    baseDirectory: '/',
    availabilityZone: 'nova',
  };
}

/** A driver behind a new guard of core, as the server makes it. */
export function guardedDriver(driver: AnyVolumeDriver): AnyVolumeDriver {
  const capabilities = declared.filter((capability) => driver[capabilityMethods[capability][0]] !== undefined);
  const plugin = definePlugin({ ...shape, kind: 'driver', capabilities, create: () => driver });
  const [backend] = makePlugins({ backends: { guarded: { plugin } } }, surroundings()).backends;
  assert(backend, 'core made no backend');
  return backend.driver;
}

/** A transport behind a new guard of core, as the server makes it. */
export function guardedTransport(transport: Transport): Transport {
  const plugin = definePlugin({ ...shape, kind: 'transport', create: () => transport });
  // Core makes no instance without a backend.
  const none = definePlugin({ ...shape, kind: 'driver', create: () => noDriver });
  const made = makePlugins({ backends: { none: { plugin: none } }, transports: { guarded: { plugin } } }, surroundings());
  const [guarded] = made.transports;
  assert(guarded, 'core made no transport');
  return guarded.transport;
}

/** Throws `invalid-configuration` with all that core finds wrong with a plug-in and its configuration. */
export function checkPlugin(plugin: Plugin, config: unknown): void {
  const none = definePlugin({ ...shape, kind: 'driver', create: () => noDriver });
  if (plugin.kind === 'transport') {
    makePlugins({ backends: { none: { plugin: none } }, transports: { tested: { plugin, config } } }, surroundings());
  } else makePlugins({ backends: { tested: { plugin, config } } }, surroundings());
}

const refuse = () => Promise.reject(new Error('the transport suite has no driver'));
const noDriver: AnyVolumeDriver = {
  check: refuse,
  pools: refuse,
  create: refuse,
  delete: refuse,
  extend: refuse,
  createSnapshot: refuse,
  deleteSnapshot: refuse,
  list: async function* () {},
  locate: refuse,
};
