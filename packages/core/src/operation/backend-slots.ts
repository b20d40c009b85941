/**
 * Shares out among backends what a worker does at once, so that one whose calls hang leaves the others their part. An
 * operation holds a slot of each backend that it has worked on, until its execution settles.
 */
export class BackendSlots {
  readonly #share: () => number;
  /** Ids of operations, by backend. */
  readonly #holders = new Map<string, Set<string>>();
  /** Operations that found no slot free, by backend, in the order in which they came. */
  readonly #waiting = new Map<string, Set<string>>();

  /** @param share - how many operations may work on one backend, at this moment. */
  constructor(share: () => number) {
    this.#share = share;
  }

  /** Whether an operation that has no slot of a backend would get one. */
  hasRoom(backendId: string): boolean {
    return this.#room(backendId) > 0;
  }

  /** Gives an operation a slot of a backend, unless it has one. Returns whether it has one then. */
  take(operationId: string, backendId: string): boolean {
    const holders = this.#holders.get(backendId);
    if (holders?.has(operationId)) return true;
    if (!this.hasRoom(backendId)) return false;
    if (holders) holders.add(operationId);
    else this.#holders.set(backendId, new Set([operationId]));
    return true;
  }

  /** Frees all slots of an operation. */
  release(operationId: string): void {
    for (const [backendId, holders] of this.#holders) {
      if (holders.delete(operationId) && holders.size === 0) this.#holders.delete(backendId);
    }
  }

  /** Notes that an operation waits for a slot. */
  wait(operationId: string, backendId: string): void {
    const waiting = this.#waiting.get(backendId);
    if (waiting) waiting.add(operationId);
    else this.#waiting.set(backendId, new Set([operationId]));
  }

  /** Operations that waited for a slot that is free, as many as there are slots. They wait no longer, and have none yet. */
  ready(): string[] {
    return [...this.#waiting].flatMap(([backendId, waiting]) => {
      const next = [...waiting].slice(0, this.#room(backendId));
      for (const id of next) waiting.delete(id);
      if (waiting.size === 0) this.#waiting.delete(backendId);
      return next;
    });
  }

  #room(backendId: string): number {
    return Math.max(0, this.#share() - (this.#holders.get(backendId)?.size ?? 0));
  }
}
