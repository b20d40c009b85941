import type { NewVolumeType } from '../volume-type/volume-types.ts';
import type { OperationRole } from '../operation/operation.ts';
import type { ReconciliationSettings } from '../reconciliation/reconciliation-settings.ts';

/** How operations are worked on. Times are milliseconds. */
export interface WorkerSettings {
  readonly roles: readonly OperationRole[];
  /** No other process works on the store, and whoever assembles the service sees to it: leases found at the start are of the dead, and end. */
  readonly alone: boolean;
  /** Operations under way at the same time in this process, at most; the backends that it serves have equal parts. */
  readonly concurrency: number;
  /** How long a lease lasts without being renewed. */
  readonly lease: number;
  /** Time between two looks for work that no wake-up told of. */
  readonly sweep: number;
  /** Time that work under way is given to end by itself when the service stops. */
  readonly drain: number;
  /** Attempts of a step whose error may pass, and the pauses between them. */
  readonly retryPauses: readonly number[];
  /** Time until a step that waits while its backend is busy is tried again, once the pauses are used up. */
  readonly busyPause: number;
}

/** Settings of this installation that core's parts share. */
export interface Settings {
  /** Host name in host strings. */
  readonly host: string;
  /** Zone of backends that name none, and of volumes that ask for none. */
  readonly availabilityZone: string;
  /** Name of the volume type of a volume that asks for none. */
  readonly defaultVolumeType: string;
  /** Volume types made in a store that has none yet. */
  readonly firstVolumeTypes: readonly NewVolumeType[];
  /** Time between two reports of a backend, ms. */
  readonly reportInterval: number;
  /** Longest that a start waits for the first reports of the backends, ms. Those that take longer come into service later. */
  readonly startPatience: number;
  readonly reconciliation: ReconciliationSettings;
}

/** Settings that serve one process well. */
export const defaultWorkerSettings: WorkerSettings = {
  roles: ['scheduler', 'volume'],
  alone: false,
  concurrency: 64,
  lease: 30_000,
  sweep: 5_000,
  drain: 1_500,
  retryPauses: [200, 1_000, 3_000],
  busyPause: 10_000,
};
