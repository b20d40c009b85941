import { type Stamps, stampsOf } from './content-oracle.ts';
import type { World } from './world.ts';

/** Volumes that were let go, by the references that the arrays have for them. They stay, with their content. */
export class ReleasedVolumes {
  readonly #world: World;
  /** What they held; `null` where nobody knows. */
  readonly #contents = new Map<string, Stamps | null>();
  /** Those that somebody has asked for. */
  readonly #asked = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  /** The end of a volume that was let go is seen; somebody may have found it before. */
  add(reference: string, content: Stamps | null): void {
    if (!this.#asked.has(reference)) this.#contents.set(reference, content);
  }

  /** Somebody asks for it. Returns what it holds, `null` where nobody knows. */
  take(reference: string): Stamps | null {
    const content = this.#contents.get(reference) ?? null;
    this.#contents.delete(reference);
    this.#asked.add(reference);
    return content;
  }

  /** What is wrong with those that nobody asked for. */
  faults(): readonly string[] {
    return Array.from(this.#contents, ([reference, content]) => {
      const image = this.#world.readForeign(reference);
      if (!image) return `${reference} was let go and is not on its array`;
      const stamps = stampsOf(image);
      return content === null || content.join() === stamps.join()
        ? ''
        : `${reference} was let go with ${content.join()} and holds ${stamps.join()}`;
    }).filter((fault) => fault !== '');
  }
}
