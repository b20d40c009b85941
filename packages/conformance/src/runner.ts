import type { Check } from './check.ts';

type Declare = (name: string, body: () => Promise<void>, timeout?: number) => unknown;

/** Milliseconds that a test runner gives a check, where it takes a time at all. */
const timeout = 60_000;

/** The two functions of a test runner that a suite needs; those of vitest, node:test and jest fit. */
export interface Runner {
  describe(name: string, body: () => void): unknown;
  /** Its `skip`, where it has one, is told what is skipped and why. */
  readonly test: Declare & { readonly skip?: Declare };
}

/** What becomes of the checks of a suite. */
export interface CheckPlan<Bench> {
  readonly checks: readonly Check<Bench>[];
  /** Why a check is skipped; `undefined` when it is run. */
  skipped(check: Check<Bench>): string | undefined;
  /** Runs one check on a bench of its own. */
  run(check: Check<Bench>): Promise<void>;
}

/** Declares checks as tests, grouped by verb. */
export function declareChecks<Bench>(name: string, runner: Runner, plan: CheckPlan<Bench>): void {
  const { describe, test } = runner;
  describe(name, () => {
    for (const verb of new Set(plan.checks.map((check) => check.verb))) {
      describe(verb, () => {
        for (const check of plan.checks) {
          if (check.verb !== verb) continue;
          const reason = plan.skipped(check);
          const body = () => plan.run(check);
          if (reason === undefined) test(`${check.id}: ${check.demand}`, body, timeout);
          else test.skip?.(`${check.id}: skipped, ${reason}`, body);
        }
      });
    }
  });
}
