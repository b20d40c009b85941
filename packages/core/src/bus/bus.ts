import { EventEmitter } from 'eventemitter3';

/** Messages between processes, by topic. They only wake: what is lost, a sweep of the store finds. */
export interface BusTopics {
  /** There is work for whoever serves the role (and backend). */
  operation: { readonly operationId: string };
  /** Somebody wants an operation cancelled. */
  cancel: { readonly operationId: string };
  /** New rows stand in the outbox. */
  events: Readonly<Record<string, never>>;
}

/** Carries wake-up calls. */
export interface Bus {
  publish<Topic extends keyof BusTopics>(topic: Topic, message: BusTopics[Topic]): void;
  subscribe<Topic extends keyof BusTopics>(topic: Topic, listener: (message: BusTopics[Topic]) => void): Disposable;
}

/** A bus within one process. Listeners run in a later microtask, so a publisher is never inside of them. */
export class InProcessBus implements Bus {
  readonly #emitter = new EventEmitter<string>();

  publish<Topic extends keyof BusTopics>(topic: Topic, message: BusTopics[Topic]): void {
    queueMicrotask(() => this.#emitter.emit(topic, message));
  }

  subscribe<Topic extends keyof BusTopics>(topic: Topic, listener: (message: BusTopics[Topic]) => void): Disposable {
    this.#emitter.on(topic, listener);
    return { [Symbol.dispose]: () => void this.#emitter.off(topic, listener) };
  }
}
