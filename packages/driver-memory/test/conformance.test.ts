import { systemRandom } from '@scoria/core';
import { driverConformance, startDriver } from '@scoria/conformance';
import plugin, { MemoryBackend, memoryDriver, type MemoryPoolOptions } from '@scoria/driver-memory';
import { describe, test } from 'vitest';

const pool: MemoryPoolOptions = { name: 'pool', total: 2 ** 30, thin: true, maxOverSubscription: 10, reserved: 0 };
for (const thin of [true, false]) {
  const create = () => {
    const backend = new MemoryBackend({ backendId: systemRandom.uuid(), pools: [{ ...pool, thin }] });
    return startDriver(memoryDriver({ backend }));
  };
  describe(thin ? 'thin' : 'thick', () => driverConformance({ describe, test, capabilities: plugin.capabilities, create }));
}
