/** What a check is about, without its body: fit for a table. */
export interface CheckInfo {
  /** Stable: never renamed or reused. Reports and their hashes stand on it. */
  readonly id: string;
  /** Verb of the contract that it is mostly about. */
  readonly verb: string;
  /** Line of the contract that it holds, quoted from core's documentation. */
  readonly contract: string;
  /** What is demanded, one line. */
  readonly demand: string;
  /** The capabilities without any of which it is skipped. */
  readonly needs: readonly string[];
}

/** One demand on a driver or transport. It fails by throwing. */
export interface Check<Bench> extends CheckInfo {
  run(bench: Bench): Promise<void>;
}

/** Checks by id, as their files hold them. */
export type ChecksById<Bench> = Readonly<Record<string, Omit<Check<Bench>, 'id' | 'needs'>>>;

/** Makes a list of checks, all of which need the same capabilities. */
export function checksOf<Bench>(checks: ChecksById<Bench>, ...needs: readonly string[]): readonly Check<Bench>[] {
  return Object.entries(checks).map(([id, check]) => ({ id, ...check, needs }));
}
