import type { LimitSupport, MirrorSupport, PointInTimeSupport, Transport } from '../transport/transport.ts';
import { capabilityMethods, type DriverCapability, type VolumeDriver } from '../volume/driver.ts';
import type { PoolFilter } from '../scheduling/pool-filter.ts';
import type { PoolWeigher } from '../scheduling/pool-weigher.ts';
import type { Plugin, PluginKind } from './plugin.ts';

const driverVerbs: Readonly<Record<keyof VolumeDriver, true>> = {
  check: true,
  pools: true,
  create: true,
  delete: true,
  extend: true,
  createSnapshot: true,
  deleteSnapshot: true,
  list: true,
  locate: true,
};
const transportVerbs: Readonly<Record<Exclude<keyof Transport, 'reaches'>, true>> = {
  start: true,
  stop: true,
  export: true,
  unexport: true,
  list: true,
  resize: true,
  connectionInfo: true,
  stats: true,
};
const filterVerbs: Readonly<Record<keyof PoolFilter, true>> = { verdict: true };
const weigherVerbs: Readonly<Record<keyof PoolWeigher, true>> = { weigh: true };

/** The methods that a thing of each kind has. */
const verbs: Readonly<Record<PluginKind, readonly string[]>> = {
  driver: Object.keys(driverVerbs),
  transport: Object.keys(transportVerbs),
  'pool-filter': Object.keys(filterVerbs),
  'pool-weigher': Object.keys(weigherVerbs),
};

const pointInTime: Readonly<Record<keyof PointInTimeSupport, true>> = { hold: true, release: true, copy: true };
const mirror: Readonly<Record<keyof MirrorSupport, true>> = { mirror: true, commitMirror: true, endMirror: true };
const limit: Readonly<Record<keyof LimitSupport, true>> = { limit: true };

/** The optional groups of transports: a group is there when all its methods are. */
const transportGroups: readonly (readonly [name: string, methods: readonly string[]])[] = [
  ['point-in-time', Object.keys(pointInTime)],
  ['mirror', Object.keys(mirror)],
  ['limit', Object.keys(limit)],
];

/** Where work belongs that needs time, which `create` has none of. */
const later: Readonly<Record<PluginKind, string>> = {
  driver: 'what takes time belongs into check()',
  transport: 'what takes time belongs into start()',
  'pool-filter': 'a filter does not wait for anything',
  'pool-weigher': 'a weigher does not wait for anything',
};

/** What is wrong with a plug-in as it is defined, in words that name it; nothing when all is well. */
export function definitionFaults({ name, kind, config, capabilities, locates, devices }: Plugin): string[] {
  // Plug-ins without types are whatever their authors wrote.
  if (typeof name !== 'string' || name === '')
    return ['this plug-in has no name: definePlugin() takes one, usually that of its package'];
  const faults: string[] = [];
  if (typeof config !== 'object' || config === null || !('safeParse' in config))
    faults.push(
      `${name} has no schema of its configuration: "config" is one of zod, z.strictObject({}) where there is nothing to configure`,
    );
  const known = Object.keys(capabilityMethods);
  for (const capability of capabilities.filter((each) => !known.includes(each)))
    faults.push(`${name} declares "${capability}", which is no capability; capabilities are: ${known.join(', ')}`);
  if (kind === 'driver' && locates !== 'path' && !Object.hasOwn(devices, locates))
    faults.push(
      `${name} gives locators of kind "${locates}" and brings nothing that opens them: "devices" has an opener of that kind`,
    );
  return faults;
}

/** What a thing that a plug-in made lacks of its kind, in words that name the plug-in; nothing when all is well. */
export function shapeFaults(plugin: Plugin, made: unknown): string[] {
  const { name, kind } = plugin;
  if (made instanceof Promise) return [`${name} makes a promise of a ${kind}: create() is not async, and ${later[kind]}`];
  if (typeof made !== 'object' || made === null)
    return [`${name} makes ${String(made)} where a ${kind} is needed: create() returns it`];
  const has = (method: string) => typeof Reflect.get(made, method) === 'function';
  const missing = verbs[kind].filter((verb) => !has(verb));
  const faults = missing.length > 0 ? [`${name} makes a ${kind} without ${calls(missing)}, which every ${kind} has`] : [];
  if (kind === 'driver') faults.push(...capabilityFaults(name, plugin.capabilities, has));
  if (kind === 'transport') faults.push(...transportFaults(name, made, has));
  return faults;
}

function capabilityFaults(name: string, declared: readonly DriverCapability[], has: (method: string) => boolean): string[] {
  return Object.entries(capabilityMethods).flatMap(([capability, methods]) => {
    const promised = declared.some((each) => each === capability);
    return methods
      .filter((method) => has(method) !== promised)
      .map((method) =>
        promised
          ? `${name} declares "${capability}" but has no ${method}()`
          : `${name} has ${method}() but does not declare "${capability}"`,
      );
  });
}

function transportFaults(name: string, made: object, has: (method: string) => boolean): string[] {
  const reaches: unknown = Reflect.get(made, 'reaches');
  const faults = Array.isArray(reaches)
    ? []
    : [`${name} makes a transport without "reaches", the kinds of locators that it opens`];
  for (const [group, methods] of transportGroups) {
    const missing = methods.filter((method) => !has(method));
    if (missing.length === 0 || missing.length === methods.length) continue;
    faults.push(`${name} has ${calls(methods.filter(has))} but no ${calls(missing)}: "${group}" needs all of them`);
  }
  return faults;
}

function calls(methods: readonly string[]): string {
  return methods.map((method) => `${method}()`).join(', ');
}
