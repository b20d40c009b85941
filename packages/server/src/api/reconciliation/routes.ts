import { type Finding, findingKinds, findingStates, type ReconciliationRun } from '@scoria/core';
import { z } from 'zod';
import { route } from '../../http/route.ts';

const isoTime = z.iso.datetime();
const iso = (at: number) => new Date(at).toISOString();
const isoOrNull = (at: number | null) => (at === null ? null : iso(at));

const findingSchema = z.object({
  id: z.string(),
  kind: z.enum(findingKinds),
  state: z.enum(findingStates),
  subject: z.object({ kind: z.string(), id: z.string() }),
  scope: z.string().describe('the part of the installation that was looked at'),
  evidence: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  command: z.string().nullable().describe('what an operator would type'),
  first_seen_at: isoTime,
  last_seen_at: isoTime,
  passes: z.int().describe('passes that saw it'),
  actions: z.int().describe('times that something was done about it'),
  acted_at: isoTime.nullable(),
  operation_id: z.string().nullable().describe('the operation that was begun last'),
  ended_at: isoTime.nullable(),
});

function findingView(finding: Finding): z.input<typeof findingSchema> {
  const { id, kind, state, scope, evidence, command, passes, actions } = finding;
  return {
    id,
    kind,
    state,
    subject: { kind: finding.subjectKind, id: finding.subjectId },
    scope,
    evidence: { ...evidence },
    command,
    first_seen_at: iso(finding.firstSeenAt),
    last_seen_at: iso(finding.lastSeenAt),
    passes,
    actions,
    acted_at: isoOrNull(finding.actedAt),
    operation_id: finding.operationId,
    ended_at: isoOrNull(finding.endedAt),
  };
}

const runSchema = z.object({
  host: z.string(),
  started_at: isoTime,
  ended_at: isoTime,
  passes: z.array(z.object({ scope: z.string(), result: z.enum(['done', 'failed', 'left']), reason: z.string().nullable() })),
  findings: z.int().describe('open or marked'),
  actions: z.int().describe('findings that something was done about'),
});

function runView({ host, startedAt, endedAt, passes, findings, actions }: ReconciliationRun): z.input<typeof runSchema> {
  return { host, started_at: iso(startedAt), ended_at: iso(endedAt), passes: [...passes], findings, actions };
}

/** Below `/scoria/v1`, for administrators: what the reconciler found and did, and a run at once. */
export const reconciliationRoutes = [
  route({
    method: 'GET',
    path: '/findings',
    summary: 'Differences between backends, targets and the store, newest first; unless asked otherwise those not mended yet',
    query: z.strictObject({
      state: z
        .enum([...findingStates, 'any'])
        .optional()
        .describe('default: open and marked'),
      kind: z.enum(findingKinds).optional(),
      subject_id: z.string().max(255).optional(),
    }),
    response: { 200: z.object({ findings: z.array(findingSchema) }) },
    async handler({ storage, context, query }) {
      const { state, kind, subject_id: subjectId } = query;
      const states = state === undefined ? undefined : state === 'any' ? findingStates : [state];
      return { findings: (await storage.reconciler.findings(context, { states, kind, subjectId })).map(findingView) };
    },
  }),
  route({
    method: 'GET',
    path: '/reconciliation',
    summary: 'The last run of the reconciler',
    response: { 200: z.object({ reconciliation: runSchema.nullable() }) },
    async handler({ storage, context }) {
      const run = await storage.reconciler.lastRun(context);
      return { reconciliation: run && runView(run) };
    },
  }),
  route({
    method: 'POST',
    path: '/reconciliation',
    summary: 'Runs the reconciler now; a dry run writes and mends nothing',
    body: z.strictObject({ dry_run: z.boolean().default(false) }),
    response: { 200: z.object({ reconciliation: runSchema, findings: z.array(findingSchema) }) },
    async handler({ storage, context, body }) {
      const { run, findings } = await storage.reconciler.run(context, { dryRun: body.dry_run });
      return { reconciliation: runView(run), findings: findings.map(findingView) };
    },
  }),
];
