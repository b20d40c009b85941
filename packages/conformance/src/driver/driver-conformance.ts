import { systemClock, type DriverCapability } from '@scoria/core';
import { reportOf, type Report } from '../report/report.ts';
import { runChecks, type CheckResult } from '../run-checks.ts';
import { declareChecks, type CheckPlan, type Runner } from '../runner.ts';
import { DriverBench } from './driver-bench.ts';
import { driverChecks } from './driver-checks.ts';
import type { DriverUnderTest } from './driver-under-test.ts';

/** What is tested, and how patiently. */
export interface DriverSubject {
  /** The optional groups that the driver declares; only they are tested. */
  readonly capabilities: readonly DriverCapability[];
  /** Makes a driver over a backend that holds nothing. Called for each check. */
  create(): Promise<DriverUnderTest>;
  /** How long a verb may go on after its abort, milliseconds. Default: 5,000. */
  readonly soon?: number;
}

/** Options of {@link driverConformance}. */
export interface DriverConformanceOptions extends DriverSubject, Runner {}

/** Options of {@link runDriverConformance}. */
export interface RunDriverOptions extends DriverSubject {
  /** Name and version for the report: those of the driver's package. */
  readonly name: string;
  readonly version: string;
  /** Longest time of one check, milliseconds. Default: 120,000. */
  readonly deadline?: number;
  /** Told of each result as it comes. */
  onResult?(result: CheckResult): void;
}

function planOf(subject: DriverSubject): CheckPlan<DriverBench> {
  const declared: readonly string[] = subject.capabilities;
  return {
    checks: driverChecks,
    skipped: ({ needs }) => {
      const lacking = needs.find((capability) => !declared.includes(capability));
      return lacking === undefined ? undefined : `the driver does not declare "${lacking}"`;
    },
    run: async (check) => {
      const bench = new DriverBench(await subject.create(), subject.soon);
      try {
        await bench.start();
        await check.run(bench);
      } finally {
        await bench.end();
      }
    },
  };
}

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
  declareChecks('driver conformance', options, planOf(options));
}

/** Runs the same checks without a test runner, one after the other, and reports. */
export async function runDriverConformance(options: RunDriverOptions): Promise<Report> {
  const results = await runChecks(planOf(options), { clock: systemClock, ...options });
  return reportOf({ suite: 'driver', name: options.name, version: options.version, capabilities: options.capabilities }, results);
}
