import type { Finding, FindingState } from './finding.ts';
import type { Mend, Observation, ScopeView, Subject } from './observation.ts';

/** A finding as it stands after a pass, and what can be done about it. */
export interface Verdict {
  readonly finding: Finding;
  readonly mend: Mend | undefined;
}

const firstPause = 5 * 60_000;
const longestPause = 24 * 3_600_000;

/** Whether an operator is told of a finding. */
export function isTold({ state }: Finding): boolean {
  return state === 'open' || state === 'marked';
}

/** Whether the time has come to mend; after a try that did not help it comes later each time. */
export function isDue({ finding, mend }: Verdict, now: number): boolean {
  if (!mend || finding.endedAt !== null) return false;
  const pause = finding.actedAt === null ? 0 : Math.min(firstPause * 2 ** (finding.actions - 1), longestPause);
  const rested = finding.actedAt === null || now - finding.actedAt >= pause;
  return rested && now - finding.firstSeenAt >= mend.age && finding.passes >= mend.passes;
}

/** What a whole view of a scope makes of the findings known there. */
export function judge(view: ScopeView, known: readonly Finding[], now: number, newId: () => string): Verdict[] {
  const before = new Map(known.map((finding) => [keyOf(finding), finding]));
  const verdicts: Verdict[] = [];
  for (const observation of view.observations) {
    const earlier = before.get(keyOf(observation));
    before.delete(keyOf(observation));
    const finding = seen(observation, earlier, view.scope, now, newId);
    verdicts.push({ finding, mend: observation.mend });
  }
  for (const subject of view.unjudged ?? []) before.delete(keyOf(subject));
  for (const finding of before.values()) {
    verdicts.push({ finding: { ...finding, state: finding.actions > 0 ? 'mended' : 'gone', endedAt: now }, mend: undefined });
  }
  return verdicts;
}

function seen(observation: Observation, earlier: Finding | undefined, scope: string, now: number, newId: () => string): Finding {
  const { kind, subjectKind, subjectId, evidence, command } = observation;
  const firstSeenAt = earlier?.firstSeenAt ?? now;
  return {
    id: earlier?.id ?? newId(),
    kind,
    scope,
    subjectKind,
    subjectId,
    state: stateOf(observation, now - firstSeenAt),
    evidence,
    command,
    firstSeenAt,
    lastSeenAt: now,
    passes: (earlier?.passes ?? 0) + 1,
    actions: earlier?.actions ?? 0,
    actedAt: earlier?.actedAt ?? null,
    operationId: earlier?.operationId ?? null,
    endedAt: null,
  };
}

function stateOf({ patience = 0, mend }: Observation, age: number): FindingState {
  if (age < patience) return 'watched';
  return mend?.marks ? 'marked' : 'open';
}

function keyOf({ kind, subjectKind, subjectId }: Subject): string {
  return `${kind} ${subjectKind} ${subjectId}`;
}
