import type {
  Attachment,
  AttachmentField,
  AttachmentPatch,
  AttachmentRepository,
  AttachmentStatus,
  AttachMode,
  Connector,
  ListQuery,
  Tenancy,
} from '@scoria/core';
import { sql } from 'kysely';
import { z } from 'zod';
import { json, nullable, number, text, word } from './column.ts';
import { listRows, type ListSource } from './list.ts';
import { equals, insertEntity, isOneOf, removeRows, selectEntities, updateEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';
import { notFound, ownedBy } from './visibility.ts';

// Loose: callers send more than core reads (`os_type`, `platform`, `wwpns`), and get it back.
const connectorSchema: z.ZodType<Connector> = z.looseObject({
  initiator: z.string().optional(),
  host: z.string().optional(),
  ip: z.string().optional(),
  multipath: z.boolean().optional(),
});

/** Table `attachments`. */
export const attachmentTable = defineTable<Attachment>()('attachments', {
  id: text(),
  volumeId: text(),
  projectId: text(),
  userId: text(),
  instanceId: nullable(text()),
  status: word<AttachmentStatus>('reserved', 'attaching', 'attached', 'detaching'),
  mode: word<AttachMode>('rw', 'ro'),
  connector: nullable(json(connectorSchema)),
  mountpoint: nullable(text()),
  hostName: nullable(text()),
  accessId: nullable(text()),
  createdAt: number(),
  updatedAt: nullable(number()),
  attachedAt: nullable(number()),
});

const column = (field: AttachmentField) => ({
  column: attachmentTable.ref(field),
  nullable: attachmentTable.columns[field].nullable,
});

const source: ListSource<AttachmentField> = {
  label: 'Attachment',
  table: 'attachments',
  select: sql`attachments.*`,
  id: attachmentTable.ref('id'),
  fields: {
    id: column('id'),
    volumeId: column('volumeId'),
    projectId: column('projectId'),
    instanceId: column('instanceId'),
    status: column('status'),
    hostName: column('hostName'),
    createdAt: column('createdAt'),
    updatedAt: column('updatedAt'),
  },
};

const visible = (tenancy: Tenancy) => ownedBy(tenancy, attachmentTable.ref('projectId'));
const oldestFirst = sql`order by created_at, id`;

/** Attachments in SQL. */
export class SqlAttachments implements AttachmentRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  insert(attachment: Attachment): Promise<void> {
    return insertEntity(this.#session, attachmentTable, attachment, `Attachment ${attachment.id} exists already.`);
  }

  async get(tenancy: Tenancy, id: string): Promise<Attachment> {
    const conditions = [equals(attachmentTable.ref('id'), id), ...visible(tenancy)];
    const [attachment] = await selectEntities(this.#session, attachmentTable, conditions);
    if (attachment === undefined) throw notFound('Attachment', id);
    return attachment;
  }

  async list(tenancy: Tenancy, query: ListQuery<AttachmentField>): Promise<readonly Attachment[]> {
    return (await listRows(this.#session, source, visible(tenancy), query)).map((row) => attachmentTable.read(row));
  }

  ofVolumes(volumeIds: readonly string[]): Promise<readonly Attachment[]> {
    return selectEntities(this.#session, attachmentTable, [isOneOf(attachmentTable.ref('volumeId'), volumeIds)], oldestFirst);
  }

  async update(id: string, patch: AttachmentPatch, now: number): Promise<Attachment> {
    const conditions = [equals(attachmentTable.ref('id'), id)];
    await updateEntities(this.#session, attachmentTable, { ...patch, updatedAt: now }, conditions);
    return this.get('every-project', id);
  }

  async remove(id: string): Promise<void> {
    await removeRows(this.#session, attachmentTable, equals(attachmentTable.ref('id'), id));
  }

  async countOnAccess(accessId: string): Promise<number> {
    const { count } = await this.#session.db
      .selectFrom('attachments')
      .where('access_id', '=', accessId)
      .select((expression) => expression.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return count;
  }
}
