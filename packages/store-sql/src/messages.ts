import type { ListQuery, Message, MessageField, MessageRepository, Tenancy } from '@scoria/core';
import { sql } from 'kysely';
import { nullable, number, printedText, text, word } from './column.ts';
import { listRows, type ListSource } from './list.ts';
import { equals, insertEntity, removeOldest, removeRows, selectEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';
import { notFound, ownedBy } from './visibility.ts';

/** Table `messages`. */
export const messageTable = defineTable<Message>()('messages', {
  id: text(),
  projectId: text(),
  requestId: text(),
  resourceType: text(),
  resourceId: nullable(text()),
  level: word<Message['level']>('ERROR'),
  code: text(),
  action: text(),
  text: printedText(),
  createdAt: number(),
  guaranteedUntil: number(),
});

const column = (field: MessageField) => ({ column: messageTable.ref(field), nullable: messageTable.columns[field].nullable });

const source: ListSource<MessageField> = {
  label: 'Message',
  table: 'messages',
  select: sql`messages.*`,
  id: messageTable.ref('id'),
  fields: {
    id: column('id'),
    projectId: column('projectId'),
    requestId: column('requestId'),
    resourceType: column('resourceType'),
    resourceId: column('resourceId'),
    level: column('level'),
    code: column('code'),
    createdAt: column('createdAt'),
    guaranteedUntil: column('guaranteedUntil'),
  },
};

const visible = (tenancy: Tenancy) => ownedBy(tenancy, messageTable.ref('projectId'));

/** User messages in SQL. */
export class SqlMessages implements MessageRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  insert(message: Message): Promise<void> {
    return insertEntity(this.#session, messageTable, message, `Message ${message.id} exists already.`);
  }

  async get(tenancy: Tenancy, id: string): Promise<Message> {
    const [message] = await selectEntities(this.#session, messageTable, [
      equals(messageTable.ref('id'), id),
      ...visible(tenancy),
    ]);
    if (message === undefined) throw notFound('Message', id);
    return message;
  }

  async list(tenancy: Tenancy, query: ListQuery<MessageField>): Promise<readonly Message[]> {
    return (await listRows(this.#session, source, visible(tenancy), query)).map((row) => messageTable.read(row));
  }

  async remove(tenancy: Tenancy, id: string): Promise<void> {
    const removed = await removeRows(this.#session, messageTable, equals(messageTable.ref('id'), id), ...visible(tenancy));
    if (removed === 0) throw notFound('Message', id);
  }

  removeExpired(now: number, limit: number): Promise<number> {
    return removeOldest(this.#session, { table: 'messages', key: ['id'], time: 'guaranteed_until' }, now, limit);
  }
}
