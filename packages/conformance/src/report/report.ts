import { createHash } from 'node:crypto';
import type { CheckResult } from '../run-checks.ts';

/** Version of the suites. Grows with every change to what a check demands, so that hashes can be compared. */
export const suiteVersion = '1.0.0';

/** What was tested. */
export interface ReportSubject {
  readonly suite: 'driver' | 'transport';
  readonly name: string;
  readonly version: string;
  readonly capabilities: readonly string[];
}

/** The outcome of a run: plain data, the JSON form of the report. */
export interface Report extends ReportSubject {
  readonly suiteVersion: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly results: readonly CheckResult[];
  /** See {@link reportHash}. */
  readonly hash: string;
}

/** Makes a report of results. */
export function reportOf(subject: ReportSubject, results: readonly CheckResult[]): Report {
  const count = (outcome: CheckResult['outcome']) => results.filter((result) => result.outcome === outcome).length;
  const { suite, name, version } = subject;
  const capabilities = subject.capabilities.toSorted();
  return {
    suite,
    suiteVersion,
    name,
    version,
    capabilities,
    passed: count('passed'),
    failed: count('failed'),
    skipped: count('skipped'),
    results,
    hash: reportHash({ suite, name, version, capabilities }, results),
  };
}

/**
 * SHA-256 over suite and its version, name, version and capabilities of what was tested, and the outcome of each check
 * by id; hexadecimal. Times, reasons and the order of things do not count: the same driver gives the same hash on every
 * machine.
 */
export function reportHash(subject: ReportSubject, results: readonly Pick<CheckResult, 'id' | 'outcome'>[]): string {
  const outcomes = results.map(({ id, outcome }) => [id, outcome] as const).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const { suite, name, version, capabilities } = subject;
  const text = JSON.stringify([suite, suiteVersion, name, version, capabilities.toSorted(), outcomes]);
  return createHash('sha256').update(text).digest('hex');
}
