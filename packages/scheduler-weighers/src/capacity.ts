import type { PoolState } from '@scoria/core';

/** What a pool can still take. All figures in bytes; negative where a pool is beyond its limit already. */
export interface Headroom {
  /** Physically free above the reserve. */
  readonly free: number;
  /** Not promised to anybody yet, above the reserve; for a thin pool with its over-subscription. */
  readonly unpromised: number;
  /** The largest volume that may be placed. */
  readonly largest: number;
}

/**
 * How much a pool can still take, from both sides: what the storage reports as free, whoever uses the rest, and what core
 * has promised, whether it is written yet or not. A thin pool multiplies both by its over-subscription.
 */
export function headroom({ report, allocated }: Pick<PoolState, 'report' | 'allocated'>): Headroom {
  const ratio = report.thin ? Math.max(1, report.maxOverSubscription) : 1;
  const reserve = report.total * report.reserved;
  const free = report.free - reserve;
  const unpromised = (report.total - reserve) * ratio - allocated;
  return { free, unpromised, largest: Math.min(free * ratio, unpromised) };
}
