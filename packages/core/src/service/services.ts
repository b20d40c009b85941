import { ScoriaError } from '../error/scoria-error.ts';
import { hostString } from '../placement/backend.ts';
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
@wired(tokens.Store, tokens.Clock, tokens.Log, tokens.Settings, tokens.WorkerSettings)
export class Services {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #settings: Settings;
  readonly #scheduling: boolean;
  #timer: Disposable | null = null;

  constructor(store: Store, clock: Clock, log: Log, settings: Settings, worker: WorkerSettings) {
    this.#store = store;
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
        beat()
          .catch((error: unknown) => this.#log.warn({ err: error }, 'the scheduler could not leave a sign of life'))
          .finally(again);
      });
    };
    await beat();
    again();
  }

  async stop(): Promise<void> {
    this.#timer?.[Symbol.dispose]();
  }

  /** All services. One that has been silent for long is `down`, and so is the service of a backend that is out of order. */
  async list(context: RequestContext): Promise<readonly (Service & { readonly state: 'up' | 'down' })[]> {
    requireAdmin(context, 'see the services');
    const now = this.#clock.now();
    const { services, backends } = this.#store.reading;
    const faulty = (await backends.list()).filter(({ fault }) => fault !== null).map((backend) => hostString(backend));
    return (await services.list()).map((service) => {
      const silent = now - service.seenAt > 6 * this.#settings.reportInterval;
      return { ...service, state: silent || faulty.includes(service.host) ? 'down' : 'up' };
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
