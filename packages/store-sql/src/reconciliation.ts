import {
  evidenceSchema,
  type Finding,
  type FindingFilter,
  findingKinds,
  findingStates,
  findingSubjectKinds,
  type FindingState,
  type PassResult,
  passResultSchema,
  type ReconciliationRepository,
  type ReconciliationRun,
} from '@scoria/core';
import { sql } from 'kysely';
import { z } from 'zod';
import { json, nullable, number, text, word } from './column.ts';
import { equals, isOneOf, removeRows, selectEntities, updateEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';

/** Table `findings`. */
export const findingTable = defineTable<Finding>()('findings', {
  id: text(),
  kind: word(...findingKinds),
  scope: text(),
  subjectKind: word(...findingSubjectKinds),
  subjectId: text(),
  state: word(...findingStates),
  evidence: json(evidenceSchema),
  command: nullable(text()),
  firstSeenAt: number(),
  lastSeenAt: number(),
  passes: number(),
  actions: number(),
  actedAt: nullable(number()),
  operationId: nullable(text()),
  endedAt: nullable(number()),
});

/** Table `reconciliation_runs`. */
export const reconciliationRunTable = defineTable<ReconciliationRun>()('reconciliation_runs', {
  host: text(),
  startedAt: number(),
  endedAt: number(),
  passes: json<readonly PassResult[]>(z.array(passResultSchema)),
  findings: number(),
  actions: number(),
});

const shown: readonly FindingState[] = ['open', 'marked'];

/** Findings, runs and leases of the reconciler, in SQL. */
export class SqlReconciliation implements ReconciliationRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async lease(name: string, owner: string, now: number, until: number): Promise<boolean> {
    const result = await sql`
      insert into reconciliation_leases (name, owner, until) values (${name}, ${owner}, ${until})
      on conflict (name) do update set owner = excluded.owner, until = excluded.until
      where reconciliation_leases.owner = ${owner} or reconciliation_leases.until <= ${now}`.execute(this.#session.db);
    return Number(result.numAffectedRows ?? 0) > 0;
  }

  async release(name: string, owner: string): Promise<void> {
    await this.#session.db.deleteFrom('reconciliation_leases').where('name', '=', name).where('owner', '=', owner).execute();
  }

  live(scope: string): Promise<readonly Finding[]> {
    return selectEntities(this.#session, findingTable, [equals(findingTable.ref('scope'), scope), sql`ended_at is null`]);
  }

  list({ states = shown, kind, subjectId }: FindingFilter, limit: number): Promise<readonly Finding[]> {
    const conditions = [isOneOf(findingTable.ref('state'), states)];
    if (kind !== undefined) conditions.push(equals(findingTable.ref('kind'), kind));
    if (subjectId !== undefined) conditions.push(equals(findingTable.ref('subjectId'), subjectId));
    return selectEntities(this.#session, findingTable, conditions, sql`order by first_seen_at desc, id limit ${limit}`);
  }

  async count(states: readonly FindingState[]): Promise<number> {
    const { count } = await this.#session.db
      .selectFrom('findings')
      .where('state', 'in', states)
      .select((expression) => expression.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return count;
  }

  async write(finding: Finding): Promise<void> {
    const assignments = sql.join(findingTable.assignments(finding));
    await sql`${findingTable.insertion(finding)} on conflict (id) do update set ${assignments}`.execute(this.#session.db);
  }

  async endUnseen(since: number, now: number): Promise<void> {
    const conditions = [sql`ended_at is null`, sql`last_seen_at < ${since}`];
    await updateEntities(this.#session, findingTable, { state: 'gone', endedAt: now }, conditions);
  }

  async removeEndedBefore(time: number): Promise<void> {
    await removeRows(this.#session, findingTable, sql`ended_at < ${time}`);
  }

  async writeRun(run: ReconciliationRun): Promise<void> {
    const assignments = sql.join(reconciliationRunTable.assignments(run));
    await sql`${reconciliationRunTable.insertion(run)} on conflict (host) do update set ${assignments}`.execute(this.#session.db);
  }

  async lastRun(): Promise<ReconciliationRun | undefined> {
    const [run] = await selectEntities(this.#session, reconciliationRunTable, [], sql`order by started_at desc limit 1`);
    return run;
  }
}
