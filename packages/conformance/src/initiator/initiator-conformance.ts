import { declareChecks, type CheckPlan, type Runner } from '../runner.ts';
import { plainCall } from '../transport/transport-bench.ts';
import { InitiatorBench } from './initiator-bench.ts';
import { initiatorChecks } from './initiator-checks.ts';
import type { InitiatorUnderTest } from './initiator-under-test.ts';

/** Options of {@link initiatorConformance}. */
export interface InitiatorConformanceOptions extends Runner {
  /** Makes an initiator that is connected to nothing, and what publishes volumes to it. Called for each check. */
  create(): Promise<InitiatorUnderTest>;
  /**
   * `host-sessions`: connections belong to the host and outlive the process that made them, as those of a kernel do.
   * Default: none.
   */
  readonly capabilities?: readonly 'host-sessions'[];
  /** How long a verb may go on after its abort, and a session after its end, milliseconds. Default: 5,000. */
  readonly soon?: number;
}

function planOf({ create, capabilities = [], soon }: InitiatorConformanceOptions): CheckPlan<InitiatorBench> {
  return {
    checks: initiatorChecks,
    skipped: ({ needs }) => {
      const declared: readonly string[] = capabilities;
      const lacking = needs.find((capability) => !declared.includes(capability));
      return lacking === undefined ? undefined : `the initiator does not declare "${lacking}"`;
    },
    run: async (check) => {
      const bench = new InitiatorBench(await create(), soon);
      try {
        await bench.publisher.transport.start(plainCall);
        await check.run(bench);
      } finally {
        await bench.end();
      }
    },
  };
}

/**
 * Declares the tests that every initiator must pass.
 *
 * @example
 * initiatorConformance({ describe, test, create: async () => ({ initiator, publisher, cleanup: async () => {} }) });
 */
export function initiatorConformance(options: InitiatorConformanceOptions): void {
  declareChecks('initiator conformance', options, planOf(options));
}
