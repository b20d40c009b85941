import { describe, expect, it } from 'vitest';
import type { Log } from '../platform/log.ts';
import type { PoolState } from '../scheduling/pool-filter.ts';
import { guardFilter, guardWeigher } from './guarded-scheduling.ts';

const report = { name: 'p', total: 10, free: 5, thin: true, maxOverSubscription: 1, reserved: 0, capabilities: {} };
const pool: PoolState = {
  hostString: 'host@one#p',
  backendName: 'one',
  availabilityZone: 'nova',
  report,
  allocated: 0,
  placements: 0,
  driverCapabilities: [],
};
const request = { size: 1, availabilityZone: null, extraSpecs: {} };

function recording(): { readonly log: Log; readonly errors: string[] } {
  const errors: string[] = [];
  const quiet = () => undefined;
  return { errors, log: { debug: quiet, info: quiet, warn: quiet, error: (_fields, message) => void errors.push(message) } };
}
const throwing = (): never => {
  throw new Error('no table');
};
/** A filter and weigher of an author without types. */
const untyped = (answer: unknown) =>
  Object.assign({ verdict: throwing, weigh: throwing }, { verdict: () => answer, weigh: () => answer });

describe('a filter behind the guard', () => {
  it('gives its verdict', () => {
    const { log, errors } = recording();
    for (const verdict of [{ ok: true }, { ok: false, reason: 'full' }] as const)
      expect(guardFilter('acme', { verdict: () => verdict }, log).verdict(pool, request)).toBe(verdict);
    expect(errors).toEqual([]);
  });

  it('refuses the pool with the reason when it throws', () => {
    const { log, errors } = recording();
    expect(guardFilter('acme', { verdict: throwing }, log).verdict(pool, request)).toEqual({
      ok: false,
      reason: 'the filter failed: no table',
    });
    expect(errors).toEqual(['acme failed, and refuses the pool']);
  });

  it.each([undefined, true, { ok: false }, Promise.resolve({ ok: true })])('takes %o for no verdict', (answer) => {
    const { log } = recording();
    const verdict = guardFilter('acme', untyped(answer), log).verdict(pool, request);
    expect(verdict).toMatchObject({ ok: false, reason: expect.stringContaining('neither') });
  });
});

describe('a weigher behind the guard', () => {
  it('gives its number', () => {
    expect(guardWeigher('acme', { weigh: () => -2.5 }, recording().log).weigh(pool, request)).toBe(-2.5);
  });

  it.each([{ weigh: throwing }, ...[Number.NaN, Number.POSITIVE_INFINITY, undefined, '1', Promise.resolve(1)].map(untyped)])(
    'counts as 0 and tells the log when it fails',
    (weigher) => {
      const { log, errors } = recording();
      expect(guardWeigher('acme', weigher, log).weigh(pool, request)).toBe(0);
      expect(errors).toEqual(['acme failed, and counts as 0 for the pool']);
    },
  );
});
