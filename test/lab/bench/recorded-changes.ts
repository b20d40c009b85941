import { mkdirSync, rmdirSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConfigTree } from '@scoria/driver-iscsi/lio';

/** One change of a tree in the kernel: a plain call of the file system. */
type Change = () => void;

/** A tree that passes everything on, and remembers what changed it, so that the same can be done again by plain calls alone. */
export class RecordedTree implements ConfigTree {
  readonly #tree: ConfigTree;
  #changes: Change[] = [];

  constructor(tree: ConfigTree) {
    this.#tree = tree;
  }

  get root(): string {
    return this.#tree.root;
  }

  /** The changes since the last call, in their order. */
  take(): readonly Change[] {
    const taken = this.#changes;
    this.#changes = [];
    return taken;
  }

  make(path: string): Promise<boolean> {
    return this.#note(this.#tree.make(path), () => mkdirSync(this.#full(path)));
  }

  remove(path: string): Promise<boolean> {
    return this.#note(this.#tree.remove(path), () => rmdirSync(this.#full(path)));
  }

  link(object: string, path: string): Promise<boolean> {
    return this.#note(this.#tree.link(object, path), () => symlinkSync(this.#full(object), this.#full(path)));
  }

  unlink(path: string): Promise<boolean> {
    return this.#note(this.#tree.unlink(path), () => unlinkSync(this.#full(path)));
  }

  write(path: string, value: string): Promise<void> {
    return this.#note(this.#tree.write(path, value), () => writeFileSync(this.#full(path), value));
  }

  set(path: string, value: string): Promise<void> {
    return this.#note(this.#tree.set(path, value), () => writeFileSync(this.#full(path), value));
  }

  read(path: string): Promise<string | null> {
    return this.#tree.read(path);
  }

  target(path: string): Promise<string | null> {
    return this.#tree.target(path);
  }

  list(path: string): Promise<readonly string[]> {
    return this.#tree.list(path);
  }

  #full(path: string): string {
    return join(this.root, path);
  }

  /** What changed nothing is not done again. */
  async #note<T>(done: Promise<T>, change: Change): Promise<T> {
    const result = await done;
    if (result !== false) this.#changes.push(change);
    return result;
  }
}
