import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  openPathDevice,
  systemClock,
  systemRandom,
  type AnyVolumeDriver,
  type DeviceOpeners,
  type Plugin,
  SystemExec,
} from '@scoria/core';
import { RecordingLog } from '../recording-log.ts';

/** A driver over a backend that holds nothing, made for one test. */
export interface DriverUnderTest {
  readonly driver: AnyVolumeDriver;
  /** Openers of the locators that the driver gives, by kind. */
  readonly devices: DeviceOpeners;
  /**
   * A new driver over the same backend, as after a crash of the control plane: nothing of the old one's memory.
   *
   * @param installationId - the driver belongs to this installation; default: the one that the first belongs to.
   */
  restart(installationId?: string): Promise<AnyVolumeDriver>;
  /** What the drivers log, to be searched for secrets. */
  readonly log?: RecordingLog;
  /** Values that must not be logged. */
  readonly secrets?: readonly string[];
  /** The backend outlives the check: what the check made is deleted at its end. Default: `false`. */
  readonly sweep?: boolean;
  /** Removes the backend with all that is left on it. */
  cleanup(): Promise<void>;
}

/** Options of {@link startDriver}. */
export interface StartDriverOptions {
  /** Where relative paths of the configuration count from. Default: a new temporary directory, removed at the end. */
  readonly baseDirectory?: string;
  readonly cleanup?: () => Promise<void>;
  /** UUID of the installation that the backend belongs to. Default: a new one. */
  readonly installationId?: string;
  /** See {@link DriverUnderTest.sweep}. */
  readonly sweep?: boolean;
}

const secretKey = /secret|password|passphrase|token|api_?key/i;

/** The strings in a configuration whose key says that they are secret. */
export function secretsOf(config: unknown, depth = 8): readonly string[] {
  if (typeof config !== 'object' || config === null || depth === 0) return [];
  return Object.entries(config).flatMap(([key, value]) =>
    typeof value === 'string' && value.length > 0 && secretKey.test(key) ? [value] : secretsOf(value, depth - 1),
  );
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
  const log = new RecordingLog();
  const context = {
    name: 'conformance',
    config,
    installationId: options.installationId ?? systemRandom.uuid(),
    baseDirectory: options.baseDirectory ?? own ?? tmpdir(),
    clock: systemClock,
    random: systemRandom,
    log,
    exec: new SystemExec({ clock: systemClock, log }),
  };
  return {
    log,
    secrets: secretsOf(config),
    sweep: options.sweep ?? false,
    driver: plugin.create(context),
    devices: { path: openPathDevice, ...plugin.devices },
    restart: async (installationId = context.installationId) => plugin.create({ ...context, installationId }),
    cleanup: async () => {
      await options.cleanup?.();
      if (own !== undefined) await rm(own, { recursive: true, force: true });
    },
  };
}
