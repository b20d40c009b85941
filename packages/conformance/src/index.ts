export type { Check, CheckInfo } from './check.ts';
export {
  driverConformance,
  runDriverConformance,
  type DriverConformanceOptions,
  type DriverSubject,
  type RunDriverOptions,
} from './driver/driver-conformance.ts';
export type { DriverCheck } from './driver/driver-check.ts';
export { driverChecks } from './driver/driver-checks.ts';
export { DriverBench } from './driver/driver-bench.ts';
export { startDriver, type DriverUnderTest, type StartDriverOptions } from './driver/driver-under-test.ts';
export { initiatorConformance, type InitiatorConformanceOptions } from './initiator/initiator-conformance.ts';
export type { InitiatorCheck } from './initiator/initiator-check.ts';
export { initiatorChecks } from './initiator/initiator-checks.ts';
export { InitiatorBench, type PublishedVolume } from './initiator/initiator-bench.ts';
export type { InitiatorUnderTest } from './initiator/initiator-under-test.ts';
export { assertPattern, pattern, writePattern, type PatternTarget } from './pattern.ts';
export { RecordingLog } from './recording-log.ts';
export { htmlReport } from './report/html-report.ts';
export { reportHash, reportOf, suiteVersion, type Report, type ReportSubject } from './report/report.ts';
export { resultText, summaryText, textReport } from './report/text-report.ts';
export type { CheckResult } from './run-checks.ts';
export type { Runner } from './runner.ts';
export {
  runTransportConformance,
  transportConformance,
  type RunTransportOptions,
  type TransportCapability,
  type TransportConformanceOptions,
  type TransportSubject,
} from './transport/transport-conformance.ts';
export type { TransportCheck } from './transport/transport-check.ts';
export { transportChecks } from './transport/transport-checks.ts';
export { TransportBench } from './transport/transport-bench.ts';
export {
  fileVolumes,
  startTransport,
  type Connect,
  type Connection,
  type Damage,
  type TestVolumes,
  type TransportUnderTest,
} from './transport/transport-under-test.ts';
export { chaosDriver, chaosTransport } from './chaos/chaos-plugin.ts';
export type { ChaosOptions, InjectedFault } from './chaos/fault-plan.ts';
