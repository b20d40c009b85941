import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { ListQuery } from '../store/list-query.ts';
import type { Store } from '../store/store.ts';
import { type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import type { Message, MessageField } from './message.ts';

const hour = 3600 * 1000;

/** User messages: why what was accepted did not come about. */
@wired(tokens.Store, tokens.Clock, tokens.Log)
export class Messages {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  #timer: Disposable | null = null;

  constructor(store: Store, clock: Clock, log: Log) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  async start(): Promise<void> {
    this.#timer = this.#clock.timer(hour, () => {
      const { messages } = this.#store.reading;
      messages
        .removeExpired(this.#clock.now())
        .catch((error: unknown) => this.#log.warn({ err: error }, 'old messages could not be removed'));
      void this.start();
    });
  }

  async stop(): Promise<void> {
    this.#timer?.[Symbol.dispose]();
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
