import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type ConfigurationFault, ConfigurationFaults, ScoriaError, zodFaults } from '@scoria/core';
import { isMap, isNode, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import { parseAddress } from './address.ts';

const address = z
  .string()
  .refine((text) => parseAddress(text) !== undefined, 'must be host:port, with an IPv6 address in brackets');

const pluginFields = {
  plugin: z.string().min(1).describe("A package's name, or the path of a module; its default export is the plug-in"),
  config: z.unknown().optional().describe("The plug-in's own part"),
};

/** What a configuration file may say. All of it has defaults but the backends. */
export const configurationSchema = z.strictObject({
  listen: address.default('127.0.0.1:8776').describe('Address of the HTTP API'),
  publicUrl: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('URL under which clients reach the API, when it is not the address itself'),
  tls: z
    .strictObject({ certificate: z.string().min(1), key: z.string().min(1) })
    .optional()
    .describe('PEM files; needed to listen beyond loopback'),
  host: z
    .string()
    .regex(/^[\w.-]{1,255}$/)
    .optional()
    .describe("Host name in host strings; default: the machine's"),
  availabilityZone: z.string().min(1).max(255).default('nova').describe('Zone of backends that name none'),
  defaultVolumeType: z.string().min(1).max(255).default('__DEFAULT__').describe('Type of volumes that ask for none'),
  backends: z.record(
    z.string(),
    z.strictObject({
      ...pluginFields,
      transport: z.string().optional(),
      availabilityZone: z.string().min(1).max(255).optional(),
    }),
  ),
  transports: z.record(z.string(), z.strictObject(pluginFields)).default({}),
  scheduler: z
    .strictObject({
      filters: z.array(z.strictObject(pluginFields)).default([]),
      weighers: z.array(z.strictObject({ ...pluginFields, multiplier: z.number().default(1) })).default([]),
    })
    .default({ filters: [], weighers: [] }),
  volumeTypes: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(255),
        description: z.string().max(255).optional(),
        extraSpecs: z.record(z.string().min(1).max(255), z.string().max(255)).default({}),
      }),
    )
    .default([])
    .describe('Volume types made at the first start'),
  reconciliation: z
    .strictObject({
      intervalMinutes: z.number().positive().max(1440).nullable().default(5).describe('Between two runs; null: only when asked'),
      reservationHours: z.number().positive().default(24).describe('A reservation that is not completed by then is ended'),
      silenceHours: z.number().positive().default(24).describe('A connected attachment without a session for so long is told'),
      endSilent: z.boolean().default(false).describe('Ends such attachments, too'),
      garbageMinutes: z.number().min(10).default(10).describe('Least time for which an object is marked before it is removed'),
      strangerDays: z
        .number()
        .min(1)
        .nullable()
        .default(7)
        .describe('The same for an object that the store never knew; null: such an object is never removed'),
    })
    .prefault({})
    .describe('When differences between storage and service are looked for, and what is ended by itself'),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
      file: z
        .string()
        .min(1)
        .default('scoria.log')
        .describe('"-" is standard error; a relative path counts from the data directory'),
    })
    .default({ level: 'info', file: 'scoria.log' }),
});
/** See {@link configurationSchema}. */
export type Configuration = z.output<typeof configurationSchema>;

/** A configuration and where it came from. */
export interface ConfigurationSource {
  readonly configuration: Configuration;
  /** Modules are looked for from here. */
  readonly directory: string;
  /** Faults of parts that were left out of {@link configuration}; to be told with those that are found later. */
  readonly faults: readonly ConfigurationFault[];
  /** Adds file and line to an `invalid-configuration` error whose faults are paths; gives back any other error as it is. */
  locate(error: unknown): unknown;
}

/** Longest configuration file that is read, bytes. */
const longest = 1_048_576;

/** Reads a configuration file (YAML, so JSON too). `invalid-configuration` tells every fault with file, line and path. */
export async function readConfiguration(file: string): Promise<ConfigurationSource> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new ScoriaError(
      'invalid-configuration',
      `The configuration ${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
  if (text.length > longest)
    throw new ScoriaError('invalid-configuration', `The configuration ${file} has more than ${longest} bytes.`);
  return parseConfiguration(text, file, dirname(resolve(file)));
}

/** Parses the text of a configuration; `name` stands in errors. */
export function parseConfiguration(text: string, name: string, directory: string): ConfigurationSource {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const faults = document.errors.map((error) => `${name}:${lines.linePos(error.pos[0]).line}: ${error.message}`);
    throw new ScoriaError('invalid-configuration', `The configuration is not valid YAML:\n  ${faults.join('\n  ')}`);
  }
  const locate = (error: unknown): unknown =>
    error instanceof ScoriaError && error.cause instanceof ConfigurationFaults
      ? located(error.cause.faults, document, lines, name)
      : error;
  const given: unknown = document.toJS({ maxAliasCount: 100 }) ?? {};
  const parsed = configurationSchema.safeParse(given);
  if (parsed.success) return { configuration: parsed.data, directory, faults: [], locate };
  const faults = zodFaults(parsed.error, []);
  // The sound parts are looked at further, so that their faults are told in the same breath.
  const faulty = new Set(faults.map(({ path }) => path[0]));
  const sound = configurationSchema.safeParse(
    Object.fromEntries(Object.entries(Object(given)).filter(([key]) => !faulty.has(key))),
  );
  if (faulty.has(undefined) || !sound.success) throw located(faults, document, lines, name);
  return { configuration: sound.data, directory, faults, locate };
}

function located(faults: readonly ConfigurationFault[], document: Document, lines: LineCounter, name: string): ScoriaError {
  const told = faults.map(
    ({ path, message }) => `${name}:${lineOf(path, document, lines)}: ${path.join('.') || '(top)'}: ${message}`,
  );
  const count = `${faults.length} fault${faults.length === 1 ? '' : 's'}`;
  return new ScoriaError('invalid-configuration', `The configuration has ${count}:\n  ${told.join('\n  ')}`, {
    details: { faults },
  });
}

/** Line of the nearest thing on the way to `path` that the file has. */
function lineOf(path: readonly (string | number)[], document: Document, lines: LineCounter): number {
  for (let length = path.length; length > 0; length -= 1) {
    const parent: unknown = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    const node: unknown = isMap(parent)
      ? parent.items.find((pair) => isScalar(pair.key) && pair.key.value === key)?.key
      : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}
