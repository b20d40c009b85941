import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  openPathDevice,
  silentLog,
  systemClock,
  systemRandom,
  type AnyVolumeDriver,
  type DeviceOpeners,
  type Plugin,
} from '@scoria/core';

/** A driver over a backend that holds nothing, made for one test. */
export interface DriverUnderTest {
  readonly driver: AnyVolumeDriver;
  /** Openers of the locators that the driver gives, by kind. */
  readonly devices: DeviceOpeners;
  /** A new driver over the same backend, as after a crash of the control plane: nothing of the old one's memory. */
  restart(): Promise<AnyVolumeDriver>;
  /** Removes the backend with all that is left on it. */
  cleanup(): Promise<void>;
}

/** Options of {@link startDriver}. */
export interface StartDriverOptions {
  /** Where relative paths of the configuration count from. Default: a new temporary directory, removed at the end. */
  readonly baseDirectory?: string;
  readonly cleanup?: () => Promise<void>;
}

/**
 * Makes a driver of its plug-in, the way the server does.
 *
 * @param config - what the configuration would say; it is validated by the plug-in's schema.
 */
export async function startDriver(
  plugin: Plugin<'driver'>,
  config: unknown = {},
  options: StartDriverOptions = {},
): Promise<DriverUnderTest> {
  const own = options.baseDirectory === undefined ? await mkdtemp(join(tmpdir(), 'conformance-')) : undefined;
  const context = {
    name: 'conformance',
    config,
    installationId: systemRandom.uuid(),
    baseDirectory: options.baseDirectory ?? own ?? tmpdir(),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  };
  return {
    driver: plugin.create(context),
    devices: { path: openPathDevice, ...plugin.devices },
    restart: async () => plugin.create(context),
    cleanup: async () => {
      await options.cleanup?.();
      if (own !== undefined) await rm(own, { recursive: true, force: true });
    },
  };
}
