/** When the reconciler looks, and when it ends what nobody ended. Times are milliseconds. */
export interface ReconciliationSettings {
  /** Time between two runs. `null`: only when asked. */
  readonly interval: number | null;
  /** Time from the start of the service to the first run. */
  readonly firstRun: number;
  /** A reservation that is not completed after this time is ended. */
  readonly reservationLease: number;
  /** A connected attachment whose host has had no session for this time is told. */
  readonly silence: number;
  /** Whether such an attachment is ended, too. */
  readonly endSilent: boolean;
  /** Least time between the marking of an object without a placement and its removal. Two further passes must have seen it, too. */
  readonly garbageGrace: number;
  /**
   * The same for an object of which the store has no memory at all, as after its restoration from an old copy. `null`: such
   * an object is never removed.
   */
  readonly strangerGrace: number | null;
}

const minute = 60_000;
const day = 24 * 60 * minute;

/** Settings that do no harm. */
export const defaultReconciliationSettings: ReconciliationSettings = {
  interval: 5 * minute,
  firstRun: 1_000,
  reservationLease: day,
  silence: day,
  endSilent: false,
  garbageGrace: 10 * minute,
  strangerGrace: 7 * day,
};
