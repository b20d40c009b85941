import { describe, expect, it } from 'vitest';
import { type Backend, placeNamed, silenceSince } from './backend.ts';

const pool = { name: 'fast', total: 4, free: 2, thin: true, maxOverSubscription: 2, reserved: 0, capabilities: {} };
const backend = (id: string, reportedAt: number): Backend => ({
  id,
  name: 'array',
  host: 'node',
  availabilityZone: 'nova',
  driverCapabilities: [],
  pools: [pool],
  reportedAt,
  fault: null,
  enabled: true,
  disabledReason: null,
});

describe('a host string', () => {
  const other = { ...backend('other', 9), name: 'other' };

  it('names a backend, and a pool that it has', () => {
    const array = backend('a', 1);
    expect(placeNamed([other, array], 'node@array')).toEqual({ backend: array, pool: undefined });
    expect(placeNamed([other, array], 'node@array#fast')).toEqual({ backend: array, pool: 'fast' });
    expect(placeNamed([other, array], 'node@array#slow')).toBeUndefined();
    expect(placeNamed([other, array], 'node@elsewhere')).toBeUndefined();
  });

  it.each([
    ['a', 'b'],
    ['b', 'a'],
  ])('names the storage that took the place of another one, whatever their order (%s, %s)', (...order) => {
    const [replaced, present] = [backend('a', 1), backend('b', 2)];
    const known = order.map((id) => (id === 'a' ? replaced : present));
    expect(placeNamed(known, 'node@array#fast')?.backend).toBe(present);
  });
});

it('a backend is taken as gone when more than six reports are missing', () => {
  const settings = { reportInterval: 10_000 };
  expect(silenceSince(5, 60_005, settings)).toBeNull();
  expect(silenceSince(5, 60_006, settings)).toBe(60_001);
});
