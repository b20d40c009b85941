import type { PoolReport } from '../volume/driver.ts';

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
  readonly pools: readonly PoolReport[];
  /** When {@link pools} was written. */
  readonly reportedAt: number;
  /** Why the backend cannot be used now, or `null`. */
  readonly fault: string | null;
  /** An administrator may close a backend to new placements. */
  readonly enabled: boolean;
  readonly disabledReason: string | null;
}

/** `host@backend`, or with a pool `host@backend#pool`. */
export function hostString(backend: Pick<Backend, 'host' | 'name'>, pool?: string): string {
  return pool === undefined ? `${backend.host}@${backend.name}` : `${backend.host}@${backend.name}#${pool}`;
}

/** The backends of a store. */
export interface BackendRepository {
  /** Inserts or replaces what a volume service reports; `enabled` and `disabledReason` of a known backend stay. */
  report(backend: Omit<Backend, 'enabled' | 'disabledReason'>): Promise<void>;
  list(): Promise<readonly Backend[]>;
  setEnabled(id: string, enabled: boolean, reason: string | null): Promise<void>;
}
