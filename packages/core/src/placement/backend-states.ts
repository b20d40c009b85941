import { ScoriaError } from '../error/scoria-error.ts';
import type { Clock } from '../platform/clock.ts';
import type { Settings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Store } from '../store/store.ts';
import type { RequestContext } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import type { BackendCondition } from './backend-reporter.ts';
import { type Backend, type BackendFault, hostString, newestNamed, silenceSince } from './backend.ts';
import type { Backends } from './backends.ts';
import type { PoolClaims } from './placement.ts';

/** A pool of a backend, by its report and by the claims on it. */
export interface BackendPool {
  readonly name: string;
  /** Bytes; `null` when the pool has a fault, or the backend does not report it. */
  readonly total: number | null;
  /** Bytes; `null` when the pool has a fault, or the backend does not report it. */
  readonly free: number | null;
  /** Bytes that volumes and snapshots claim of it. */
  readonly claimed: number;
  /** Volumes and snapshots that lie in it. */
  readonly placements: number;
  /** Why nothing can be placed in it, though its backend is in service. */
  readonly fault: BackendFault | null;
}

/** A backend as an operator wants to see it. */
export interface BackendState {
  /** Name in the configuration. */
  readonly name: string;
  /** `host@backend`. */
  readonly host: string;
  /** UUID found on the storage; `null` when it has never been read. */
  readonly id: string | null;
  readonly availabilityZone: string;
  readonly state: 'up' | 'down';
  /** Why it is down. */
  readonly fault: Omit<BackendFault, 'since'> | null;
  /** Since when it has been in this state, ms; `null` when nobody knows. */
  readonly since: number | null;
  /** When it was last asked with an end, good or bad, ms; `null` before the first. */
  readonly reportedAt: number | null;
  /** Takes new volumes, as far as administrators are concerned. */
  readonly enabled: boolean;
  readonly disabledReason: string | null;
  readonly driverCapabilities: readonly string[];
  /** Those that it reports, and those that are claimed of without being reported. */
  readonly pools: readonly BackendPool[];
  /** Its transport holds volumes to limits; `null` when another process serves it. */
  readonly holdsLimits: boolean | null;
}

/** A backend, perhaps one whose storage has never been read. */
type Described = Omit<Backend, 'id' | 'reportedAt'> & Pick<BackendState, 'id' | 'reportedAt'>;

/** The backends in the store, and those of this process that have never been in service. */
@wired(tokens.Store, tokens.Backends, tokens.Clock, tokens.Settings)
export class BackendStates {
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

  /** All of them, by host and name. For administrators. */
  async list(context: RequestContext): Promise<readonly BackendState[]> {
    requireAdmin(context, 'see the backends');
    const { rows, claims, services } = await this.#store.transaction(async (repositories) => ({
      rows: await repositories.backends.list(),
      claims: await repositories.placements.claims(),
      services: await repositories.services.list(),
    }));
    const { host } = this.#settings;
    const conditions = new Map<Backend, BackendCondition>();
    const unseen: BackendState[] = [];
    for (const condition of this.#backends.conditions()) {
      const { id, name } = condition;
      const row = id === null ? newestNamed(rows, host, name) : rows.find((each) => each.id === id);
      if (row) {
        conditions.set(row, condition);
        continue;
      }
      const label = hostString({ host, name });
      const service = services.find((each) => each.binary === 'cinder-volume' && each.host === label);
      const { enabled, disabledReason } = service ?? { enabled: true, disabledReason: null };
      unseen.push(this.#state({ ...condition, host, enabled, disabledReason, pools: [] }, condition, []));
    }
    const known = rows.map((row) => {
      const claimed = claims.filter(({ backendId }) => backendId === row.id);
      return this.#state(row, conditions.get(row), claimed);
    });
    return [...known, ...unseen].toSorted((a, b) => (a.host < b.host ? -1 : a.host > b.host ? 1 : 0));
  }

  #state(backend: Described, condition: BackendCondition | undefined, claims: readonly PoolClaims[]): BackendState {
    const { id, name, availabilityZone, enabled, disabledReason, driverCapabilities } = backend;
    const { fault, reportedAt } = condition ?? backend;
    const down = fault ?? this.#silence(backend, reportedAt);
    return {
      name,
      host: hostString(backend),
      id,
      availabilityZone,
      state: down ? 'down' : 'up',
      fault: down && { code: down.code, message: down.message, remedy: down.remedy },
      since: down ? down.since : (condition?.since ?? null),
      reportedAt: reportedAt ?? backend.reportedAt,
      enabled,
      disabledReason,
      driverCapabilities,
      pools: poolsOf(backend, claims),
      holdsLimits: this.#backends.holdsLimits(backend),
    };
  }

  /** The fault of a backend that nobody has reported for long. */
  #silence(backend: Described, reportedAt: number | null): BackendFault | null {
    const silence = reportedAt === null ? null : silenceSince(reportedAt, this.#clock.now(), this.#settings);
    if (silence === null) return null;
    const { code, message, remedy } = new ScoriaError(
      'backend-unavailable',
      `Nobody has reported backend ${hostString(backend)} for ${Math.round(silence / 1000)} s.`,
      { remedy: 'Start the service that has it in its configuration, or find out what holds its storage up.' },
    );
    return { code, message, remedy, since: reportedAt };
  }
}

function poolsOf({ pools }: Described, claims: readonly PoolClaims[]): BackendPool[] {
  const names = [...new Set([...pools.map(({ name }) => name), ...claims.map(({ pool }) => pool)])];
  return names.map((name) => {
    const report = pools.find((each) => each.name === name);
    const fault = report?.fault ?? null;
    const claim = claims.find(({ pool }) => pool === name);
    return {
      name,
      total: fault ? null : (report?.total ?? null),
      free: fault ? null : (report?.free ?? null),
      claimed: claim?.claimed ?? 0,
      placements: claim?.placements ?? 0,
      fault,
    };
  });
}
