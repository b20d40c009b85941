import type { Check, ChecksById } from '../check.ts';
import type { TransportBench } from './transport-bench.ts';

/** A demand on transports. */
export type TransportCheck = Check<TransportBench>;

/** Demands on transports by id. */
export type TransportChecks = ChecksById<TransportBench>;
