import type { PlacementRequest, PoolState } from './pool-filter.ts';

/**
 * Gives a pool a number; the pool with the highest weighted sum wins. Numbers of one weigher are scaled to 0..1 over
 * the pools at hand, then multiplied by its configured multiplier. Pure and synchronous.
 */
export interface PoolWeigher {
  weigh(pool: PoolState, request: PlacementRequest): number;
}
