import {
  createBlockStorage,
  definePlugin,
  ScoriaError,
  systemClock,
  systemRandom,
  type BlockStorage,
  type ExportRequest,
  type PluginConfiguration,
  type Transport,
} from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import availabilityZoneFilter from '@scoria/scheduler-weighers/availability-zone-filter';
import { createSqliteStore } from '@scoria/store-sql';
import { z } from 'zod';
import { createHttpServer, type HttpServerOptions } from '../src/http/server.ts';
import type { Authenticator } from '../src/http/authenticator.ts';

/** Projects of the callers that these tests know. */
export const projects = { red: 'aaaa0000', blue: 'bbbb0000', admin: 'cccc0000' } as const;
/** A caller; the name is also its token. */
export type Caller = keyof typeof projects;

const authenticator: Authenticator = {
  async authenticate(token) {
    for (const [name, projectId] of Object.entries(projects)) {
      if (name !== token) continue;
      return { userId: `user-${name}`, projectId, roles: [name === 'admin' ? 'admin' : 'member'], isAdmin: name === 'admin' };
    }
    throw new ScoriaError('not-authenticated', 'The token is not valid');
  },
};

/** Stands for an iSCSI target, which cannot open volumes that are only in memory: keeps a list of what it should export. */
export class ListedExports implements Transport {
  readonly reaches = ['memory'];
  readonly #exports = new Map<string, ExportRequest>();
  async start() {}
  async stop() {}
  async export(request: ExportRequest) {
    this.#exports.set(request.accessId, request);
  }
  async unexport(accessId: string) {
    this.#exports.delete(accessId);
  }
  async list() {
    return [...this.#exports.values()].map(({ accessId, volumeId, readOnly }) => ({
      accessId,
      volumeId,
      readOnly,
      complete: true,
      sessions: [],
    }));
  }
  async resize() {}
  async hold() {
    return null;
  }
  async release() {
    return { held: true };
  }
  async copy() {}
  connectionInfo({ accessId, secret }: ExportRequest) {
    return {
      driverVolumeType: 'iscsi',
      data: {
        target_iqn: `iqn.test:${accessId}`,
        target_portal: '127.0.0.1:3260',
        target_lun: 0,
        auth_method: 'CHAP',
        auth_password: secret,
      },
    };
  }
  async stats() {
    return [];
  }
}

const transport = definePlugin({
  name: 'listed',
  kind: 'transport',
  api: '^1.0',
  config: z.strictObject({}),
  create: () => new ListedExports(),
});

/** A request and its answer. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  // Tests look into answers that the description has been held against already.
  readonly body: any;
}

/** The options of one request. */
export interface Ask {
  readonly as?: Caller | undefined;
  /** Microversion; the newest unless said otherwise. */
  readonly version?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A whole service without sockets: real core and store, volumes in memory, every answer checked. */
export class TestService {
  readonly storage: BlockStorage;
  readonly http: ReturnType<typeof createHttpServer>;

  private constructor(storage: BlockStorage, http: ReturnType<typeof createHttpServer>) {
    this.storage = storage;
    this.http = http;
  }

  /** @param others - what the configuration has besides the backends in memory. */
  static async start(
    options: Partial<HttpServerOptions> = {},
    backends: readonly string[] = ['memory'],
    others: Pick<PluginConfiguration, 'backends' | 'transports'> = { backends: {} },
  ): Promise<TestService> {
    const backend = () => memoryDriver({ backend: new MemoryBackend({ backendId: systemRandom.uuid() }) });
    const storage = await createBlockStorage({
      store: createSqliteStore({ path: ':memory:' }),
      plugins: {
        backends: {
          ...Object.fromEntries(backends.map((name) => [name, { plugin: backend(), transport: 'listed' }])),
          ...others.backends,
        },
        transports: { listed: { plugin: transport }, ...others.transports },
        filters: [{ plugin: availabilityZoneFilter }],
      },
      accessKey: new Uint8Array(32),
      baseDirectory: '/',
      settings: { host: 'host' },
    });
    // Tests of quotas set their own.
    await storage.quotas.updateDefaults(
      { requestId: 'req-setup', userId: 'setup', projectId: projects.admin, roles: ['admin'], isAdmin: true },
      { volumes: -1, snapshots: -1 },
    );
    const http = createHttpServer({
      storage,
      authenticator,
      log: false,
      checkResponses: true,
      clock: systemClock,
      random: systemRandom,
      publicUrl: () => 'http://storage.test',
      ...options,
    });
    return new TestService(storage, http);
  }

  async stop(): Promise<void> {
    await this.http.close();
    await this.storage.stop();
  }

  /** Sends a request; a path that begins with `//` is taken as it is, others are below the caller's project. */
  async ask(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, ask: Ask = {}): Promise<Answer> {
    const { as = 'red', version = '3.71' } = ask;
    const response = await this.http.inject({
      method,
      url: path.startsWith('//') ? path.slice(1) : `/v3/${projects[as]}${path}`,
      headers: { 'x-auth-token': as, 'openstack-api-version': `volume ${version}`, ...ask.headers },
      ...(ask.body === undefined
        ? {}
        : {
            payload: JSON.stringify(ask.body),
            headers: {
              'x-auth-token': as,
              'openstack-api-version': `volume ${version}`,
              'content-type': 'application/json',
              ...ask.headers,
            },
          }),
    });
    const isJson = String(response.headers['content-type'] ?? '').includes('json');
    return {
      status: response.statusCode,
      headers: response.headers,
      body: isJson && response.body !== '' ? response.json() : response.body,
    };
  }

  /** Makes a volume and waits until it is available. */
  async volume(body: Readonly<Record<string, unknown>> = {}, ask: Ask = {}): Promise<string> {
    const made = await this.ask('POST', '/volumes', { ...ask, body: { volume: { size: 1, ...body } } });
    if (made.status !== 202) throw new Error(`no volume: ${JSON.stringify(made.body)}`);
    await this.settled(`/volumes/${made.body.volume.id}`, 'volume', ask);
    return made.body.volume.id;
  }

  /** Makes a snapshot and waits until it is available. */
  async snapshot(volumeId: string, body: Readonly<Record<string, unknown>> = {}, ask: Ask = {}): Promise<string> {
    const made = await this.ask('POST', '/snapshots', { ...ask, body: { snapshot: { volume_id: volumeId, ...body } } });
    if (made.status !== 202) throw new Error(`no snapshot: ${JSON.stringify(made.body)}`);
    await this.settled(`/snapshots/${made.body.snapshot.id}`, 'snapshot', ask);
    return made.body.snapshot.id;
  }

  /** Waits until a resource has left its transient status, or is gone; returns the status, `undefined` when it is gone. */
  async settled(path: string, key: string, ask: Ask = {}): Promise<string | undefined> {
    const deadline = performance.now() + 5000;
    for (;;) {
      const answer = await this.ask('GET', path, { as: ask.as });
      if (answer.status === 404) return undefined;
      const status: unknown = answer.body[key]?.status;
      if (typeof status === 'string' && !status.endsWith('ing')) return status;
      if (performance.now() > deadline) throw new Error(`${path} is still ${String(status)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
