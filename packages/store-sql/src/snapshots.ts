import {
  snapshotTransitions,
  targetState,
  type ListQuery,
  type Snapshot,
  type SnapshotField,
  type SnapshotPatch,
  type SnapshotRepository,
  type SnapshotStatus,
  type SnapshotTransition,
  type Tenancy,
  type UsageByType,
} from '@scoria/core';
import { sql } from 'kysely';
import { nullable, number, text, word } from './column.ts';
import { countRows, listRows, type ListSource } from './list.ts';
import { countIn, countOut, usageOf } from './project-usage.ts';
import { equals, insertEntity, isOneOf, removeRows, selectEntities, updateEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';
import { refusedTransition } from './transition.ts';
import { notFound, ownedBy } from './visibility.ts';
import { pairs } from './volumes.ts';

/** Table `snapshots`. */
export const snapshotTable = defineTable<Snapshot>()('snapshots', {
  id: text(),
  projectId: text(),
  userId: text(),
  volumeId: text(),
  volumeTypeId: text(),
  name: nullable(text()),
  description: nullable(text()),
  size: number(),
  status: word<SnapshotStatus>('creating', 'available', 'restoring', 'deleting', 'error', 'error_deleting'),
  metadata: pairs,
  placementId: nullable(text()),
  createdAt: number(),
  updatedAt: nullable(number()),
});

const column = (field: Exclude<SnapshotField, 'availabilityZone'>) => ({
  column: snapshotTable.ref(field),
  nullable: snapshotTable.columns[field].nullable,
});

const source: ListSource<SnapshotField> = {
  label: 'Snapshot',
  table: 'snapshots',
  joins: sql`left join volumes on volumes.id = snapshots.volume_id`,
  select: sql`snapshots.*`,
  id: snapshotTable.ref('id'),
  metadata: snapshotTable.ref('metadata'),
  fields: {
    id: column('id'),
    projectId: column('projectId'),
    userId: column('userId'),
    volumeId: column('volumeId'),
    name: column('name'),
    description: column('description'),
    size: column('size'),
    status: column('status'),
    volumeTypeId: column('volumeTypeId'),
    // A snapshot lies where its volume does.
    availabilityZone: { column: sql`volumes.availability_zone`, nullable: true, joined: true },
    createdAt: column('createdAt'),
    updatedAt: column('updatedAt'),
  },
};

const visible = (tenancy: Tenancy) => ownedBy(tenancy, snapshotTable.ref('projectId'));

/** Snapshots in SQL. */
export class SqlSnapshots implements SnapshotRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async insert(snapshot: Snapshot): Promise<void> {
    await insertEntity(this.#session, snapshotTable, snapshot, `Snapshot ${snapshot.id} exists already.`);
    await countIn(this.#session, 'snapshots', snapshot.id);
  }

  async get(tenancy: Tenancy, id: string): Promise<Snapshot> {
    const [snapshot] = await selectEntities(this.#session, snapshotTable, [
      equals(snapshotTable.ref('id'), id),
      ...visible(tenancy),
    ]);
    if (snapshot === undefined) throw notFound('Snapshot', id);
    return snapshot;
  }

  async list(tenancy: Tenancy, query: ListQuery<SnapshotField>): Promise<readonly Snapshot[]> {
    return (await listRows(this.#session, source, visible(tenancy), query)).map((row) => snapshotTable.read(row));
  }

  count(tenancy: Tenancy, query: ListQuery<SnapshotField>): Promise<number> {
    return countRows(this.#session, source, visible(tenancy), query);
  }

  async update(tenancy: Tenancy, id: string, patch: SnapshotPatch, now: number): Promise<Snapshot> {
    const conditions = [equals(snapshotTable.ref('id'), id), ...visible(tenancy)];
    await updateEntities(this.#session, snapshotTable, { ...patch, updatedAt: now }, conditions);
    return this.get(tenancy, id);
  }

  async transition(
    tenancy: Tenancy,
    id: string,
    name: SnapshotTransition,
    now: number,
    options: { readonly patch?: SnapshotPatch } = {},
  ): Promise<Snapshot> {
    const transition = snapshotTransitions[name];
    const status = targetState(transition, undefined);
    const changed = await updateEntities(this.#session, snapshotTable, { ...options.patch, status, updatedAt: now }, [
      equals(snapshotTable.ref('id'), id),
      ...visible(tenancy),
      isOneOf(snapshotTable.ref('status'), transition.from),
    ]);
    const snapshot = await this.get(tenancy, id);
    if (changed === 0) throw refusedTransition('Snapshot', snapshot, name, transition);
    return snapshot;
  }

  async remove(id: string): Promise<void> {
    await countOut(this.#session, 'snapshots', id);
    await removeRows(this.#session, snapshotTable, equals(snapshotTable.ref('id'), id));
  }

  usage(projectId: string): Promise<readonly UsageByType[]> {
    return usageOf(this.#session, 'snapshots', projectId);
  }
}
