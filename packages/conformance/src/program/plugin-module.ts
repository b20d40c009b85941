import { readFile } from 'node:fs/promises';
import { createRequire, findPackageJSON } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isPlugin, type Plugin, type PluginKind } from '@scoria/core';
import type { Connect } from '../transport/transport-under-test.ts';

/** A plug-in and what its package is called. */
export interface PluginModule {
  readonly plugin: Plugin;
  readonly name: string;
  readonly version: string;
}

/** Largest configuration that is read, bytes. */
const configLimit = 1024 * 1024;

/** Imports a plug-in by the name of its package, or by the path of a file. Rejects with an `Error` that names what is wrong. */
export async function importPlugin(name: string, directory: string): Promise<PluginModule> {
  const file = fileOf(name, directory);
  const plugin = await defaultExport(file);
  if (!isPlugin(plugin)) throw new Error(`${name} does not export by default what definePlugin() returned`);
  const manifest = findPackageJSON(pathToFileURL(file));
  const described: unknown = manifest === undefined ? {} : JSON.parse(await readFile(manifest, 'utf8'));
  return { plugin, name: plugin.name, version: versionOf(described) };
}

/** Whether a plug-in is of a kind. */
export function isOfKind<K extends PluginKind>(plugin: Plugin, kind: K): plugin is Plugin<K> {
  return plugin.kind === kind;
}

/** Imports the client of a transport. */
export async function importClient(file: string, directory: string): Promise<Connect> {
  const connect = await defaultExport(fileOf(file, directory));
  if (!isConnect(connect)) throw new Error(`${file} does not export a function by default`);
  return connect;
}

/** Reads a configuration. It is validated by the plug-in's own schema later. */
export async function readConfig(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8');
  if (text.length > configLimit) throw new Error(`${file} is larger than ${configLimit} bytes`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function fileOf(name: string, directory: string): string {
  if (name.startsWith('.') || isAbsolute(name)) return resolve(directory, name);
  try {
    return createRequire(join(directory, 'package.json')).resolve(name);
  } catch (error) {
    // It is resolved as require() does, which knows no condition "import".
    if (error instanceof Error && 'code' in error && error.code === 'ERR_PACKAGE_PATH_NOT_EXPORTED')
      throw new Error(`Package ${name} has no "default" among its "exports": ${error.message}`, { cause: error });
    throw new Error(`Package ${name} is not installed where the program was started`, { cause: error });
  }
}

async function defaultExport(file: string): Promise<unknown> {
  const module: unknown = await import(pathToFileURL(file).href);
  return typeof module === 'object' && module !== null && 'default' in module ? module.default : undefined;
}

function versionOf(manifest: unknown): string {
  const found = typeof manifest === 'object' && manifest !== null && 'version' in manifest ? manifest.version : undefined;
  return typeof found === 'string' ? found : '0.0.0';
}

function isConnect(value: unknown): value is Connect {
  return typeof value === 'function';
}
