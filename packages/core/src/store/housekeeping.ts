import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Repositories, Store } from './store.ts';

const hour = 3600 * 1000;
const day = 24 * hour;

/** How long what is over is kept, in milliseconds. */
const kept = { events: 7 * day, rememberedRequests: day, operations: 90 * day };
/** Rows removed at once, so that nobody waits for a long transaction. */
const batch = 1000;

/** Forgets what is old: events, user messages past their time, named requests, and operations that ended long ago. */
@wired(tokens.Store, tokens.Clock, tokens.Log)
export class Housekeeping {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  #timer: Disposable | null = null;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(store: Store, clock: Clock, log: Log) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  async start(): Promise<void> {
    this.#timer = this.#clock.timer(hour, () => {
      this.#running = this.#clean()
        .catch((error: unknown) => this.#log.warn({ err: error }, 'what is old could not be removed'))
        .finally(() => {
          if (!this.#stopped) void this.start();
        });
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.[Symbol.dispose]();
    await this.#running;
  }

  async #clean(): Promise<void> {
    const now = this.#clock.now();
    const removals: readonly ((repositories: Repositories) => Promise<number>)[] = [
      ({ messages }) => messages.removeExpired(now, batch),
      ({ events }) => events.removeOlderThan(now - kept.events, batch),
      ({ rememberedRequests }) => rememberedRequests.removeOlderThan(now - kept.rememberedRequests, batch),
      ({ operations }) => operations.removeEnded(now - kept.operations, batch),
    ];
    for (const remove of removals) {
      for (let removed = batch; removed === batch && !this.#stopped;) removed = await this.#store.transaction(remove);
    }
  }
}
