import {
  migrationStatuses,
  targetState,
  uncountedVolumeStatuses,
  volumeStatuses,
  volumeTransitions,
  type MigrationStatus,
  type ListQuery,
  type Tenancy,
  type UsageByType,
  type Volume,
  type VolumeField,
  type VolumePatch,
  type VolumeRepository,
  type VolumeStatus,
  type VolumeSummary,
  type VolumeTransition,
} from '@scoria/core';
import { sql, type RawBuilder } from 'kysely';
import { z } from 'zod';
import { flag, json, nullable, number, text, word } from './column.ts';
import { countRows, listRows, queryConditions, tablesOfConditions, type ListSource } from './list.ts';
import { countIn, countOut, recounted, usageOf } from './project-usage.ts';
import { allOf, equals, insertEntity, isOneOf, removeRows, updateEntities, type Row, type Session } from './session.ts';
import { defineTable } from './table.ts';
import { refusedTransition } from './transition.ts';
import { notFound, ownedBy } from './visibility.ts';

type StoredVolume = Omit<Volume, 'hostString'>;

/** Pairs of strings, as metadata and extra specs have them. */
export const pairs = json<Readonly<Record<string, string>>>(z.record(z.string(), z.string()));

/** Table `volumes`. */
export const volumeTable = defineTable<StoredVolume>()('volumes', {
  id: text(),
  projectId: text(),
  userId: text(),
  name: nullable(text()),
  description: nullable(text()),
  size: number(),
  status: word<VolumeStatus>(...volumeStatuses),
  volumeTypeId: text(),
  availabilityZone: text(),
  bootable: flag(),
  readOnly: flag(),
  multiattach: flag(),
  metadata: pairs,
  sourceVolumeId: nullable(text()),
  snapshotId: nullable(text()),
  placementId: nullable(text()),
  migrationStatus: nullable(word<MigrationStatus>(...migrationStatuses)),
  createdAt: number(),
  updatedAt: nullable(number()),
  launchedAt: nullable(number()),
});

const joins = sql`left join placements on placements.id = volumes.placement_id
  left join backends on backends.id = placements.backend_id`;
const backendLabel = sql`(backends.host || '@' || backends.name)`;
const hostColumn = sql`(${backendLabel} || '#' || placements.pool)`;
const select = sql`volumes.*, ${hostColumn} as host_string`;

/** A host string without a pool means every pool of the backend; without a backend, every backend of the host. */
function onHost(value: string): RawBuilder<unknown> {
  if (value.includes('#')) return equals(hostColumn, value);
  return equals(value.includes('@') ? backendLabel : sql`backends.host`, value);
}

const column = (field: Exclude<VolumeField, 'hostString'>) => ({
  column: volumeTable.ref(field),
  nullable: volumeTable.columns[field].nullable,
});

const source: ListSource<VolumeField> = {
  label: 'Volume',
  table: 'volumes',
  joins,
  select,
  id: volumeTable.ref('id'),
  metadata: volumeTable.ref('metadata'),
  fields: {
    id: column('id'),
    projectId: column('projectId'),
    userId: column('userId'),
    name: column('name'),
    description: column('description'),
    size: column('size'),
    status: column('status'),
    volumeTypeId: column('volumeTypeId'),
    availabilityZone: column('availabilityZone'),
    bootable: column('bootable'),
    multiattach: column('multiattach'),
    sourceVolumeId: column('sourceVolumeId'),
    snapshotId: column('snapshotId'),
    hostString: { column: hostColumn, nullable: true, joined: true, matches: onHost },
    migrationStatus: column('migrationStatus'),
    createdAt: column('createdAt'),
    updatedAt: column('updatedAt'),
    launchedAt: column('launchedAt'),
  },
};

const hostString = nullable(text());
const read = (row: Row): Volume => ({ ...volumeTable.read(row), hostString: hostString.read(row['host_string']) });
const visible = (tenancy: Tenancy) => ownedBy(tenancy, volumeTable.ref('projectId'));

/** Volumes in SQL. */
export class SqlVolumes implements VolumeRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async insert(volume: StoredVolume): Promise<void> {
    await insertEntity(this.#session, volumeTable, volume, `Volume ${volume.id} exists already.`);
    await countIn(this.#session, 'volumes', volume.id);
  }

  async get(tenancy: Tenancy, id: string): Promise<Volume> {
    const condition = allOf([equals(volumeTable.ref('id'), id), ...visible(tenancy)]);
    const { rows } = await sql<Row>`select ${select} from volumes ${joins} where ${condition}`.execute(this.#session.db);
    const [row] = rows;
    if (row === undefined) throw notFound('Volume', id);
    return read(row);
  }

  async list(tenancy: Tenancy, query: ListQuery<VolumeField>): Promise<readonly Volume[]> {
    return (await listRows(this.#session, source, visible(tenancy), query)).map(read);
  }

  count(tenancy: Tenancy, query: ListQuery<VolumeField>): Promise<number> {
    return countRows(this.#session, source, visible(tenancy), query);
  }

  async summary(tenancy: Tenancy, query: ListQuery<VolumeField>): Promise<VolumeSummary> {
    const conditions = allOf([...visible(tenancy), ...queryConditions(this.#session, source, query)]);
    // Grouped, so that the many volumes with equal metadata (mostly none) make one row.
    const { rows } = await sql<{ count: number; bytes: number; metadata: unknown }>`
      select count(*) as count, cast(sum(volumes.size) as real) as bytes, volumes.metadata as metadata
      from ${tablesOfConditions(source, query)} where ${conditions} group by volumes.metadata`.execute(this.#session.db);
    const values = new Map<string, Set<string>>();
    for (const row of rows) {
      for (const [key, value] of Object.entries(pairs.read(row.metadata))) {
        values.set(key, (values.get(key) ?? new Set<string>()).add(value));
      }
    }
    return {
      count: rows.reduce((sum, { count }) => sum + count, 0),
      bytes: rows.reduce((sum, { bytes }) => sum + bytes, 0),
      metadata: Object.fromEntries([...values].map(([key, set]) => [key, [...set].toSorted()])),
    };
  }

  async update(tenancy: Tenancy, id: string, patch: VolumePatch, now: number): Promise<Volume> {
    const conditions = [equals(volumeTable.ref('id'), id), ...visible(tenancy)];
    await this.#write(id, { ...patch, updatedAt: now }, conditions);
    return this.get(tenancy, id);
  }

  async transition(
    tenancy: Tenancy,
    id: string,
    name: VolumeTransition,
    now: number,
    options: { readonly to?: VolumeStatus; readonly patch?: VolumePatch } = {},
  ): Promise<Volume> {
    const transition = volumeTransitions[name];
    const status = targetState(transition, options.to);
    const changed = await this.#write(
      id,
      { ...options.patch, status, updatedAt: now },
      [equals(volumeTable.ref('id'), id), ...visible(tenancy), isOneOf(volumeTable.ref('status'), transition.from)],
      uncountedVolumeStatuses.some((each) => each === status || transition.from.includes(each)),
    );
    const volume = await this.get(tenancy, id);
    if (changed === 0) throw refusedTransition('Volume', volume, name, transition);
    return volume;
  }

  async remove(id: string): Promise<void> {
    await countOut(this.#session, 'volumes', id);
    await removeRows(this.#session, volumeTable, equals(volumeTable.ref('id'), id));
  }

  usage(projectId: string): Promise<readonly UsageByType[]> {
    return usageOf(this.#session, 'volumes', projectId);
  }

  /** @param recounts - the status may count otherwise afterwards. */
  #write(
    id: string,
    patch: Partial<StoredVolume>,
    conditions: readonly RawBuilder<unknown>[],
    recounts = false,
  ): Promise<number> {
    const counts = patch.size !== undefined || patch.volumeTypeId !== undefined || recounts;
    return recounted(this.#session, 'volumes', id, counts, () => updateEntities(this.#session, volumeTable, patch, conditions));
  }
}
