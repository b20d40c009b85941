import type { DataBudget } from './data-budget.ts';

/** Work that holds memory while it is under way. */
export interface Charged {
  /** Bytes. */
  readonly cost: number;
  /** Whether {@link SessionMemory} has counted {@link cost}. */
  charged: boolean;
  begin(): void;
}

/**
 * The data of one session's tasks: begins those that its own bound and the budget of all sessions afford, and lets the
 * others wait in their order.
 */
export class SessionMemory {
  readonly #limit: number;
  readonly #budget: DataBudget;
  readonly #backlog: Charged[] = [];
  #used = 0;
  /** Begins what is affordable of what waits. */
  readonly #drain = (): void => {
    for (let next = this.#backlog[0]; next !== undefined; next = this.#backlog[0]) {
      if (!this.#affords(next)) return this.#budget.wait(this.#drain);
      this.#backlog.shift();
      this.#begin(next);
    }
  };

  /** @param limit - bytes of this session. */
  constructor(limit: number, budget: DataBudget) {
    this.#limit = limit;
    this.#budget = budget;
  }

  /** Begins a task when there is memory for its data; later otherwise, in order. */
  charge(task: Charged): void {
    if (this.#backlog.length === 0 && this.#affords(task)) {
      this.#begin(task);
    } else {
      this.#backlog.push(task);
      this.#budget.wait(this.#drain);
    }
  }

  /** Forgets a task that waits. */
  withdraw(task: Charged): void {
    const index = this.#backlog.indexOf(task);
    if (index >= 0) this.#backlog.splice(index, 1);
  }

  /** Gives back what a task that was begun has held. */
  discharge({ cost }: Charged): void {
    this.#used -= cost;
    this.#budget.give(cost);
    this.#drain();
  }

  /** Begins nothing any more. */
  close(): void {
    this.#budget.forget(this.#drain);
  }

  /** A session with nothing under way affords anything, so that each one goes on. */
  #affords({ cost }: Charged): boolean {
    return this.#used === 0 || (this.#used + cost <= this.#limit && this.#budget.fits(cost));
  }

  #begin(task: Charged): void {
    task.charged = true;
    this.#used += task.cost;
    this.#budget.take(task.cost);
    task.begin();
  }
}
