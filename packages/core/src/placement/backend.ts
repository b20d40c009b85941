import { type ErrorData, ScoriaError } from '../error/scoria-error.ts';
import type { Settings } from '../plugin/settings.ts';
import type { Repositories } from '../store/store.ts';
import type { DriverCapability, PoolReport } from '../volume/driver.ts';

/** Why a backend, or a pool of it, cannot be used, in its driver's words. */
export interface BackendFault extends Pick<ErrorData, 'code' | 'message' | 'remedy'> {
  /** When it went out of service, ms; `null` when nobody knows. */
  readonly since: number | null;
}

/** A pool as its driver reported it last. */
export interface ReportedPool extends PoolReport {
  readonly fault?: BackendFault | undefined;
}

/** Reports that may be missing before a backend or service is taken as gone. */
const missedReports = 6;

/**
 * How long a backend or service has given no sign of life, ms, when that is too long: it is taken as gone. Else `null`.
 *
 * @param seenAt - when it did last, ms.
 */
export function silenceSince(seenAt: number, now: number, { reportInterval }: Pick<Settings, 'reportInterval'>): number | null {
  const silence = now - seenAt;
  return silence > missedReports * reportInterval ? silence : null;
}

/** A backend as its volume service last described it. */
export interface Backend {
  /** UUID found on the storage itself. */
  readonly id: string;
  /** Name in the configuration. A label: it may change. */
  readonly name: string;
  /** Host of the volume service that serves it. */
  readonly host: string;
  readonly availabilityZone: string;
  /** Capabilities declared by the driver's plug-in. */
  readonly driverCapabilities: readonly string[];
  readonly pools: readonly ReportedPool[];
  /** When {@link pools} was written. */
  readonly reportedAt: number;
  /** Why the backend cannot be used now, or `null`. */
  readonly fault: BackendFault | null;
  /** An administrator may close a backend to new placements. */
  readonly enabled: boolean;
  readonly disabledReason: string | null;
}

/** `host@backend`, or with a pool `host@backend#pool`. */
export function hostString(backend: Pick<Backend, 'host' | 'name'>, pool?: string): string {
  return pool === undefined ? `${backend.host}@${backend.name}` : `${backend.host}@${backend.name}#${pool}`;
}

/** Of the storages that were known by a name on a host, the one that was reported last. */
export function newestNamed(backends: readonly Backend[], host: string, name: string): Backend | undefined {
  return newest(backends.filter((backend) => backend.host === host && backend.name === name));
}

const newest = (backends: readonly Backend[]): Backend | undefined => backends.toSorted((a, b) => b.reportedAt - a.reportedAt)[0];

/** A host string `host@backend` or `host@backend#pool`, resolved. */
export interface NamedPlace {
  readonly backend: Backend;
  /** `undefined`: the host string names none. */
  readonly pool: string | undefined;
}

/**
 * What a host string names; `undefined` when there is no such backend, or it has no such pool. Of storage that was
 * replaced, the present one.
 */
export function placeNamed(backends: readonly Backend[], host: string): NamedPlace | undefined {
  const [label = '', pool] = host.split('#');
  const backend = newest(backends.filter((each) => hostString(each) === label));
  if (!backend || (pool !== undefined && !backend.pools.some(({ name }) => name === pool))) return undefined;
  return { backend, pool };
}

/** The backend that a placement is on. `backend-unavailable` when nobody has reported it. */
export async function backendOf(repositories: Repositories, placementId: string): Promise<Backend> {
  const { backendId } = await repositories.placements.get(placementId);
  const backend = (await repositories.backends.list()).find(({ id }) => id === backendId);
  if (!backend) throw new ScoriaError('backend-unavailable', `Backend ${backendId} is not known.`);
  return backend;
}

/** Throws `not-supported` when a backend's driver has not declared a capability. */
export function requireCapability(backend: Pick<Backend, 'name' | 'driverCapabilities'>, capability: DriverCapability): void {
  if (backend.driverCapabilities.includes(capability)) return;
  throw new ScoriaError('not-supported', `The driver of backend ${backend.name} does not have the capability "${capability}".`);
}

/** The backends of a store. */
export interface BackendRepository {
  /** Inserts or replaces what a volume service reports; `enabled` and `disabledReason` of a known backend stay. */
  report(backend: Omit<Backend, 'enabled' | 'disabledReason'>): Promise<void>;
  list(): Promise<readonly Backend[]>;
  setEnabled(id: string, enabled: boolean, reason: string | null): Promise<void>;
}
