import semver from 'semver';
import { z } from 'zod';
import { openPathDevice } from '../device/path-device.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Clock } from '../platform/clock.ts';
import type { Exec } from '../platform/exec.ts';
import type { Log } from '../platform/log.ts';
import type { Random } from '../platform/random.ts';
import { Guard } from './guard.ts';
import { guardDriver } from './guarded-driver.ts';
import { guardFilter, guardWeigher } from './guarded-scheduling.ts';
import { guardTransport } from './guarded-transport.ts';
import { definitionFaults, shapeFaults } from './plugin-shape.ts';
import { contractVersion, isPlugin, type Plugin, type PluginContext, type PluginKind, type PluginKinds } from './plugin.ts';
import type { ConfiguredBackend, Plugins } from './plugins.ts';

/** One plug-in as it is configured. */
export interface PluginEntry {
  /** The plug-in itself, or whatever a package exported in its place, or the error that kept it from being loaded. */
  readonly plugin: unknown;
  /** The plug-in's own part, not yet validated. Default: `{}`. */
  readonly config?: unknown;
}

/** What an instance of Scoria is made of. */
export interface PluginConfiguration {
  /** By name; the name is the backend's label in host strings. */
  readonly backends: Readonly<
    Record<string, PluginEntry & { readonly transport?: string | undefined; readonly availabilityZone?: string | undefined }>
  >;
  readonly transports?: Readonly<Record<string, PluginEntry>> | undefined;
  readonly filters?: readonly PluginEntry[] | undefined;
  readonly weighers?: readonly (PluginEntry & { readonly multiplier?: number | undefined })[] | undefined;
  /** Faults that whoever read the configuration has found already; they are told with the others. */
  readonly faults?: readonly ConfigurationFault[] | undefined;
}

/** A fault of a configuration: where, as a path of keys, and what. */
export interface ConfigurationFault {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Thrown as the cause of `invalid-configuration`, so that whoever read the file can add lines to the paths. */
export class ConfigurationFaults extends Error {
  readonly faults: readonly ConfigurationFault[];
  constructor(faults: readonly ConfigurationFault[]) {
    super(faults.map((fault) => `${fault.path.join('.')}: ${fault.message}`).join('\n'));
    this.faults = faults;
  }
}

/** Makes the `invalid-configuration` error of some faults. */
export function configurationError(faults: readonly ConfigurationFault[]): ScoriaError {
  const cause = new ConfigurationFaults(faults);
  return new ScoriaError(
    'invalid-configuration',
    `The configuration has ${faults.length} fault${faults.length === 1 ? '' : 's'}:\n${cause.message}`,
    { cause },
  );
}

/** Says of every issue that zod found where it is and what; each unknown key stands for itself. */
export function zodFaults(error: z.ZodError, path: readonly (string | number)[]): ConfigurationFault[] {
  return error.issues.flatMap((issue) => {
    const at = [...path, ...issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))];
    if (issue.code !== 'unrecognized_keys') return [{ path: at, message: issue.message }];
    return issue.keys.map((key) => ({ path: [...at, key], message: 'there is no such setting' }));
  });
}

/** What plug-ins are made with, besides their own configuration. */
export interface PluginSurroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly exec: Exec;
  readonly installationId: string;
  readonly baseDirectory: string;
  /** Zone of backends that name none. */
  readonly availabilityZone: string;
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/**
 * Makes every configured plug-in and puts core's guard around it. Reports all faults together, as
 * `invalid-configuration`: things that are no plug-ins, of another kind than their place asks for, built for another
 * version of the contracts, with a faulty configuration, without what their kind must have, with capabilities that the
 * driver does not have, and names that fit nothing.
 */
export function makePlugins(configuration: PluginConfiguration, surroundings: PluginSurroundings): Plugins {
  const faults: ConfigurationFault[] = [...(configuration.faults ?? [])];
  const fault = (path: readonly (string | number)[], message: string) => void faults.push({ path, message });

  function make<K extends PluginKind>(kind: K, name: string, entry: PluginEntry, path: readonly (string | number)[]) {
    const plugin = checkPlugin(kind, entry.plugin);
    if (typeof plugin === 'string') return void fault([...path, 'plugin'], plugin);
    try {
      const config = plugin.config.safeParse(entry.config ?? {});
      if (!config.success) return void faults.push(...zodFaults(config.error, [...path, 'config']));
      const context: PluginContext<unknown> = { ...surroundings, name, config: entry.config ?? {} };
      const made = plugin.create(context);
      const lacks = shapeFaults(plugin, made);
      if (lacks.length === 0) return { plugin, made };
      return void lacks.forEach((lack) => fault([...path, 'plugin'], lack));
    } catch (error) {
      return void fault(path, `${plugin.name} could not be made: ${ScoriaError.from(error).message}`);
    }
  }
  const guard = (name: string, fallback: 'backend-failed' | 'transport-failed') =>
    new Guard(name, surroundings.clock, surroundings.log, fallback);

  const transports = new Map<string, { name: string; transport: PluginKinds['transport']; locators: readonly string[] }>();
  for (const [name, entry] of Object.entries(configuration.transports ?? {})) {
    const made = make('transport', name, entry, ['transports', name]);
    if (made)
      transports.set(name, {
        name,
        transport: guardTransport(made.made, guard(`transport ${name}`, 'transport-failed')),
        locators: made.made.reaches,
      });
  }

  const backends: ConfiguredBackend[] = [];
  for (const [name, entry] of Object.entries(configuration.backends)) {
    const path = ['backends', name];
    if (!namePattern.test(name))
      fault(path, `a backend's name is 1 to 63 letters, digits, dots, underscores or hyphens, and begins with a letter or digit`);
    const made = make('driver', name, entry, path);
    const known = entry.transport === undefined || entry.transport in (configuration.transports ?? {});
    if (!known)
      fault(
        [...path, 'transport'],
        `there is no transport ${entry.transport}; transports are: ${Object.keys(configuration.transports ?? {}).join(', ') || 'none'}`,
      );
    if (!made) continue;
    const transport = entry.transport === undefined ? undefined : transports.get(entry.transport);
    if (transport && !transport.locators.includes(made.plugin.locates)) {
      fault(
        [...path, 'transport'],
        `${entry.transport} opens ${transport.locators.join(', ')}, while ${made.plugin.name} gives ${made.plugin.locates}`,
      );
    }
    backends.push({
      name,
      availabilityZone: entry.availabilityZone ?? surroundings.availabilityZone,
      driver: guardDriver(made.made, guard(`backend ${name}`, 'backend-failed'), made.plugin.locates),
      driverCapabilities: made.plugin.capabilities,
      openers: { path: openPathDevice, ...made.plugin.devices },
      transport: transport?.transport ?? null,
    });
  }
  if (Object.keys(configuration.backends).length === 0) fault(['backends'], 'at least one backend is needed');

  /** Verdicts and weights are told by name, so a name stands for one thing. */
  const once = (names: Set<string>, name: string, path: readonly (string | number)[]) => {
    if (names.has(name)) fault(path, `${name} stands here twice`);
    names.add(name);
  };
  const filterNames = new Set<string>();
  const filters = (configuration.filters ?? []).flatMap((entry, index) => {
    const path = ['scheduler', 'filters', index];
    const made = make('pool-filter', `filters[${index}]`, entry, path);
    if (!made) return [];
    once(filterNames, made.plugin.name, path);
    return [{ name: made.plugin.name, filter: guardFilter(made.plugin.name, made.made, surroundings.log) }];
  });
  const weigherNames = new Set<string>();
  const weighers = (configuration.weighers ?? []).flatMap((entry, index) => {
    const path = ['scheduler', 'weighers', index];
    const made = make('pool-weigher', `weighers[${index}]`, entry, path);
    if (!made) return [];
    once(weigherNames, made.plugin.name, path);
    return [
      {
        name: made.plugin.name,
        weigher: guardWeigher(made.plugin.name, made.made, surroundings.log),
        multiplier: entry.multiplier ?? 1,
      },
    ];
  });

  if (faults.length > 0) throw configurationError(faults);
  return {
    backends,
    transports: [...transports.values()].map(({ name, transport }) => ({ name, transport })),
    filters,
    weighers,
  };
}

/** The plug-in, or what keeps the value from being one of that kind. */
function checkPlugin<K extends PluginKind>(kind: K, value: unknown): Plugin<K> | string {
  if (value instanceof Error) return value.message;
  if (!isPlugin(value)) return 'this is no plug-in: its package must export by default what definePlugin() returned';
  const [faulty] = definitionFaults(value);
  if (faulty !== undefined) return faulty;
  if (semver.validRange(value.api) === null)
    return `${value.name} declares the contract range "${value.api}", which is no semver range`;
  if (!semver.satisfies(contractVersion, value.api)) {
    const remedy = semver.ltr(contractVersion, value.api) ? 'a later Scoria, or an earlier' : 'a later';
    return `${value.name} was built for version ${value.api} of the contracts, this is ${contractVersion}: install ${remedy} version of ${value.name}`;
  }
  if (value.kind !== kind) return `${value.name} is a ${value.kind}, and a ${kind} is needed here`;
  return value as unknown as Plugin<K>;
}
