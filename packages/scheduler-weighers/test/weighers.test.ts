import { isPlugin } from '@scoria/core';
import { expect, test } from 'vitest';
import * as plugins from '../src/index.ts';
import { allocatedCapacityWeigher, capacityWeigher } from '../src/index.ts';
import { GiB, made, pool, request } from './sample-pool.ts';

test('the capacity weigher gives what a pool can still take', () => {
  const { weigh } = made(capacityWeigher);
  expect(weigh(pool({ reserved: 0.1 }), request())).toBe(90 * GiB);
  expect(weigh(pool({}, { allocated: 60 * GiB }), request())).toBe(40 * GiB);
  expect(weigh(pool({ thin: true, maxOverSubscription: 2 }, { allocated: 60 * GiB }), request())).toBe(140 * GiB);
  expect(weigh(pool({ thin: true, maxOverSubscription: 2, free: 10 * GiB }), request())).toBe(20 * GiB);
});

test('the allocated capacity weigher prefers the pool with fewer promises', () => {
  const { weigh } = made(allocatedCapacityWeigher);
  expect(weigh(pool({}, { allocated: 5 }), request())).toBe(-5);
  expect(weigh(pool(), request())).toBe(0);
});

test('every export is a plug-in that takes an empty configuration and nothing else', () => {
  expect(Object.keys(plugins)).toHaveLength(5);
  for (const plugin of Object.values(plugins)) {
    expect(isPlugin(plugin)).toBe(true);
    expect(plugin.config.safeParse({}).success).toBe(true);
    expect(plugin.config.safeParse({ multiplier: 2 }).success).toBe(false);
  }
});
