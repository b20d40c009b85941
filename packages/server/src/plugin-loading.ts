import { createRequire } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { PluginConfiguration } from '@scoria/core';
import type { ConfigurationSource } from './configuration.ts';

/** Plug-ins that come with the server; a package of the same name beside the configuration goes before them. */
const ownPlugins: Readonly<Record<string, () => Promise<{ readonly default: unknown }>>> = {
  '@scoria/driver-file': () => import('@scoria/driver-file'),
  '@scoria/driver-lvm': () => import('@scoria/driver-lvm'),
  '@scoria/driver-iscsi': () => import('@scoria/driver-iscsi'),
  '@scoria/driver-iscsi/lio': () => import('@scoria/driver-iscsi/lio'),
  '@scoria/driver-iscsi/tgt': () => import('@scoria/driver-iscsi/tgt'),
  '@scoria/scheduler-weighers/availability-zone-filter': () => import('@scoria/scheduler-weighers/availability-zone-filter'),
  '@scoria/scheduler-weighers/capabilities-filter': () => import('@scoria/scheduler-weighers/capabilities-filter'),
  '@scoria/scheduler-weighers/capacity-filter': () => import('@scoria/scheduler-weighers/capacity-filter'),
  '@scoria/scheduler-weighers/capacity-weigher': () => import('@scoria/scheduler-weighers/capacity-weigher'),
  '@scoria/scheduler-weighers/allocated-capacity-weigher': () => import('@scoria/scheduler-weighers/allocated-capacity-weigher'),
};

/** Longest that a module may take to load, ms. */
const longestLoad = 30_000;

/**
 * Imports every module that a configuration names. What cannot be imported becomes a fault like any other of the configuration.
 *
 * @param patience - longest that one may take, ms.
 */
export async function loadPlugins(source: ConfigurationSource, patience = longestLoad): Promise<PluginConfiguration> {
  const { backends, transports, scheduler } = source.configuration;
  const load = async <Entry extends { readonly plugin: string }>(entry: Entry) => {
    try {
      return { ...entry, plugin: await soon(importPlugin(entry.plugin, source.directory), patience) };
    } catch (error) {
      const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
      return { ...entry, plugin: new Error(`${entry.plugin} cannot be loaded: ${reason}`, { cause: error }) };
    }
  };
  const loadAll = async <Entry extends { readonly plugin: string }>(entries: Readonly<Record<string, Entry>>) =>
    Object.fromEntries(
      await Promise.all(Object.entries(entries).map(async ([name, entry]) => [name, await load(entry)] as const)),
    );
  return {
    faults: source.faults,
    backends: await loadAll(backends),
    transports: await loadAll(transports),
    filters: await Promise.all(scheduler.filters.map(load)),
    weighers: await Promise.all(scheduler.weighers.map(load)),
  };
}

async function importPlugin(name: string, directory: string): Promise<unknown> {
  const own = ownPlugins[name];
  let file: string;
  try {
    file =
      name.startsWith('.') || isAbsolute(name)
        ? resolve(directory, name)
        : createRequire(join(directory, 'configuration')).resolve(name);
  } catch (error) {
    if (own) return (await own()).default;
    throw error;
  }
  const module: unknown = await import(pathToFileURL(file).href);
  return typeof module === 'object' && module !== null && 'default' in module ? module.default : undefined;
}

/** Waits for a module. The timer keeps the process alive: one that waits for nothing else would end without a word. */
async function soon<T>(loaded: Promise<T>, patience: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`it was still loading after ${patience} ms`)), patience);
  try {
    return await Promise.race([loaded, promise]);
  } finally {
    clearTimeout(timer);
  }
}
