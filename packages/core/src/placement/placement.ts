/** Ties a volume or snapshot to the backend and pool that hold it, and claims capacity there. */
export interface Placement {
  /** Names the thing on the backend. UUID. */
  readonly id: string;
  readonly backendId: string;
  readonly pool: string;
  readonly kind: 'volume' | 'snapshot';
  /** Id of the volume or snapshot. */
  readonly resourceId: string;
  /** Bytes claimed of the pool. */
  readonly claimed: number;
  /** Real size on the backend, bytes; `null` until it is made. */
  readonly size: number | null;
  /** What the driver returned; `null` until it is made. */
  readonly backendRef: string | null;
  readonly createdAt: number;
}

/** What is claimed of a pool. */
export interface PoolClaims {
  readonly backendId: string;
  readonly pool: string;
  /** Bytes. */
  readonly claimed: number;
  readonly placements: number;
}

/** The placements of a store. */
export interface PlacementRepository {
  insert(placement: Placement): Promise<void>;
  /** `not-found` when there is none. */
  get(id: string): Promise<Placement>;
  update(id: string, patch: Partial<Pick<Placement, 'claimed' | 'size' | 'backendRef'>>): Promise<void>;
  /** No error when it is gone. The store remembers for a while that there was one. */
  remove(id: string): Promise<void>;
  /** Claims of every pool that has any. Read in the transaction that adds a claim, so two schedulers cannot over-commit. */
  claims(): Promise<readonly PoolClaims[]>;
  /** All placements on a backend, by id after `after`, at most `limit`. */
  ofBackend(backendId: string, after: string | null, limit: number): Promise<readonly Placement[]>;
  /** Placements on a backend that their volume or snapshot does not name, or that have none; at most `limit`. */
  strays(backendId: string, limit: number): Promise<readonly Placement[]>;
  /** Those of the ids of which the store remembers a placement that was removed. */
  removedAmong(ids: readonly string[]): Promise<ReadonlySet<string>>;
  /** Forgets removed placements that were first reported to this call before `before`. */
  forgetRemoved(now: number, before: number): Promise<void>;
}
