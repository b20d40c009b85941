import { z } from 'zod';

/** What can be wrong between backends, targets and the store. */
export const findingKinds = [
  /** A backend could not prove that it is ours, or did not list all that it has. Nothing on it was judged. */
  'unlisted-backend',
  /** An object on a backend without a placement. */
  'unknown-object',
  /** A placement whose object is gone from its backend. */
  'missing-object',
  /** A placement that no volume or snapshot names. */
  'stray-placement',
  /** A target did not list its exports. */
  'unlisted-transport',
  /** An open access that no target publishes. */
  'unpublished-access',
  /** An export without an access. */
  'unknown-export',
  /** An access on which no attachment counts. */
  'unowned-access',
  /** A connected attachment whose host has no session. */
  'silent-attachment',
  /** A reservation that nobody completed. */
  'stale-reservation',
  /** A detaching that nobody completed. */
  'stale-detach',
  /** A volume or snapshot on its way to another status, without an operation that takes it there. */
  'stuck-status',
] as const;
/** See {@link findingKinds}. */
export type FindingKind = (typeof findingKinds)[number];

/**
 * How a finding stands. `watched`: it may pass by itself and is not told yet; `open`; `marked`: it will be removed in a
 * later pass. The others are ends: `mended` (something was done, and it is no longer true), `gone` (no longer true).
 */
export const findingStates = ['watched', 'open', 'marked', 'mended', 'gone'] as const;
/** See {@link findingStates}. */
export type FindingState = (typeof findingStates)[number];

/** What a finding is about. */
export const findingSubjectKinds = [
  'backend',
  'transport',
  'object',
  'placement',
  'access',
  'attachment',
  'volume',
  'snapshot',
] as const;
/** See {@link findingSubjectKinds}. */
export type FindingSubjectKind = (typeof findingSubjectKinds)[number];

/** Plain data that an operator can check for himself. Sizes are bytes. */
export type Evidence = Readonly<Record<string, string | number | boolean | null>>;

/** Schema of {@link Evidence}. */
export const evidenceSchema: z.ZodType<Evidence> = z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]));

/** A difference between what is and what the store knows. Times are milliseconds since 1970 UTC. */
export interface Finding {
  readonly id: string;
  readonly kind: FindingKind;
  /** The part of the installation that was looked at: only who has seen all of it can say that a finding is gone. */
  readonly scope: string;
  readonly subjectKind: FindingSubjectKind;
  /** UUID, or the name of a backend or transport. */
  readonly subjectId: string;
  readonly state: FindingState;
  readonly evidence: Evidence;
  /** What an operator would type, where there is something to type. */
  readonly command: string | null;
  readonly firstSeenAt: number;
  readonly lastSeenAt: number;
  /** Passes that saw it. */
  readonly passes: number;
  /** How often something was done about it, when last, and the operation that was begun. */
  readonly actions: number;
  readonly actedAt: number | null;
  readonly operationId: string | null;
  /** When it was no longer true. */
  readonly endedAt: number | null;
}

/** What is asked of findings. */
export interface FindingFilter {
  /** Default: `open` and `marked`. */
  readonly states?: readonly FindingState[] | undefined;
  readonly kind?: FindingKind | undefined;
  readonly subjectId?: string | undefined;
}

/** How one part of a run went. */
export const passResultSchema = z.object({
  scope: z.string(),
  /** `left`: somebody is at it already, another instance or the run before; see the reason. */
  result: z.enum(['done', 'failed', 'left']),
  /** Why it failed or was left. */
  reason: z.string().nullable(),
});
/** See {@link passResultSchema}. */
export type PassResult = Readonly<z.infer<typeof passResultSchema>>;

/** One run of the reconciler in one process. */
export interface ReconciliationRun {
  /** Host of the process. The store keeps the last run of each. */
  readonly host: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly passes: readonly PassResult[];
  /** Findings that are told: open or marked. */
  readonly findings: number;
  /** Of the findings of this run, how many something was done about. */
  readonly actions: number;
}

/** What the reconciler of a store remembers. */
export interface ReconciliationRepository {
  /** Takes or renews a lease. False when it is another owner's and has not run out. */
  lease(name: string, owner: string, now: number, until: number): Promise<boolean>;
  /** Gives a lease back. No error when it is another's. */
  release(name: string, owner: string): Promise<void>;
  /** Findings of a scope that have not ended. */
  live(scope: string): Promise<readonly Finding[]>;
  /** The newest first, at most `limit`. */
  list(filter: FindingFilter, limit: number): Promise<readonly Finding[]>;
  /** Number of findings in these states. */
  count(states: readonly FindingState[]): Promise<number>;
  /** Inserts or replaces. */
  write(finding: Finding): Promise<void>;
  /** Ends findings that nobody has looked after since a time: their backend or host is not in use any more. */
  endUnseen(since: number, now: number): Promise<void>;
  /** Forgets findings that ended before a time. */
  removeEndedBefore(time: number): Promise<void>;
  writeRun(run: ReconciliationRun): Promise<void>;
  /** The newest run of any host. */
  lastRun(): Promise<ReconciliationRun | undefined>;
}
