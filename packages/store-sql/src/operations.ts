import {
  errorDataSchema,
  ScoriaError,
  type JournalEntry,
  type ListQuery,
  type Operation,
  type OperationField,
  type OperationPatch,
  type OperationRepository,
  type OperationRole,
  type OperationStatus,
  type Progress,
  type ResourceUse,
  type Tenancy,
  type WorkerScope,
} from '@scoria/core';
import { sql } from 'kysely';
import { z } from 'zod';
import { flag, json, nullable, number, opaqueJson, text, word } from './column.ts';
import { listRows, type ListSource } from './list.ts';
import {
  allOf,
  anyOf,
  equals,
  insertEntity,
  isOneOf,
  removeOldest,
  selectEntities,
  updateEntities,
  type Row,
  type Session,
} from './session.ts';
import { defineTable } from './table.ts';
import { notFound, ownedBy } from './visibility.ts';

const progressSchema: z.ZodType<Progress> = z.object({
  step: z.string(),
  done: z.number(),
  total: z.number(),
  rate: z.number(),
  remaining: z.number().nullable(),
});

/** Table `operations`. */
export const operationTable = defineTable<Operation>()('operations', {
  id: text(),
  name: text(),
  projectId: text(),
  userId: text(),
  requestId: text(),
  resourceKind: word<Operation['resourceKind']>('volume', 'snapshot', 'attachment'),
  resourceId: text(),
  status: word<OperationStatus>('running', 'compensating', 'succeeded', 'failed', 'cancelled'),
  step: number(),
  started: flag(),
  input: opaqueJson(),
  state: opaqueJson(),
  role: word<OperationRole>('scheduler', 'volume'),
  backendId: nullable(text()),
  leaseOwner: nullable(text()),
  leaseUntil: number(),
  fence: number(),
  attempts: number(),
  notBefore: number(),
  cancelRequested: flag(),
  progress: nullable(json(progressSchema)),
  error: nullable(json(errorDataSchema)),
  createdAt: number(),
  updatedAt: number(),
  endedAt: nullable(number()),
});

/** Table `operation_journal`. */
export const journalTable = defineTable<JournalEntry>()('operation_journal', {
  operationId: text(),
  sequence: number(),
  at: number(),
  step: text(),
  event: word<JournalEntry['event']>('start', 'done', 'failed', 'undo', 'undone', 'ended'),
  error: nullable(json(errorDataSchema)),
});

const column = (field: OperationField) => ({
  column: operationTable.ref(field),
  nullable: operationTable.columns[field].nullable,
});

const source: ListSource<OperationField> = {
  label: 'Operation',
  table: 'operations',
  select: sql`operations.*`,
  id: operationTable.ref('id'),
  fields: {
    id: column('id'),
    name: column('name'),
    projectId: column('projectId'),
    requestId: column('requestId'),
    resourceKind: column('resourceKind'),
    resourceId: column('resourceId'),
    status: column('status'),
    createdAt: column('createdAt'),
    updatedAt: column('updatedAt'),
  },
};

const ends: ReadonlySet<OperationStatus | undefined> = new Set<OperationStatus>(['succeeded', 'failed', 'cancelled']);
const visible = (tenancy: Tenancy) => ownedBy(tenancy, operationTable.ref('projectId'));
/** `ended_at` and the status change together; the partial index is on the former. */
const unended = sql`operations.ended_at is null`;
const dueFor = (owner: string, now: number) =>
  allOf([
    unended,
    sql`(operations.lease_owner is null or operations.lease_owner = ${owner} or operations.lease_until <= ${now})`,
    sql`(operations.not_before <= ${now} or operations.updated_at > ${now})`,
  ]);

/** An engine takes only so many conditions and parameters in one statement. */
function batches<T>(all: readonly T[]): T[][] {
  const size = 200;
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.slice(index * size, (index + 1) * size));
}

/** Operations and their journal in SQL. */
export class SqlOperations implements OperationRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async insert(operation: Operation, uses: readonly ResourceUse[]): Promise<void> {
    const strongest = new Map<string, ResourceUse>();
    for (const use of uses) {
      const key = `${use.kind} ${use.id}`;
      if (strongest.get(key)?.mode !== 'change') strongest.set(key, use);
    }
    const wanted = [...strongest.values()];
    for (const some of batches(wanted)) await this.#refuseConflict(some);
    await insertEntity(this.#session, operationTable, operation, `Operation ${operation.id} exists already.`);
    const rows = wanted.map(({ kind, id, mode }) => ({ kind, resource_id: id, operation_id: operation.id, mode }));
    for (const some of batches(rows)) await this.#session.db.insertInto('operation_uses').values(some).execute();
  }

  async get(tenancy: Tenancy, id: string): Promise<Operation> {
    const conditions = [equals(operationTable.ref('id'), id), ...visible(tenancy)];
    const [operation] = await selectEntities(this.#session, operationTable, conditions);
    if (operation === undefined) throw notFound('Operation', id);
    return operation;
  }

  async list(tenancy: Tenancy, query: ListQuery<OperationField>): Promise<readonly Operation[]> {
    return (await listRows(this.#session, source, visible(tenancy), query)).map((row) => operationTable.read(row));
  }

  async runnable(scope: WorkerScope, now: number, limit: number): Promise<readonly string[]> {
    const free = scope.roles.filter((role) => role !== 'volume');
    const mine = [isOneOf(operationTable.ref('role'), free)];
    if (scope.roles.includes('volume')) {
      mine.push(
        allOf([equals(operationTable.ref('role'), 'volume'), isOneOf(operationTable.ref('backendId'), scope.backendIds)]),
      );
    }
    const { rows } = await sql<{ id: string }>`
      select id from operations where ${dueFor(scope.owner, now)} and ${anyOf(mine)} order by created_at, id limit ${limit}`.execute(
      this.#session.db,
    );
    return rows.map(({ id }) => id);
  }

  async lease(id: string, owner: string, now: number, until: number): Promise<Operation | undefined> {
    const next = sql`(select value + 1 from counters where name = 'fence')`;
    const { rows } = await sql<Row>`
      update operations set lease_owner = ${owner}, lease_until = ${until}, fence = ${next}, updated_at = ${now}
      where id = ${id} and ${dueFor(owner, now)} returning *`.execute(this.#session.db);
    const [row] = rows;
    if (row === undefined) return undefined;
    const operation = operationTable.read(row);
    await this.#session.db.updateTable('counters').set({ value: operation.fence }).where('name', '=', 'fence').execute();
    return operation;
  }

  async endLeases(): Promise<void> {
    await sql`update operations set lease_owner = null, lease_until = 0 where ${unended} and lease_owner is not null`.execute(
      this.#session.db,
    );
  }

  async write(id: string, owner: string, fence: number, patch: OperationPatch, now: number): Promise<Operation> {
    const ending = ends.has(patch.status);
    const written = { ...patch, ...(ending && { endedAt: patch.endedAt ?? now }), updatedAt: now };
    const { rows } = await sql<Row>`
      update operations set ${sql.join(operationTable.assignments(written))}
      where id = ${id} and lease_owner = ${owner} and fence = ${fence} and ${unended} returning *`.execute(this.#session.db);
    const [row] = rows;
    if (row === undefined) {
      throw new ScoriaError('lease-lost', `Operation ${id} is no longer ${owner}'s, or it has ended.`, {
        details: { id, owner, fence },
      });
    }
    if (ending) await this.#session.db.deleteFrom('operation_uses').where('operation_id', '=', id).execute();
    return operationTable.read(row);
  }

  async requestCancel(tenancy: Tenancy, id: string, now: number): Promise<Operation> {
    const open = [equals(operationTable.ref('id'), id), ...visible(tenancy), unended];
    // A retry that waits for its time must not keep the cancellation waiting.
    const due = [...open, sql`operations.not_before > ${now}`];
    await updateEntities(this.#session, operationTable, { notBefore: now }, due);
    await updateEntities(this.#session, operationTable, { cancelRequested: true, updatedAt: now }, open);
    return this.get(tenancy, id);
  }

  async using(kind: ResourceUse['kind'], id: string): Promise<readonly Operation[]> {
    const { rows } = await sql<Row>`
      select operations.* from operation_uses join operations on operations.id = operation_uses.operation_id
      where operation_uses.kind = ${kind} and operation_uses.resource_id = ${id}
      order by operations.created_at, operations.id`.execute(this.#session.db);
    return rows.map((row) => operationTable.read(row));
  }

  unended(limit: number): Promise<readonly Operation[]> {
    return selectEntities(this.#session, operationTable, [unended], sql`order by created_at, id limit ${limit}`);
  }

  async appendJournal(entries: readonly Omit<JournalEntry, 'sequence'>[]): Promise<void> {
    for (const { operationId, at, step, event, error } of entries) {
      const next = sql`(select coalesce(max(sequence), 0) + 1 from operation_journal where operation_id = ${operationId})`;
      await sql`insert into operation_journal (operation_id, sequence, at, step, event, error)
        values (${operationId}, ${next}, ${at}, ${step}, ${event}, ${journalTable.columns.error.write(error)})`.execute(
        this.#session.db,
      );
    }
  }

  removeEnded(before: number, limit: number): Promise<number> {
    return removeOldest(this.#session, { table: 'operations', key: ['id'], time: 'ended_at' }, before, limit);
  }

  journal(operationId: string): Promise<readonly JournalEntry[]> {
    const conditions = [equals(journalTable.ref('operationId'), operationId)];
    return selectEntities(this.#session, journalTable, conditions, sql`order by sequence`);
  }

  async #refuseConflict(uses: readonly ResourceUse[]): Promise<void> {
    const meets = uses.map(({ kind, id, mode }) =>
      allOf([
        sql`operation_uses.kind = ${kind}`,
        sql`operation_uses.resource_id = ${id}`,
        // Readers do not disturb each other.
        ...(mode === 'read' ? [sql`operation_uses.mode = 'change'`] : []),
      ]),
    );
    const { rows } = await sql<{ id: string; name: string; kind: string; resource: string }>`
      select operations.id as id, operations.name as name, operation_uses.kind as kind, operation_uses.resource_id as resource
      from operation_uses join operations on operations.id = operation_uses.operation_id
      where ${anyOf(meets.map((each) => sql`(${each})`))} limit 1`.execute(this.#session.db);
    const [other] = rows;
    if (other === undefined) return;
    const what = `${other.kind.slice(0, 1).toUpperCase()}${other.kind.slice(1)} ${other.resource}`;
    throw new ScoriaError('invalid-state', `${what} is in use by operation ${other.id} (${other.name}), which has not ended.`, {
      details: { operationId: other.id, operation: other.name, kind: other.kind, id: other.resource },
    });
  }
}
