import { ScoriaError, type RememberedRequest, type RememberedRequestRepository } from '@scoria/core';
import { nullable, number, text } from './column.ts';
import { equals, insertEntity, removeOldest, selectEntities, type Session } from './session.ts';
import { defineTable } from './table.ts';

/** Table `remembered_requests`. */
export const rememberedRequestTable = defineTable<RememberedRequest>()('remembered_requests', {
  projectId: text(),
  key: text(),
  fingerprint: text(),
  resourceId: text(),
  operationId: nullable(text()),
  createdAt: number(),
});

const longestKey = 255;

/** Requests with an idempotency key, in SQL. */
export class SqlRememberedRequests implements RememberedRequestRepository {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async find(projectId: string, key: string): Promise<RememberedRequest | undefined> {
    const { ref } = rememberedRequestTable;
    const conditions = [equals(ref('projectId'), projectId), equals(ref('key'), key)];
    const [request] = await selectEntities(this.#session, rememberedRequestTable, conditions);
    return request;
  }

  async insert(request: RememberedRequest): Promise<void> {
    if (request.key.length > longestKey) {
      throw new ScoriaError(
        'invalid-input',
        `An idempotency key has ${request.key.length} characters; at most ${longestKey} are allowed.`,
      );
    }
    await insertEntity(this.#session, rememberedRequestTable, request, `The idempotency key ${request.key} was used already.`);
  }

  removeOlderThan(before: number, limit: number): Promise<number> {
    const ageing = { table: 'remembered_requests', key: ['project_id', 'key'], time: 'created_at' };
    return removeOldest(this.#session, ageing, before, limit);
  }
}
