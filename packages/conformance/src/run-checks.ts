import { withDeadline, type Clock } from '@scoria/core';
import type { CheckInfo } from './check.ts';
import type { CheckPlan } from './runner.ts';

/** What came of a check. */
export interface CheckResult extends CheckInfo {
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Why it failed or was skipped. */
  readonly reason?: string;
  /** How long it took, milliseconds. */
  readonly ms: number;
}

/** Options of {@link runChecks}. */
export interface RunChecksOptions {
  readonly clock: Clock;
  /** Longest time of one check, milliseconds. Default: 120,000. */
  readonly deadline?: number;
  /** Told of each result as it comes. */
  onResult?(result: CheckResult): void;
}

/** Longest time of one check, ms. */
export const defaultDeadline = 120_000;
/** Characters of a reason that are kept. */
const reasonLimit = 4_000;

/** Runs checks one after the other. Never rejects because of what is tested: every check gets a result. */
export async function runChecks<Bench>(plan: CheckPlan<Bench>, options: RunChecksOptions): Promise<readonly CheckResult[]> {
  const { clock, deadline = defaultDeadline, onResult } = options;
  const results: CheckResult[] = [];
  for (const check of plan.checks) {
    const { run: _run, ...info } = check;
    const begin = clock.monotonic();
    const end = (outcome: CheckResult['outcome'], reason?: string) => {
      const ms = Math.round(clock.monotonic() - begin);
      const result = { ...info, outcome, ms, ...(reason !== undefined && { reason: reason.slice(0, reasonLimit) }) };
      results.push(result);
      onResult?.(result);
    };
    const skipped = plan.skipped(check);
    if (skipped !== undefined) {
      end('skipped', skipped);
      continue;
    }
    try {
      await withDeadline(clock, deadline, check.id, () => plan.run(check));
      end('passed');
    } catch (error) {
      end('failed', error instanceof Error ? error.message : String(error));
    }
  }
  return results;
}
