import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Store } from '../store/store.ts';
import { listTenancy, type RequestContext } from '../tenancy/request-context.ts';
import type { StoredEvent } from './event.ts';
import type { Outbox } from './outbox.ts';

/** The events of a project, or of all projects for an administrator: those of the past week, and live. */
@wired(tokens.Store, tokens.Outbox)
export class Events {
  readonly #store: Store;
  readonly #outbox: Outbox;

  constructor(store: Store, outbox: Outbox) {
    this.#store = store;
    this.#outbox = outbox;
  }

  /** Events after a sequence number, ascending, at most `limit` (default 1,000). */
  async after(
    context: RequestContext,
    sequence: number,
    options: { readonly allProjects?: boolean; readonly limit?: number } = {},
  ): Promise<readonly StoredEvent[]> {
    return this.#store.reading.events.after(listTenancy(context, options.allProjects ?? false), sequence, options.limit ?? 1000);
  }

  /** Sequence number of the newest event. */
  async latest(): Promise<number> {
    return this.#store.reading.events.latest();
  }

  /** Calls `listener` for every event from now on. */
  subscribe(
    context: RequestContext,
    listener: (event: StoredEvent) => void,
    options: { readonly allProjects?: boolean } = {},
  ): Disposable {
    const tenancy = listTenancy(context, options.allProjects ?? false);
    return this.#outbox.subscribe((event) => {
      if (tenancy === 'every-project' || event.projectId === tenancy.projectId) listener(event);
    });
  }
}
