import {
  ScoriaError,
  type ListQuery,
  type Tenancy,
  type VolumeType,
  type VolumeTypeField,
  type VolumeTypeRepository,
} from '@scoria/core';
import { sql, type RawBuilder } from 'kysely';
import { flag, nullable, number, text } from './column.ts';
import { listRows, type ListSource } from './list.ts';
import { equals, insertEntity, removeRows, selectEntities, updateEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';
import { notFound } from './visibility.ts';
import { pairs } from './volumes.ts';

/** Table `volume_types`. */
export const volumeTypeTable = defineTable<VolumeType>()('volume_types', {
  id: text(),
  name: text(),
  description: nullable(text()),
  isPublic: flag(),
  extraSpecs: pairs,
  qosSpecId: nullable(text()),
  createdAt: number(),
  updatedAt: nullable(number()),
});

const column = (field: VolumeTypeField) => ({
  column: volumeTypeTable.ref(field),
  nullable: volumeTypeTable.columns[field].nullable,
});

const source: ListSource<VolumeTypeField> = {
  label: 'Volume type',
  table: 'volume_types',
  select: sql`volume_types.*`,
  id: volumeTypeTable.ref('id'),
  // What metadata is to a volume, extra specs are to a type.
  metadata: volumeTypeTable.ref('extraSpecs'),
  fields: {
    id: column('id'),
    name: column('name'),
    description: column('description'),
    isPublic: column('isPublic'),
    createdAt: column('createdAt'),
    updatedAt: column('updatedAt'),
  },
};

function visible(tenancy: Tenancy): RawBuilder<unknown>[] {
  if (tenancy === 'every-project') return [];
  const granted = sql`exists (select 1 from volume_type_access
    where volume_type_access.volume_type_id = volume_types.id and volume_type_access.project_id = ${tenancy.projectId})`;
  return [sql`(${volumeTypeTable.ref('isPublic')} = 1 or ${granted})`];
}

/** Volume types in SQL. A list's metadata condition is about extra specs. */
export class SqlVolumeTypes implements VolumeTypeRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  insert(type: VolumeType): Promise<void> {
    return insertEntity(this.#session, volumeTypeTable, type, `Volume type ${type.name} exists already.`);
  }

  async get(tenancy: Tenancy, id: string): Promise<VolumeType> {
    return this.#find(tenancy, id, [equals(volumeTypeTable.ref('id'), id)]);
  }

  async resolve(tenancy: Tenancy, idOrName: string): Promise<VolumeType> {
    const byId = equals(volumeTypeTable.ref('id'), idOrName);
    const byName = equals(volumeTypeTable.ref('name'), idOrName);
    // An id wins over a type that happens to be named like it.
    return this.#find(
      tenancy,
      idOrName,
      [sql`(${byId} or ${byName})`],
      sql`order by case when ${byId} then 0 else 1 end limit 1`,
    );
  }

  async list(tenancy: Tenancy, query: ListQuery<VolumeTypeField>): Promise<readonly VolumeType[]> {
    return (await listRows(this.#session, source, visible(tenancy), query)).map((row) => volumeTypeTable.read(row));
  }

  async update(
    id: string,
    patch: Partial<Pick<VolumeType, 'name' | 'description' | 'isPublic' | 'extraSpecs' | 'qosSpecId'>>,
    now: number,
  ): Promise<VolumeType> {
    try {
      await updateEntities(this.#session, volumeTypeTable, { ...patch, updatedAt: now }, [equals(volumeTypeTable.ref('id'), id)]);
    } catch (error) {
      if (!this.#session.flavor.isUniqueViolation(error)) throw error;
      throw new ScoriaError('conflict', `Volume type ${patch.name ?? id} exists already.`, { cause: error });
    }
    return this.get('every-project', id);
  }

  ofQosSpec(qosSpecId: string): Promise<readonly VolumeType[]> {
    const has = equals(volumeTypeTable.ref('qosSpecId'), qosSpecId);
    return selectEntities(this.#session, volumeTypeTable, [has], sql`order by name`);
  }

  async remove(id: string): Promise<void> {
    const used = await sql<{ used: number }>`
      select case when exists (select 1 from volumes where volume_type_id = ${id})
        or exists (select 1 from snapshots where volume_type_id = ${id}) then 1 else 0 end as used`.execute(this.#session.db);
    if (used.rows[0]?.used === 1) {
      throw new ScoriaError('invalid-state', `Volume type ${id} is in use: volumes or snapshots are of this type.`, {
        details: { id },
      });
    }
    await removeRows(this.#session, volumeTypeTable, equals(volumeTypeTable.ref('id'), id));
  }

  async projectsWithAccess(id: string): Promise<readonly string[]> {
    const rows = await this.#session.db
      .selectFrom('volume_type_access')
      .select('project_id')
      .where('volume_type_id', '=', id)
      .orderBy('project_id')
      .execute();
    return rows.map(({ project_id }) => project_id);
  }

  async grantAccess(id: string, projectId: string): Promise<void> {
    try {
      await this.#session.db.insertInto('volume_type_access').values({ volume_type_id: id, project_id: projectId }).execute();
    } catch (error) {
      if (!this.#session.flavor.isUniqueViolation(error)) throw error;
      throw new ScoriaError('conflict', `Project ${projectId} has access to volume type ${id} already.`, { cause: error });
    }
  }

  async revokeAccess(id: string, projectId: string): Promise<void> {
    const { numDeletedRows } = await this.#session.db
      .deleteFrom('volume_type_access')
      .where('volume_type_id', '=', id)
      .where('project_id', '=', projectId)
      .executeTakeFirst();
    if (numDeletedRows === 0n) {
      throw new ScoriaError('not-found', `Project ${projectId} has no access to volume type ${id}.`, {
        details: { id, projectId },
      });
    }
  }

  async #find(tenancy: Tenancy, id: string, conditions: RawBuilder<unknown>[], rest?: RawBuilder<unknown>): Promise<VolumeType> {
    const [type] = await selectEntities(this.#session, volumeTypeTable, [...conditions, ...visible(tenancy)], rest);
    if (type === undefined) throw notFound('Volume type', id);
    return type;
  }
}
