import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createBlockStorage,
  defaultReconciliationSettings,
  makePlugins,
  type BackendState,
  type BlockStorage,
  type ReconciliationSettings,
  ScoriaError,
  silentLog,
  systemClock,
  systemRandom,
  noExec,
} from '@scoria/core';
import { createLocalIdentity, openrc, passwordInOpenrc } from '@scoria/identity-local';
import { createSqliteStore } from '@scoria/store-sql';
import { z } from 'zod';
import { formatAddress, isLoopback, parseAddress } from './address.ts';
import { parseConfiguration, readConfiguration, type ConfigurationSource } from './configuration.ts';
import { DataDirectory } from './data-directory.ts';
import { defaultConfiguration } from './default-configuration.ts';
import { createHttpServer } from './http/server.ts';
import { loadPlugins } from './plugin-loading.ts';
import { openLog } from './service-log.ts';

/** What the command line says; it goes before the configuration. */
export interface ServeOptions {
  readonly dataDirectory: string;
  /** `host:port` of the HTTP API. */
  readonly listen?: string | undefined;
  /** `host:port` of the embedded iSCSI target. */
  readonly iscsiListen?: string | undefined;
  /** File to read the configuration from. Default: the built-in one. */
  readonly configurationFile?: string | undefined;
  /** Checks every answer of the API against its description. For tests. */
  readonly checkResponses?: boolean | undefined;
}

/** A configured backend at the start of the service. */
export interface StartedBackend {
  readonly name: string;
  /** Why it is not in service, with what to do. */
  readonly fault: BackendState['fault'];
  /** Its pools in trouble. */
  readonly poolFaults: readonly { readonly pool: string; readonly message: string; readonly remedy: string }[];
}

/** A configured transport. */
export interface StartedTarget {
  /** Its name in the configuration. */
  readonly name: string;
  /** Where it listens, as far as the configuration says. */
  readonly addresses: readonly string[];
}

/** A service that runs. */
export interface Running {
  readonly url: string;
  readonly dataDirectory: string;
  readonly openrcFile: string;
  readonly logFile: string;
  readonly backends: readonly StartedBackend[];
  readonly targets: readonly StartedTarget[];
  /** Whether this start made the installation. */
  readonly firstStart: boolean;
  readonly storage: BlockStorage;
  /** Finishes requests under way, interrupts work so that the next start goes on with it, and lets go of everything. */
  stop(): Promise<void>;
}

const iscsiTransport = 'iscsi';

/** Starts the whole service in this process. What it cannot use is a `ScoriaError` that names what to do; then nothing is left running. */
export async function serve(options: ServeOptions): Promise<Running> {
  const source = await configurationOf(options);
  const { configuration } = source;
  const address = parseAddress(configuration.listen);
  if (!address) throw new ScoriaError('invalid-configuration', `${configuration.listen} is no host:port.`);
  if (!isLoopback(address.host) && !configuration.tls) {
    throw new ScoriaError(
      'insecure-listen',
      `The API would listen on ${configuration.listen} without TLS, where others could read passwords and tokens.`,
    );
  }
  const tls = configuration.tls && {
    cert: await readFile(resolve(source.directory, configuration.tls.certificate)),
    key: await readFile(resolve(source.directory, configuration.tls.key)),
  };
  const plugins = await loadPlugins(source);
  try {
    // Made only to find every fault before anything is touched; what serves is made with the store open.
    makePlugins(plugins, {
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      exec: noExec,
      installationId: systemRandom.uuid(),
      baseDirectory: resolve(options.dataDirectory),
      availabilityZone: configuration.availabilityZone,
    });
  } catch (error) {
    throw source.locate(error);
  }

  const cleanUp: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (const step of cleanUp.splice(0).toReversed()) await step();
  };
  try {
    const directory = await DataDirectory.open(options.dataDirectory);
    cleanUp.push(() => directory.close());
    const { log, logFile } = openLog(configuration.log, directory.path);
    cleanUp.push(() => log.flush());

    const identity = await createLocalIdentity({
      file: directory.file('identity.json'),
      clock: systemClock,
      random: systemRandom,
    });
    const host = configuration.host ?? hostname();
    const storage = await createBlockStorage({
      store: createSqliteStore({ path: directory.file('scoria.db') }),
      plugins,
      accessKey: await directory.accessKey(),
      baseDirectory: directory.path,
      log,
      // The lock on the data directory is the proof.
      worker: { alone: true },
      settings: {
        host,
        availabilityZone: configuration.availabilityZone,
        defaultVolumeType: configuration.defaultVolumeType,
        firstVolumeTypes: configuration.volumeTypes,
        reconciliation: reconciliationSettings(configuration),
      },
    }).catch((error: unknown) => {
      throw source.locate(error);
    });
    cleanUp.push(() => storage.stop());

    const { publicUrl } = configuration;
    const http = createHttpServer({
      storage,
      identity,
      authenticator: identity,
      log,
      clock: systemClock,
      random: systemRandom,
      checkResponses: options.checkResponses,
      openApiFile: new URL('../openapi.json', import.meta.url),
      ...(publicUrl !== undefined && { publicUrl: () => publicUrl.replace(/\/+$/, '') }),
      ...(tls && { tls }),
    });
    cleanUp.push(() => http.close());
    const bound = await http.listen({ host: address.host, port: address.port }).catch((error: unknown) => {
      throw listenError(configuration.listen, error);
    });
    const url = publicUrl ?? bound;
    await writeOpenrc(directory, url, identity);
    return {
      url,
      dataDirectory: directory.path,
      openrcFile: directory.file('openrc'),
      logFile,
      backends: await startedBackends(storage, host, Object.keys(configuration.backends)),
      targets: startedTargets(configuration),
      firstStart: identity.initialPassword !== undefined,
      storage,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function configurationOf(options: ServeOptions): Promise<ConfigurationSource> {
  const source = options.configurationFile
    ? await readConfiguration(options.configurationFile)
    : parseConfiguration(defaultConfiguration, 'built-in configuration', fileURLToPath(new URL('.', import.meta.url)));
  for (const [name, text] of [
    ['--listen', options.listen],
    ['--iscsi-listen', options.iscsiListen],
  ] as const) {
    if (text !== undefined && !parseAddress(text)) {
      throw new ScoriaError('invalid-configuration', `${name} ${text} is no host:port.`, {
        remedy: `Write it like ${name} 127.0.0.1:8776.`,
      });
    }
  }
  const configuration = { ...source.configuration, ...(options.listen !== undefined && { listen: options.listen }) };
  if (options.iscsiListen !== undefined) {
    const transport = configuration.transports[iscsiTransport];
    if (!transport) {
      throw new ScoriaError(
        'invalid-configuration',
        `--iscsi-listen needs a transport named "${iscsiTransport}" in the configuration, which has none.`,
      );
    }
    const config = typeof transport.config === 'object' && transport.config !== null ? transport.config : {};
    configuration.transports = {
      ...configuration.transports,
      [iscsiTransport]: { ...transport, config: { ...config, listen: [options.iscsiListen] } },
    };
  }
  return { ...source, configuration };
}

async function startedBackends(storage: BlockStorage, host: string, names: readonly string[]): Promise<StartedBackend[]> {
  const context = { requestId: `req-${systemRandom.uuid()}`, userId: 'scoria', projectId: '', roles: ['admin'], isAdmin: true };
  const states = await storage.backends.list(context);
  return names.map((name) => {
    const { fault = null, pools = [] } = states.find((state) => state.host === `${host}@${name}`) ?? {};
    const poolFaults = pools.flatMap((pool) => (pool.fault ? [{ pool: pool.name, ...pool.fault }] : []));
    return { name, fault, poolFaults };
  });
}

/** The transports of this project, and others that do alike, are told their addresses by `listen`. */
const listening = z.looseObject({ listen: z.array(z.string()) });

function startedTargets({ transports }: ConfigurationSource['configuration']): StartedTarget[] {
  return Object.entries(transports).map(([name, { config }]) => {
    const { data } = listening.safeParse(config);
    return { name, addresses: data?.listen ?? [] };
  });
}

const minute = 60_000;
const hour = 60 * minute;

function reconciliationSettings({ reconciliation }: ConfigurationSource['configuration']): ReconciliationSettings {
  const { intervalMinutes, reservationHours, silenceHours, endSilent, garbageMinutes, strangerDays } = reconciliation;
  return {
    ...defaultReconciliationSettings,
    interval: intervalMinutes === null ? null : intervalMinutes * minute,
    reservationLease: reservationHours * hour,
    silence: silenceHours * hour,
    endSilent,
    garbageGrace: garbageMinutes * minute,
    strangerGrace: strangerDays === null ? null : strangerDays * 24 * hour,
  };
}

/** `openrc` holds the one copy of the administrator's password, so it is kept when only the URL has changed. */
async function writeOpenrc(
  directory: DataDirectory,
  url: string,
  identity: { readonly initialPassword: string | undefined; resetPassword(user: string): Promise<string> },
): Promise<void> {
  const present = await directory.read('openrc');
  const known = identity.initialPassword ?? (present === null ? undefined : passwordInOpenrc(present));
  const password = known ?? (await identity.resetPassword('admin'));
  const text = openrc({ authUrl: `${url}/identity/v3`, userName: 'admin', password, projectName: 'admin' });
  if (text !== present) await directory.writePrivate('openrc', text);
}

function listenError(listen: string, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const address = parseAddress(listen);
  if (code === 'EADDRINUSE' && address) {
    return new ScoriaError('address-in-use', `Something listens on ${formatAddress(address)} already, so the API cannot.`, {
      cause: error,
      remedy: 'Stop it, or choose another address with --listen HOST:PORT.',
    });
  }
  if (code === 'EADDRNOTAVAIL' || code === 'EACCES' || code === 'ENOTFOUND') {
    return new ScoriaError(
      'invalid-configuration',
      `The API cannot listen on ${listen}: ${error instanceof Error ? error.message : ''}.`,
      {
        cause: error,
        remedy: 'Choose an address of this machine with --listen HOST:PORT.',
      },
    );
  }
  return error;
}
