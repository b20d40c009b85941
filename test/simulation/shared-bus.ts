import type { Bus, BusTopics } from '@scoria/core';

type Topic = keyof BusTopics;
type Message = BusTopics[Topic];

interface Subscription {
  readonly topic: Topic;
  deliver(message: Message): void;
}

/** How a message travels: calls `deliver` never, once or several times, now or later. */
export type Carrier = (deliver: () => void) => void;

/** Carries messages between simulated processes. Delivery is the carrier's affair. */
export class SharedBus implements Bus {
  readonly #subscriptions = new Set<Subscription>();
  readonly #carrier: Carrier;

  constructor(carrier: Carrier = queueMicrotask) {
    this.#carrier = carrier;
  }

  publish<T extends Topic>(topic: T, message: BusTopics[T]): void {
    for (const subscription of this.#subscriptions) {
      if (subscription.topic !== topic) continue;
      this.#carrier(() => {
        if (this.#subscriptions.has(subscription)) subscription.deliver(message);
      });
    }
  }

  subscribe<T extends Topic>(topic: T, listener: (message: BusTopics[T]) => void): Disposable {
    // A subscription is found by its topic, so the message is of the listener's kind.
    const subscription: Subscription = { topic, deliver: (message) => listener(message as BusTopics[T]) };
    this.#subscriptions.add(subscription);
    return { [Symbol.dispose]: () => void this.#subscriptions.delete(subscription) };
  }
}
