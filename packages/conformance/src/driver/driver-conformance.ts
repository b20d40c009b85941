import type { DriverCapability } from '@scoria/core';
import type { Runner } from '../runner.ts';
import { backendTests } from './backend-tests.ts';
import { cloneTests, createFromSnapshotTests, revertTests } from './copy-tests.ts';
import { DriverBench } from './driver-bench.ts';
import type { DriverUnderTest } from './driver-under-test.ts';
import { recoveryTests } from './recovery-tests.ts';
import { snapshotTests } from './snapshot-tests.ts';
import { volumeTests } from './volume-tests.ts';

/** Tests by what they demand. Each gets a backend of its own. */
export type DriverTests = Readonly<Record<string, (bench: DriverBench) => Promise<void>>>;

/** Options of {@link driverConformance}. */
export interface DriverConformanceOptions extends Runner {
  /** The optional groups that the driver declares; only they are tested. */
  readonly capabilities: readonly DriverCapability[];
  /** Makes a driver over a backend that holds nothing. Called for each test. */
  create(): Promise<DriverUnderTest>;
}

const optionalTests: Readonly<Record<DriverCapability, DriverTests>> = {
  clone: cloneTests,
  'create-from-snapshot': createFromSnapshotTests,
  revert: revertTests,
};

/**
 * Declares the tests that every volume driver must pass.
 *
 * @example
 * import { describe, test } from 'vitest';
 * import { driverConformance, startDriver } from '@scoria/conformance';
 * import plugin from '../src/index.ts';
 * driverConformance({ describe, test, capabilities: plugin.capabilities, create: () => startDriver(plugin, { directory: '.' }) });
 */
export function driverConformance(options: DriverConformanceOptions): void {
  const { describe, test } = options;
  const declare = (name: string, tests: DriverTests) => {
    describe(name, () => {
      for (const [demand, body] of Object.entries(tests)) {
        test(demand, async () => {
          const bench = new DriverBench(await options.create());
          try {
            await bench.start();
            await body(bench);
          } finally {
            await bench.end();
          }
        });
      }
    });
  };
  describe('driver conformance', () => {
    declare('backend', backendTests);
    declare('volumes', volumeTests);
    declare('snapshots', snapshotTests);
    declare('recovery', recoveryTests);
    for (const capability of options.capabilities) declare(capability, optionalTests[capability]);
  });
}
