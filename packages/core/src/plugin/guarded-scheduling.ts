import type { Log } from '../platform/log.ts';
import type { PoolFilter, Verdict } from '../scheduling/pool-filter.ts';
import type { PoolWeigher } from '../scheduling/pool-weigher.ts';

/** A filter whose faults cost no more than the pool asked about: what it throws, or a verdict that is none, refuses the pool and says so. */
export function guardFilter(name: string, filter: PoolFilter, log: Log): PoolFilter {
  return {
    verdict(pool, request) {
      try {
        const verdict: unknown = filter.verdict(pool, request);
        if (isVerdict(verdict)) return verdict;
        throw new TypeError('its verdict is neither { ok: true } nor { ok: false, reason }');
      } catch (error) {
        log.error({ err: error, pool: pool.hostString }, `${name} failed, and refuses the pool`);
        return { ok: false, reason: `the filter failed: ${messageOf(error)}` };
      }
    },
  };
}

/** A weigher whose faults cost its opinion alone: what it throws, or a number that is none, counts as 0. */
export function guardWeigher(name: string, weigher: PoolWeigher, log: Log): PoolWeigher {
  return {
    weigh(pool, request) {
      try {
        const weight: unknown = weigher.weigh(pool, request);
        if (typeof weight === 'number' && Number.isFinite(weight)) return weight;
        throw new TypeError(`its weight is ${typeof weight === 'number' ? weight : typeof weight}, not a finite number`);
      } catch (error) {
        log.error({ err: error, pool: pool.hostString }, `${name} failed, and counts as 0 for the pool`);
        return 0;
      }
    },
  };
}

function isVerdict(value: unknown): value is Verdict {
  if (typeof value !== 'object' || value === null || !('ok' in value)) return false;
  return value.ok === true || (value.ok === false && 'reason' in value && typeof value.reason === 'string');
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
