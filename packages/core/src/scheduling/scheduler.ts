import { ScoriaError } from '../error/scoria-error.ts';
import { type Backend, hostString, silenceSince } from '../placement/backend.ts';
import type { PoolClaims } from '../placement/placement.ts';
import type { Clock } from '../platform/clock.ts';
import type { Plugins } from '../plugin/plugins.ts';
import type { Settings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Repositories } from '../store/store.ts';
import type { PlacementRequest, PoolState } from './pool-filter.ts';

/** A pool, with the backend whose it is. */
export interface Candidate {
  readonly backendId: string;
  readonly state: PoolState;
}

/** Why one pool was not chosen. */
export interface Refusal {
  readonly pool: string;
  /** Name of the filter, or `service` when the pool or its backend is out of service. */
  readonly by: string;
  readonly reason: string;
}

/** Limits the choice to one backend, or one pool of it. */
export interface PoolChoice {
  readonly backendId: string;
  readonly pool?: string | null | undefined;
}

/** What {@link Scheduler.explain} found. */
export interface Explanation {
  /** Best first. */
  readonly accepted: readonly (Candidate & { readonly weight: number })[];
  readonly refused: readonly Refusal[];
}

/** Chooses the pool for a volume: every filter must agree, then the weighers rank. Reads and claims in the caller's transaction, so that two schedulers cannot promise the same bytes. */
@wired(tokens.Plugins, tokens.Clock, tokens.Settings)
export class Scheduler {
  readonly #plugins: Plugins;
  readonly #clock: Clock;
  readonly #settings: Settings;

  constructor(plugins: Plugins, clock: Clock, settings: Settings) {
    this.#plugins = plugins;
    this.#clock = clock;
    this.#settings = settings;
  }

  /** Judges every pool, or the one that `only` names. */
  async explain(repositories: Repositories, request: PlacementRequest, only?: PoolChoice): Promise<Explanation> {
    const [backends, claims] = [await repositories.backends.list(), await repositories.placements.claims()];
    const refused: Refusal[] = [];
    const accepted: Candidate[] = [];
    for (const backend of backends) {
      if (only && backend.id !== only.backendId) continue;
      const outage = this.#outage(backend);
      if (outage) {
        refused.push({ pool: hostString(backend), by: 'service', reason: outage });
        continue;
      }
      const states = poolStates(backend, claims).filter(({ report }) => !only?.pool || report.name === only.pool);
      if (only?.pool && states.length === 0) {
        refused.push({ pool: hostString(backend, only.pool), by: 'service', reason: 'its backend does not report it' });
      }
      for (const state of states) {
        const { hostString: pool, report } = state;
        const refusal = report.fault ? { pool, by: 'service', reason: report.fault.message } : this.#judge(state, request);
        if (refusal) refused.push(refusal);
        else accepted.push({ backendId: backend.id, state });
      }
    }
    const weights = this.#weights(
      accepted.map((candidate) => candidate.state),
      request,
    );
    return {
      accepted: accepted
        .map((candidate, index) => ({ ...candidate, weight: weights[index] ?? 0 }))
        .toSorted((a, b) => b.weight - a.weight),
      refused,
    };
  }

  /** The best pool. `no-valid-backend` tells, pool by pool, who said no and why. */
  async choose(repositories: Repositories, request: PlacementRequest, only?: PoolChoice): Promise<Candidate> {
    const { accepted, refused } = await this.explain(repositories, request, only);
    const best = accepted[0];
    if (best) return best;
    const reasons = refused.map((each) => `${each.pool}: ${each.reason} (${each.by})`);
    throw new ScoriaError(
      'no-valid-backend',
      `No pool can take this volume. ${reasons.join('; ') || 'There is no pool at all: no backend has reported yet'}.`,
      {
        details: { refused },
      },
    );
  }

  #outage(backend: Backend): string | null {
    if (backend.fault !== null) return backend.fault.message;
    if (!backend.enabled) return `disabled${backend.disabledReason ? `: ${backend.disabledReason}` : ''}`;
    const silence = silenceSince(backend.reportedAt, this.#clock.now(), this.#settings);
    return silence === null ? null : `no sign of life for ${Math.round(silence / 1000)} s`;
  }

  #judge(state: PoolState, request: PlacementRequest): Refusal | null {
    for (const { name, filter } of this.#plugins.filters) {
      const verdict = filter.verdict(state, request);
      if (!verdict.ok) return { pool: state.hostString, by: name, reason: verdict.reason };
    }
    return null;
  }

  #weights(states: readonly PoolState[], request: PlacementRequest): number[] {
    const sums = states.map(() => 0);
    for (const { weigher, multiplier } of this.#plugins.weighers) {
      const raw = states.map((state) => weigher.weigh(state, request));
      const low = Math.min(...raw);
      const span = Math.max(...raw) - low;
      raw.forEach((weight, index) => {
        sums[index] = (sums[index] ?? 0) + (span > 0 ? ((weight - low) / span) * multiplier : 0);
      });
    }
    return sums;
  }
}

/** A backend's pools with what is claimed of them. */
export function poolStates(backend: Backend, claims: readonly PoolClaims[]): PoolState[] {
  return backend.pools.map((report) => {
    const claim = claims.find((each) => each.backendId === backend.id && each.pool === report.name);
    return {
      hostString: hostString(backend, report.name),
      backendName: backend.name,
      availabilityZone: backend.availabilityZone,
      report,
      allocated: claim?.claimed ?? 0,
      placements: claim?.placements ?? 0,
      driverCapabilities: backend.driverCapabilities,
    };
  });
}
