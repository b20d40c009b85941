import type { Runner } from '../runner.ts';
import { exportTests } from './export-tests.ts';
import { sessionTests } from './session-tests.ts';
import { plainCall, TransportBench } from './transport-bench.ts';
import type { Connect, TransportUnderTest } from './transport-under-test.ts';

/** Tests by what they demand. Each gets a transport of its own, started. */
export type TransportTests = Readonly<Record<string, (bench: TransportBench) => Promise<void>>>;

/** Options of {@link transportConformance}. */
export interface TransportConformanceOptions extends Runner {
  /** Makes a transport that exports nothing, not started. Called for each test. */
  create(): Promise<TransportUnderTest>;
  /** A client of the transport. Without it only what needs none is tested. */
  readonly connect?: Connect;
}

/**
 * Declares the tests that every transport must pass.
 *
 * @example
 * transportConformance({ describe, test, create: () => startTransport(plugin, { listen: ['127.0.0.1:0'] }), connect });
 */
export function transportConformance(options: TransportConformanceOptions): void {
  const { describe, test } = options;
  const declare = (name: string, tests: TransportTests) => {
    describe(name, () => {
      for (const [demand, body] of Object.entries(tests)) {
        test(demand, async () => {
          const bench = new TransportBench(await options.create(), options.connect);
          try {
            await bench.transport.start(plainCall);
            await body(bench);
          } finally {
            await bench.end();
          }
        });
      }
    });
  };
  describe('transport conformance', () => {
    declare('exports', exportTests);
    if (options.connect) declare('sessions', sessionTests);
  });
}
