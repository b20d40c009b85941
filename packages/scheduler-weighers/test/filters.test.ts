import fc from 'fast-check';
import { expect, test } from 'vitest';
import { availabilityZoneFilter, capabilitiesFilter, capacityFilter } from '../src/index.ts';
import { GiB, made, pool, request } from './sample-pool.ts';

const zone = made(availabilityZoneFilter);
const capabilities = made(capabilitiesFilter);
const capacity = made(capacityFilter);

test('the availability zone must be the one asked for, if any is', () => {
  expect(zone.verdict(pool(), request())).toEqual({ ok: true });
  expect(zone.verdict(pool(), request({ availabilityZone: 'nova' }))).toEqual({ ok: true });
  expect(zone.verdict(pool(), request({ availabilityZone: 'east' }))).toEqual({
    ok: false,
    reason: 'is in availability zone nova, not in east',
  });
});

test.each<[Record<string, string>, boolean]>([
  [{}, true],
  [{ volume_backend_name: 'fast' }, true],
  [{ volume_backend_name: 'slow' }, false],
  [{ 'capabilities:volume_backend_name': 'fast' }, true],
  [{ 'RESKEY:availability_zones': 'east', 'qos:iops': '5' }, true],
  [{ colour: 'red' }, true],
  [{ 'capabilities:colour': 'blue' }, false],
  [{ unknown: 'x' }, false],
  [{ colour: 'red', rpm: '== 1' }, false],
  [{ 'capabilities:a:b': 'deep' }, true],
  [{ multiattach: '<is> True' }, true],
  [{ multiattach: '<is> False' }, false],
  [{ thin_provisioning_support: '<is> True' }, false],
  [{ thick_provisioning_support: '<is> True' }, true],
  [{ thick_provisioning_support: 'true' }, true],
  [{ clone: '<is> True' }, true],
  [{ revert: '<is> True' }, false],
  [{ revert: '<is> False' }, true],
  [{ compression: 'yes' }, true],
  [{ compression: 'False' }, false],
  [{ compression: 'maybe' }, false],
  [{ compression: '<is>' }, false],
  [{ rpm: '7200' }, true],
  [{ rpm: '== 7200.0' }, true],
  [{ rpm: '= 5000' }, true],
  [{ rpm: '= 8000' }, false],
  [{ rpm: '>= 7200' }, true],
  [{ rpm: '<= 7199' }, false],
  [{ rpm: '!= 7200' }, false],
  [{ rpm: '>=' }, false],
  [{ rpm: '>= fast' }, false],
  [{ colour: '>= 1' }, false],
  [{ colour: 's== red' }, true],
  [{ colour: 's!= red' }, false],
  [{ colour: 's< zebra' }, true],
  [{ colour: 's<= red' }, true],
  [{ colour: 's> red' }, false],
  [{ colour: 's>= red' }, true],
  [{ colour: '<or> blue <or> red' }, true],
  [{ colour: '<or> blue <or> green' }, false],
  [{ colour: '<or>' }, false],
  [{ features: '<in> dedup' }, true],
  [{ features: '<in> crypt' }, false],
  [{ features: '<all-in> dedup thin' }, true],
  [{ features: '<all-in> dedup crypt' }, false],
  [{ free_capacity_gb: '>= 100' }, true],
  [{ pool_name: 'ssd' }, true],
])('extra specs %j: %s', (extraSpecs, ok) => {
  const reported = {
    colour: 'red',
    rpm: 7200,
    compression: true,
    features: 'dedup,thin',
    'a:b': 'deep',
    volume_backend_name: 'slow',
  };
  const verdict = capabilities.verdict(
    pool({ capabilities: reported }, { driverCapabilities: ['clone'] }),
    request({ extraSpecs }),
  );
  expect(verdict.ok).toBe(ok);
});

test('a refusal says what the pool has and what the type asks for', () => {
  expect(capabilities.verdict(pool(), request({ extraSpecs: { volume_backend_name: 'slow' } }))).toEqual({
    ok: false,
    reason: "has volume_backend_name 'fast'; the volume type asks for 'slow'",
  });
  expect(capabilities.verdict(pool(), request({ extraSpecs: { compression: '<is> True' } }))).toEqual({
    ok: false,
    reason: "does not report compression; the volume type asks for '<is> True'",
  });
});

const thin = { thin: true, maxOverSubscription: 2 };
test.each([
  { name: 'thick, empty', report: {}, allocated: 0, largest: 100 },
  { name: 'thick, reserve', report: { reserved: 0.1 }, allocated: 0, largest: 90 },
  { name: 'thick, used by others', report: { free: 30 * GiB, reserved: 0.1 }, allocated: 0, largest: 20 },
  { name: 'thick, promised but not made yet', report: {}, allocated: 95 * GiB, largest: 5 },
  { name: 'thick, over-subscription counts for nothing', report: { maxOverSubscription: 20 }, allocated: 0, largest: 100 },
  { name: 'thin, empty', report: thin, allocated: 0, largest: 200 },
  { name: 'thin, reserve', report: { ...thin, reserved: 0.1 }, allocated: 0, largest: 180 },
  { name: 'thin, promised', report: thin, allocated: 195 * GiB, largest: 5 },
  { name: 'thin, nearly full', report: { ...thin, free: 3 * GiB }, allocated: 20 * GiB, largest: 6 },
  { name: 'thin, full', report: { ...thin, free: 0 }, allocated: 0, largest: 0 },
  { name: 'thin, only the reserve is left', report: { ...thin, free: 9 * GiB, reserved: 0.1 }, allocated: 0, largest: 0 },
])('capacity: $name takes $largest GiB and no byte more', ({ report, allocated, largest }) => {
  const state = pool(report, { allocated });
  if (largest > 0) expect(capacity.verdict(state, request({ size: largest * GiB }))).toEqual({ ok: true });
  expect(capacity.verdict(state, request({ size: largest * GiB + 1 })).ok).toBe(false);
});

test.each([
  [{ free: 8.29 * GiB, reserved: 0.05 }, 0, 'needs 10 GiB, 3.2 GiB are free after the reserve of 5 %'],
  [{ free: 0 }, 0, 'needs 10 GiB, no space is free'],
  [{}, 95 * GiB, 'needs 10 GiB, 5 GiB are not promised yet: volumes of 95 GiB share 100 GiB'],
  [
    { ...thin, reserved: 0.1 },
    175 * GiB,
    'needs 10 GiB, 5 GiB are not promised yet after the reserve of 10 %: volumes of 175 GiB share 100 GiB (over-subscription 2)',
  ],
  [{ ...thin, free: 2 * GiB }, 0, 'needs 10 GiB, 2 GiB are free (over-subscription 2)'],
])('capacity: the reason for %j with %d promised', (report, allocated, reason) => {
  expect(capacity.verdict(pool(report, { allocated }), request({ size: 10 * GiB }))).toEqual({ ok: false, reason });
});

const anyPool = fc
  .record({
    total: fc.integer({ min: 0, max: 1000 }),
    free: fc.integer({ min: 0, max: 1000 }),
    thin: fc.boolean(),
    maxOverSubscription: fc.double({ min: 1, max: 30, noNaN: true }),
    reserved: fc.double({ min: 0, max: 1, noNaN: true }),
    allocated: fc.integer({ min: 0, max: 5000 }),
  })
  .map(({ allocated, free, total, ...report }) =>
    pool({ ...report, total: total * GiB, free: Math.min(free, total) * GiB }, { allocated: allocated * GiB }),
  );
const anySize = fc.integer({ min: 1, max: 2 ** 50 });

test('capacity: nothing is placed where the storage is full', () => {
  fc.assert(
    fc.property(anyPool, anySize, (state, size) => {
      const full = { ...state, report: { ...state.report, free: 0 } };
      expect(capacity.verdict(full, request({ size })).ok).toBe(false);
    }),
  );
});

test('capacity: where a volume fits, a smaller one does, and a pool is never promised beyond its limit', () => {
  fc.assert(
    fc.property(anyPool, anySize, anySize, (state, a, b) => {
      const [small, large] = [Math.min(a, b), Math.max(a, b)];
      if (!capacity.verdict(state, request({ size: large })).ok) return;
      expect(capacity.verdict(state, request({ size: small })).ok).toBe(true);
      const { total, reserved, thin: isThin, maxOverSubscription, free } = state.report;
      expect(state.allocated + large).toBeLessThanOrEqual(total * (1 - reserved) * (isThin ? maxOverSubscription : 1) + 1);
      if (!isThin) expect(large).toBeLessThanOrEqual(free);
    }),
  );
});

test('capacity: figures that are not numbers refuse', () => {
  expect(capacity.verdict(pool({ free: Number.NaN }), request()).ok).toBe(false);
  expect(capacity.verdict(pool({ total: Number.NaN }), request()).ok).toBe(false);
});
