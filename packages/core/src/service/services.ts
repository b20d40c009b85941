import { ScoriaError } from '../error/scoria-error.ts';
import type { BackendStates } from '../placement/backend-states.ts';
import { silenceSince } from '../placement/backend.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { Settings, WorkerSettings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Store } from '../store/store.ts';
import type { RequestContext } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import type { Service } from './service.ts';

/** The running services, for operators. A volume service is one backend; disabling it keeps new volumes away from it. */
@wired(tokens.Store, tokens.BackendStates, tokens.Clock, tokens.Log, tokens.Settings, tokens.WorkerSettings)
export class Services {
  readonly #store: Store;
  readonly #backends: BackendStates;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #settings: Settings;
  readonly #scheduling: boolean;
  #timer: Disposable | null = null;
  #beating: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(store: Store, backends: BackendStates, clock: Clock, log: Log, settings: Settings, worker: WorkerSettings) {
    this.#store = store;
    this.#backends = backends;
    this.#clock = clock;
    this.#log = log;
    this.#settings = settings;
    this.#scheduling = worker.roles.includes('scheduler');
  }

  async start(): Promise<void> {
    if (!this.#scheduling) return;
    const { host, availabilityZone } = this.#settings;
    const beat = () =>
      this.#store.transaction(({ services }) =>
        services.beat({ binary: 'cinder-scheduler', host, availabilityZone, seenAt: this.#clock.now() }),
      );
    const again = () => {
      this.#timer = this.#clock.timer(this.#settings.reportInterval, () => {
        this.#beating = beat()
          .catch((error: unknown) => this.#log.warn({ err: error }, 'the scheduler could not leave a sign of life'))
          .finally(() => {
            if (!this.#stopped) again();
          });
      });
    };
    await beat();
    again();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.[Symbol.dispose]();
    await this.#beating;
  }

  /** All services. One that has been silent for long is `down`, and so is the service of a backend that is out of order. */
  async list(context: RequestContext): Promise<readonly (Service & { readonly state: 'up' | 'down' })[]> {
    requireAdmin(context, 'see the services');
    const backends = await this.#backends.list(context);
    const services = await this.#store.reading.services.list();
    const now = this.#clock.now();
    return services.map((service) => {
      const silent = silenceSince(service.seenAt, now, this.#settings) !== null;
      // Storage that was replaced stays known under the same host, and is down for good.
      const served = backends.filter(({ host }) => host === service.host);
      const down = served.length > 0 && served.every(({ state }) => state === 'down');
      return { ...service, state: silent || down ? 'down' : 'up' };
    });
  }

  /** `not-found` when there is no such service. */
  async setEnabled(
    context: RequestContext,
    binary: string,
    host: string,
    enabled: boolean,
    reason: string | null = null,
  ): Promise<Service> {
    requireAdmin(context, 'enable or disable services');
    return this.#store.transaction(async ({ services, backends }) => {
      const service = await services.setEnabled(binary, host, enabled, enabled ? null : reason);
      const [, label] = host.split('@');
      for (const backend of await backends.list()) {
        if (backend.name === label && host.startsWith(`${backend.host}@`))
          await backends.setEnabled(backend.id, enabled, enabled ? null : reason);
      }
      if (binary === 'cinder-scheduler' && !enabled) throw new ScoriaError('not-supported', 'The scheduler cannot be disabled.');
      return service;
    });
  }
}
