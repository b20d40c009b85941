import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { ListQuery } from '../store/list-query.ts';
import type { Store } from '../store/store.ts';
import { type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import type { Message, MessageField } from './message.ts';

/** User messages: why what was accepted did not come about. */
@wired(tokens.Store)
export class Messages {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async list(context: RequestContext, query: ListQuery<MessageField>): Promise<readonly Message[]> {
    return this.#store.reading.messages.list({ projectId: context.projectId }, query);
  }

  async get(context: RequestContext, id: string): Promise<Message> {
    return this.#store.reading.messages.get(tenancyOf(context), id);
  }

  async delete(context: RequestContext, id: string): Promise<void> {
    await this.#store.transaction(({ messages }) => messages.remove(tenancyOf(context), id));
  }
}
