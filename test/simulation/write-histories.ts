import { WriteHistory } from './content-oracle.ts';

/** What each volume has been written, where that is known. */
export class WriteHistories {
  readonly #histories = new Map<string, WriteHistory>();
  /** Volumes that were written while their history was not known. */
  readonly #unseen = new Set<string>();
  /** Requests whose answer says whether the history of a volume still counts. It may never come. */
  readonly #unanswered = new Set<{ readonly volumeId: string }>();

  /** `undefined` where nobody knows. */
  of(volumeId: string): WriteHistory | undefined {
    const uncertain = [...this.#unanswered].some((request) => request.volumeId === volumeId);
    return uncertain ? undefined : this.#histories.get(volumeId);
  }

  /** A write has reached a volume. */
  note(volumeId: string, block: number, stamp: number): void {
    const history = this.#histories.get(volumeId);
    if (history) history.add(block, stamp);
    else this.#unseen.add(volumeId);
  }

  /** What a volume holds is known from here on. */
  begin(volumeId: string, history: WriteHistory): void {
    this.#histories.set(volumeId, history);
  }

  /** Whether a volume was written since nobody knows what it holds. */
  missedWrites(volumeId: string): boolean {
    return this.#unseen.has(volumeId);
  }

  /** Asks for what changes a volume's content, or takes it away. Until its end is seen nobody knows what it holds. */
  async changing<T>(volumeId: string, ask: () => Promise<T | null>): Promise<T | null> {
    const request = { volumeId };
    this.#unanswered.add(request);
    const begun = await ask();
    this.#unanswered.delete(request);
    if (!begun) return null;
    this.#histories.delete(volumeId);
    this.#unseen.delete(volumeId);
    return begun;
  }
}
