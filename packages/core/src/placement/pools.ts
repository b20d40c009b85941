import type { Clock } from '../platform/clock.ts';
import type { Settings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { PoolState } from '../scheduling/pool-filter.ts';
import { poolStates } from '../scheduling/scheduler.ts';
import type { Store } from '../store/store.ts';
import type { RequestContext } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import { type Backend, silenceSince } from './backend.ts';
import type { Backends } from './backends.ts';

/** A pool, for administrators. */
export interface ListedPool extends PoolState {
  /** Its backend's transport holds volumes to limits, as far as this process knows. */
  readonly holdsLimits: boolean;
}

/** Pools and zones, as the scheduler sees them. */
@wired(tokens.Store, tokens.Backends, tokens.Clock, tokens.Settings)
export class Pools {
  readonly #store: Store;
  readonly #backends: Backends;
  readonly #clock: Clock;
  readonly #settings: Settings;

  constructor(store: Store, backends: Backends, clock: Clock, settings: Settings) {
    this.#store = store;
    this.#backends = backends;
    this.#clock = clock;
    this.#settings = settings;
  }

  /** Those of the backends that are in service. */
  async list(context: RequestContext): Promise<readonly ListedPool[]> {
    requireAdmin(context, 'see the pools');
    return this.#store.transaction(async ({ backends, placements }) => {
      const claims = await placements.claims();
      return (await backends.list())
        .filter((each) => this.#isInService(each))
        .flatMap((backend) => {
          const holdsLimits = this.#backends.holdsLimits(backend) ?? false;
          return poolStates(backend, claims).map((state) => ({ ...state, holdsLimits }));
        });
    });
  }

  /** Every zone that has a backend; available when one of them can be used. */
  async availabilityZones(): Promise<readonly { readonly name: string; readonly available: boolean }[]> {
    const zones = new Map<string, boolean>();
    for (const backend of await this.#store.reading.backends.list()) {
      const { availabilityZone, enabled } = backend;
      zones.set(availabilityZone, (zones.get(availabilityZone) ?? false) || (enabled && this.#isInService(backend)));
    }
    return [...zones].map(([name, available]) => ({ name, available }));
  }

  /** Whether a backend is well, and whoever serves it gives signs of life. */
  #isInService({ fault, reportedAt }: Backend): boolean {
    return fault === null && silenceSince(reportedAt, this.#clock.now(), this.#settings) === null;
  }
}
