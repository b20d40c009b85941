export { driverConformance, type DriverConformanceOptions, type DriverTests } from './driver/driver-conformance.ts';
export { DriverBench } from './driver/driver-bench.ts';
export { startDriver, type DriverUnderTest, type StartDriverOptions } from './driver/driver-under-test.ts';
export { assertPattern, pattern, writePattern, type PatternTarget } from './pattern.ts';
export type { Runner } from './runner.ts';
export {
  transportConformance,
  type TransportConformanceOptions,
  type TransportTests,
} from './transport/transport-conformance.ts';
export { TransportBench } from './transport/transport-bench.ts';
export {
  fileVolumes,
  startTransport,
  type Connect,
  type Connection,
  type TestVolumes,
  type TransportUnderTest,
} from './transport/transport-under-test.ts';
