import { systemClock, type AnyTransport } from '@scoria/core';
import { reportOf, type Report } from '../report/report.ts';
import { runChecks, type CheckResult } from '../run-checks.ts';
import { declareChecks, type CheckPlan, type Runner } from '../runner.ts';
import { plainCall, TransportBench } from './transport-bench.ts';
import { transportChecks } from './transport-checks.ts';
import type { Connect, Damage, TransportUnderTest } from './transport-under-test.ts';

/** An optional group of verbs, as core's documentation of it names it. */
export type TransportCapability = 'point-in-time' | 'mirror' | 'limit';

/** The groups that a transport has: a transport declares one by implementing it. */
export function capabilitiesOf({ hold, mirror, limit }: AnyTransport): readonly TransportCapability[] {
  return [
    ...(hold ? ['point-in-time' as const] : []),
    ...(mirror ? ['mirror' as const] : []),
    ...(limit ? ['limit' as const] : []),
  ];
}

/** What is tested, and how patiently. */
export interface TransportSubject {
  /** Makes a transport that exports nothing, not started. Called for each check. */
  create(): Promise<TransportUnderTest>;
  /** A client of the transport. Without it only what needs none is tested. */
  readonly connect?: Connect;
  /**
   * Makes a half of an export, where something of it outlives the transport's process. Without it exports that are half-made
   * are not tested.
   */
  readonly damage?: Damage;
  /** The optional groups that the transport has; only they are tested. Default: none. */
  readonly capabilities?: readonly TransportCapability[];
  /** How long a verb may go on after its abort, milliseconds. Default: 5,000. */
  readonly soon?: number;
}

/** Options of {@link transportConformance}. */
export interface TransportConformanceOptions extends TransportSubject, Runner {}

/** Options of {@link runTransportConformance}. */
export interface RunTransportOptions extends TransportSubject {
  /** Name and version for the report: those of the transport's package. */
  readonly name: string;
  readonly version: string;
  /** Longest time of one check, milliseconds. Default: 120,000. */
  readonly deadline?: number;
  /** Told of each result as it comes. */
  onResult?(result: CheckResult): void;
}

function planOf(subject: TransportSubject): CheckPlan<TransportBench> {
  return {
    checks: transportChecks,
    skipped: ({ needs }) => {
      const declared: readonly string[] = [...(subject.capabilities ?? []), 'client', 'damage'];
      const lacking = needs.find((capability) => !declared.includes(capability));
      if (lacking !== undefined) return `the transport does not declare "${lacking}"`;
      if (needs.includes('damage') && !subject.damage) return 'the suite was given nothing to damage an export';
      return needs.includes('client') && !subject.connect ? 'the suite was given no client' : undefined;
    },
    run: async (check) => {
      const bench = new TransportBench(await subject.create(), subject);
      try {
        await bench.transport.start(plainCall);
        await check.run(bench);
      } finally {
        await bench.end();
      }
    },
  };
}

/**
 * Declares the tests that every transport must pass.
 *
 * @example
 * transportConformance({ describe, test, create: () => startTransport(plugin, { listen: ['127.0.0.1:0'] }), connect });
 */
export function transportConformance(options: TransportConformanceOptions): void {
  declareChecks('transport conformance', options, planOf(options));
}

/** Runs the same checks without a test runner, one after the other, and reports. */
export async function runTransportConformance(options: RunTransportOptions): Promise<Report> {
  const results = await runChecks(planOf(options), { clock: systemClock, ...options });
  const capabilities = [...(options.capabilities ?? []), ...(options.connect ? ['client'] : [])];
  return reportOf({ suite: 'transport', name: options.name, version: options.version, capabilities }, results);
}
