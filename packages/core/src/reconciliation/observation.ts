import type { Attachments } from '../attachment/attachments.ts';
import type { Outbox, Transaction } from '../event/outbox.ts';
import type { Operations } from '../operation/operations.ts';
import type { Audits } from '../placement/audits.ts';
import type { Backends } from '../placement/backends.ts';
import type { Clock } from '../platform/clock.ts';
import type { Store } from '../store/store.ts';
import type { RequestContext } from '../tenancy/request-context.ts';
import type { Evidence, Finding, FindingKind, FindingSubjectKind } from './finding.ts';
import type { ReconciliationSettings } from './reconciliation-settings.ts';

/** What became of the attempt to mend: begun or done, no longer true, or not possible yet. */
export type MendOutcome = { readonly operationId: string | null } | 'gone' | 'not-yet';

/** What can be done about a difference. */
export interface Mend {
  /** Milliseconds that it must have lasted. */
  readonly age: number;
  /** Passes that must have seen it, this one included. */
  readonly passes: number;
  /** Something is removed for good: until then the finding is `marked`. */
  readonly marks: boolean;
  /** Proves in the store that it is still so, and begins. An error is logged, and it is tried again later. */
  begin(finding: Finding): Promise<MendOutcome>;
}

/** What an observation or a finding is about: there is one at a time in a scope. */
export type Subject = Pick<Observation, 'kind' | 'subjectKind' | 'subjectId'>;

/** A difference that a pass has seen. */
export interface Observation {
  readonly kind: FindingKind;
  readonly subjectKind: FindingSubjectKind;
  readonly subjectId: string;
  readonly evidence: Evidence;
  readonly command: string | null;
  /** It may pass by itself: not told before it has lasted this long, ms. */
  readonly patience?: number;
  readonly mend?: Mend;
}

/** All that is different in one scope. */
export interface ScopeView {
  readonly scope: string;
  readonly observations: readonly Observation[];
  /** What was not looked at: nothing is known of it, so its findings stay as they are. */
  readonly unjudged?: readonly Subject[];
}

/** What a pass has seen. A scope that is not among `views` was not seen whole, so nothing in it is judged. */
export interface PassView {
  readonly views: readonly ScopeView[];
  /** Why it did not see everything. */
  readonly failure: string | null;
}

/** What passes work with. */
export interface PassTools {
  readonly store: Store;
  readonly outbox: Outbox;
  readonly operations: Operations;
  readonly attachments: Attachments;
  readonly backends: Backends;
  readonly audits: Audits;
  readonly clock: Clock;
  readonly settings: ReconciliationSettings;
  /** In whose name things are mended. */
  readonly context: RequestContext;
  /** Throws `lease-lost` when the pass has no right to mend any more. Comes first in each transaction that mends. */
  holdLease(transaction: Transaction): Promise<void>;
}

/** At once, when the transaction that begins proves by itself that it is right. */
export const atOnce = { age: 0, passes: 1, marks: false } as const;
