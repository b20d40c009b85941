import { ObjectLocks } from '@scoria/core';

/** Lets verbs and recovery of one placement come one after the other. */
export class PlacementTurns {
  readonly #locks = new ObjectLocks();
  /** How much of a placement is under way or waits. */
  readonly #counts = new Map<string, number>();

  /** Whether somebody works on a placement, or is about to. */
  isTaken(placementId: string): boolean {
    return this.#counts.has(placementId);
  }

  /** Runs `work` when all earlier work of the placement has settled. Rejects with the signal's reason when that comes first. */
  async run<T>(placementId: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    this.#count(placementId, 1);
    try {
      return await this.#locks.run([placementId], work, signal);
    } finally {
      this.#count(placementId, -1);
    }
  }

  #count(placementId: string, by: number): void {
    const count = (this.#counts.get(placementId) ?? 0) + by;
    if (count > 0) this.#counts.set(placementId, count);
    else this.#counts.delete(placementId);
  }
}
