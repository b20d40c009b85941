import type { z } from 'zod';
import type { DeviceOpener } from '../device/device-locator.ts';
import type { Clock } from '../platform/clock.ts';
import type { Exec } from '../platform/exec.ts';
import type { Log } from '../platform/log.ts';
import type { Random } from '../platform/random.ts';
import type { PoolFilter } from '../scheduling/pool-filter.ts';
import type { PoolWeigher } from '../scheduling/pool-weigher.ts';
import type { AnyTransport } from '../transport/transport.ts';
import type { AnyVolumeDriver, DriverCapability } from '../volume/driver.ts';

/** Version of the contracts in this package. A plug-in declares the range that it was written for. */
export const contractVersion = '1.0.0';

/** What a plug-in of each kind makes. */
export interface PluginKinds {
  driver: AnyVolumeDriver;
  transport: AnyTransport;
  'pool-filter': PoolFilter;
  'pool-weigher': PoolWeigher;
}
/** The kinds of plug-in. */
export type PluginKind = keyof PluginKinds;

/** What a plug-in is given to make its thing; nothing else reaches it. */
export interface PluginContext<Config> {
  /** Name under which the configuration lists it, for example the backend's name. */
  readonly name: string;
  /** Its own part of the configuration, validated by its schema. */
  readonly config: Config;
  /** UUID of this installation of Scoria; goes onto the backend beside the backend's own id. */
  readonly installationId: string;
  /** Relative paths in the configuration are meant from here. Absolute. */
  readonly baseDirectory: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly exec: Exec;
}

const mark: unique symbol = Symbol.for('@scoria/core/plugin');

/** A plug-in: a value that its package exports by default. Made by {@link definePlugin}. */
export interface Plugin<K extends PluginKind = PluginKind> {
  readonly [mark]: true;
  /** For messages; the package's own name is usual. */
  readonly name: string;
  readonly kind: K;
  /** Range of contract versions it works with, for example `^1.0`. */
  readonly api: string;
  readonly config: z.ZodType;
  /** Drivers only: the optional groups that the driver implements. */
  readonly capabilities: readonly DriverCapability[];
  /** Drivers only: openers of the locator kinds that it brings; usable in the same process. */
  readonly devices: Readonly<Record<string, DeviceOpener>>;
  /** Drivers only: kind of the locators that the driver gives. */
  readonly locates: string;
  create(context: PluginContext<unknown>): PluginKinds[K];
}

/** What an author writes. */
export interface PluginDefinition<K extends PluginKind, Schema extends z.ZodType> {
  readonly name: string;
  readonly kind: K;
  readonly api: string;
  /** Schema of the plug-in's own part of the configuration. */
  readonly config: Schema;
  readonly capabilities?: readonly DriverCapability[];
  readonly devices?: Readonly<Record<string, DeviceOpener>>;
  /** Default: `path`. Another kind needs an opener in {@link devices}. */
  readonly locates?: string;
  /** Makes the thing. No I/O here: a driver's belongs into `check`, a transport's into `start`. */
  create(context: PluginContext<z.output<Schema>>): PluginKinds[K];
}

/**
 * Makes a plug-in of its definition.
 *
 * @example
 * export default definePlugin({
 *   name: '@acme/scoria-driver', kind: 'driver', api: '^1.0',
 *   config: z.strictObject({ address: z.url() }),
 *   create: (context) => new AcmeDriver(context.config.address),
 * });
 */
export function definePlugin<K extends PluginKind, Schema extends z.ZodType>(definition: PluginDefinition<K, Schema>): Plugin<K> {
  return {
    [mark]: true,
    name: definition.name,
    kind: definition.kind,
    api: definition.api,
    config: definition.config,
    capabilities: definition.capabilities ?? [],
    devices: definition.devices ?? {},
    locates: definition.locates ?? 'path',
    create: (context) => definition.create({ ...context, config: definition.config.parse(context.config) as z.output<Schema> }),
  };
}

/** Whether a value that some package exports is a plug-in; true also for one made by another copy of this package. */
export function isPlugin(value: unknown): value is Plugin {
  return typeof value === 'object' && value !== null && mark in value;
}
