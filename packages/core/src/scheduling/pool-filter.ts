import type { PoolReport } from '../volume/driver.ts';

/** A pool as the scheduler sees it: what its driver reports and what core has promised from it. */
export interface PoolState {
  /** `host@backend#pool`. */
  readonly hostString: string;
  readonly backendName: string;
  readonly availabilityZone: string;
  readonly report: PoolReport;
  /** Bytes claimed by placements in this pool. */
  readonly allocated: number;
  /** Number of placements in this pool. */
  readonly placements: number;
  /** Capabilities declared by the driver's plug-in. */
  readonly driverCapabilities: readonly string[];
}

/** What has to be placed. */
export interface PlacementRequest {
  /** Bytes that it takes more than it has; 0 for one that lies in the pool already. */
  readonly size: number;
  readonly availabilityZone: string | null;
  /** Extra specs of the volume type. */
  readonly extraSpecs: Readonly<Record<string, string>>;
}

/** A filter's answer. A refusal names the figures or words that led to it; it is shown to users. */
export type Verdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** Says whether a pool can take a request. Pure and synchronous. */
export interface PoolFilter {
  verdict(pool: PoolState, request: PlacementRequest): Verdict;
}
