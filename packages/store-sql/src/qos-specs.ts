import { qosConsumers, type ListQuery, type QosSpec, type QosSpecField, type QosSpecRepository } from '@scoria/core';
import { sql } from 'kysely';
import { nullable, number, text, word } from './column.ts';
import { listRows, type ListSource } from './list.ts';
import { equals, insertEntity, removeRows, selectEntities, updateEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';
import { notFound } from './visibility.ts';
import { pairs } from './volumes.ts';

/** Table `qos_specs`. */
export const qosSpecTable = defineTable<QosSpec>()('qos_specs', {
  id: text(),
  name: text(),
  consumer: word(...qosConsumers),
  specs: pairs,
  createdAt: number(),
  updatedAt: nullable(number()),
});

const column = (field: QosSpecField) => ({
  column: qosSpecTable.ref(field),
  nullable: qosSpecTable.columns[field].nullable,
});

const source: ListSource<QosSpecField> = {
  label: 'QoS spec',
  table: 'qos_specs',
  select: sql`qos_specs.*`,
  id: qosSpecTable.ref('id'),
  fields: {
    id: column('id'),
    name: column('name'),
    consumer: column('consumer'),
    createdAt: column('createdAt'),
    updatedAt: column('updatedAt'),
  },
};

/** QoS specs in SQL. */
export class SqlQosSpecs implements QosSpecRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  insert(spec: QosSpec): Promise<void> {
    return insertEntity(this.#session, qosSpecTable, spec, `QoS spec ${spec.name} exists already.`);
  }

  async get(id: string): Promise<QosSpec> {
    const [spec] = await selectEntities(this.#session, qosSpecTable, [equals(qosSpecTable.ref('id'), id)]);
    if (spec === undefined) throw notFound('QoS spec', id);
    return spec;
  }

  async list(query: ListQuery<QosSpecField>): Promise<readonly QosSpec[]> {
    return (await listRows(this.#session, source, [], query)).map((row) => qosSpecTable.read(row));
  }

  async update(id: string, patch: Partial<Pick<QosSpec, 'consumer' | 'specs'>>, now: number): Promise<QosSpec> {
    await updateEntities(this.#session, qosSpecTable, { ...patch, updatedAt: now }, [equals(qosSpecTable.ref('id'), id)]);
    return this.get(id);
  }

  async remove(id: string): Promise<void> {
    await removeRows(this.#session, qosSpecTable, equals(qosSpecTable.ref('id'), id));
  }
}
