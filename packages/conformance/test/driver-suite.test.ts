import { driverChecks, driverConformance, runDriverConformance, startDriver } from '@scoria/conformance';
import { definePlugin, systemRandom } from '@scoria/core';
import { MemoryBackend, memoryDriver, MemoryDriver } from '@scoria/driver-memory';
import { expect, test } from 'vitest';
import { brokenCopies } from './broken-copies.ts';
import { brokenGroups } from './broken-groups.ts';
import { brokenDevices } from './broken-devices.ts';
import { startBroken } from './broken-driver.ts';
import { brokenRecovery } from './broken-recovery.ts';
import { brokenVolumes } from './broken-volumes.ts';
import { CollectingRunner } from './collecting-runner.ts';

const broken = [...brokenVolumes, ...brokenDevices, ...brokenCopies, ...brokenGroups, ...brokenRecovery];
const capabilities = memoryDriver({ backend: newBackend() }).capabilities;

function newBackend(): MemoryBackend {
  return new MemoryBackend({ backendId: systemRandom.uuid() });
}

const lineOf = (id: string) => driverChecks.find((check) => check.id === id)?.contract;

test.each(broken.map((each) => [each.name, lineOf(each.caughtBy[0]), each] as const))(
  '%s: breaks "%s" and is caught',
  async (_name, _line, each) => {
    const runner = new CollectingRunner();
    // Short, because what never ends must be waited for.
    driverConformance({ ...runner.functions, capabilities, create: () => startBroken(each), soon: 400 });
    for (const id of each.caughtBy) {
      await expect(runner.run(id), `${id} does not notice`).rejects.toThrow();
    }
  },
);

test('every check is failed by a broken driver', () => {
  const caught = new Set(broken.flatMap(({ caughtBy }) => caughtBy));
  expect(driverChecks.map(({ id }) => id).filter((id) => !caught.has(id))).toEqual([]);
  expect(new Set(broken.map(({ name }) => name)).size).toBe(broken.length);
});

test('a driver that does nothing passes only what asks for nothing', async () => {
  const nothing = definePlugin({
    name: 'nothing',
    kind: 'driver',
    api: '^1.0',
    config: memoryDriver({ backend: newBackend() }).config,
    create: () => ({
      check: async () => ({ backendId: '' }),
      pools: async () => [],
      create: async () => ({ backendRef: 'x', size: 0 }),
      delete: async () => {},
      extend: async (_volume, size) => ({ size }),
      createSnapshot: async () => ({ backendRef: 'x', size: 0, filled: true }),
      deleteSnapshot: async () => {},
      list: async function* () {},
      locate: async () => ({ kind: 'none', path: 'none', blockSize: 512 }),
    }),
  });
  const report = await runDriverConformance({
    name: 'nothing',
    version: '0.0.0',
    capabilities: [],
    create: () => startDriver(nothing),
    soon: 200,
  });
  expect(report.results.filter(({ outcome }) => outcome === 'passed').map(({ id }) => id)).toEqual(['list-empty']);
  expect(report.results.find(({ id }) => id === 'clone-content')).toMatchObject({
    outcome: 'skipped',
    reason: 'the driver does not declare "clone"',
  });
});

test('a driver that hangs fails at the deadline of each check, and the run ends', async () => {
  const backend = newBackend();
  const sound = memoryDriver({ backend });
  const hanging = { ...sound, create: () => brokenByHanging(new MemoryDriver(backend, backend.backendId)) };
  const report = await runDriverConformance({
    name: 'hanging',
    version: '0.0.0',
    capabilities: [],
    create: () => startDriver(hanging, {}, { baseDirectory: '/' }),
    deadline: 5,
  });
  expect(report.passed).toBe(0);
  expect(report.results.find(({ id }) => id === 'create-zeroes')?.reason).toBe('create-zeroes did not end within 5 ms');
});

function brokenByHanging(driver: MemoryDriver): MemoryDriver {
  return Object.assign(driver, { check: () => new Promise<never>(() => {}) });
}
