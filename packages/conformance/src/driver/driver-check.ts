import type { Check, ChecksById } from '../check.ts';
import type { DriverBench } from './driver-bench.ts';

/** A demand on volume drivers. */
export type DriverCheck = Check<DriverBench>;

/** Demands on volume drivers by id. */
export type DriverChecks = ChecksById<DriverBench>;
