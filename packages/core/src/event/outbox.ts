import { EventEmitter } from 'eventemitter3';
import { type Bus } from '../bus/bus.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Repositories, Store } from '../store/store.ts';
import type { NewEvent, StoredEvent } from './event.ts';

/** A transaction of core: the repositories, and events that land with it. */
export interface Transaction extends Repositories {
  /** Adds an event to the outbox; listeners hear of it after the commit. */
  emit(event: NewEvent): void;
  /** Runs `fn` once the transaction is durable; not at all when it is rolled back. */
  afterCommit(fn: () => void): void;
}

const batch = 500;

/**
 * Runs transactions, with the events they emit, and hands those events out inside this process, in the order of their
 * sequence numbers. Events of other processes on the same store come too.
 */
@wired(tokens.Store, tokens.Bus, tokens.Clock, tokens.Log)
export class Outbox {
  readonly #emitter = new EventEmitter<{ event: (event: StoredEvent) => void }>();
  #last = 0;
  #pumping: Promise<void> | null = null;
  #again = false;
  #subscription: Disposable | null = null;
  #timer: Disposable | null = null;
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(store: Store, bus: Bus, clock: Clock, log: Log) {
    this.#store = store;
    this.#bus = bus;
    this.#clock = clock;
    this.#log = log;
  }

  async start(): Promise<void> {
    this.#last = await this.#store.reading.events.latest();
    this.#subscription = this.#bus.subscribe('events', () => this.#pump());
    this.#sweep();
  }

  async stop(): Promise<void> {
    this.#subscription?.[Symbol.dispose]();
    this.#timer?.[Symbol.dispose]();
    await this.#pumping;
    this.#emitter.removeAllListeners();
  }

  /** Runs `work` in one transaction, as {@link Store.transaction} does, with its events. */
  async transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const events: NewEvent[] = [];
    const after: (() => void)[] = [];
    const result = await this.#store.transaction(async (repositories) => {
      events.length = 0;
      after.length = 0;
      const value = await work({
        ...repositories,
        emit: (event) => void events.push(event),
        afterCommit: (fn) => void after.push(fn),
      });
      if (events.length > 0) await repositories.events.append(events, this.#clock.now());
      return value;
    });
    if (events.length > 0) this.#bus.publish('events', {});
    for (const fn of after) fn();
    return result;
  }

  /** Calls `listener` for every event from now on. One that throws does not keep the event from the others. */
  subscribe(listener: (event: StoredEvent) => void): Disposable {
    const guarded = (event: StoredEvent) => {
      try {
        listener(event);
      } catch (error) {
        this.#log.error({ err: error, event: event.name }, 'a listener failed over an event');
      }
    };
    this.#emitter.on('event', guarded);
    return { [Symbol.dispose]: () => void this.#emitter.off('event', guarded) };
  }

  #pump(): void {
    this.#again = true;
    this.#pumping ??= this.#drain().finally(() => {
      this.#pumping = null;
      // Called when all was read, and before it was over.
      if (this.#again) this.#pump();
    });
  }

  async #drain(): Promise<void> {
    try {
      while (this.#again) {
        this.#again = false;
        const events = await this.#store.reading.events.after('every-project', this.#last, batch);
        for (const event of events) {
          this.#last = event.sequence;
          this.#emitter.emit('event', event);
        }
        if (events.length === batch) this.#again = true;
      }
    } catch (error) {
      this.#log.error({ err: error }, 'events could not be read from the outbox');
    }
  }

  /** Finds what a lost wake-up left. */
  #sweep(): void {
    this.#pump();
    this.#timer = this.#clock.timer(30_000, () => this.#sweep());
  }
}
