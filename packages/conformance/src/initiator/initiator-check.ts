import type { Check, ChecksById } from '../check.ts';
import type { InitiatorBench } from './initiator-bench.ts';

/** A demand on initiators. */
export type InitiatorCheck = Check<InitiatorBench>;

/** Demands on initiators by id. */
export type InitiatorChecks = ChecksById<InitiatorBench>;
