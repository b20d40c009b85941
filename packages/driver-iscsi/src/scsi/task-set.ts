import type { Nexus } from './command.ts';

/** Task attributes as in a SCSI Command PDU (RFC 7143, 11.3.1). */
export const taskAttribute = { untagged: 0, simple: 1, ordered: 2, headOfQueue: 3, aca: 4 } as const;

/** A task as the task set sees it. */
export interface Task {
  readonly nexus: Nexus;
  readonly attribute: number;
  /** Called once, when the task may begin. */
  enable(): void;
  /** Makes the task end soon without an answer; it still calls {@link TaskSet.remove} when nothing of it can reach the device. */
  abort(): void;
}

/**
 * The tasks of one logical unit, of all its initiators (SAM-5, 8). SIMPLE tasks run side by side; an ORDERED one begins
 * when all before it have ended, and those after it wait for its end; HEAD OF QUEUE begins at once.
 */
export class TaskSet {
  readonly #enabled = new Set<Task>();
  readonly #waiting: Task[] = [];
  #orderedRunning: Task | null = null;
  readonly #watchers = new Map<Task, (() => void)[]>();

  get size(): number {
    return this.#enabled.size + this.#waiting.length;
  }

  add(task: Task): void {
    if (
      task.attribute !== taskAttribute.headOfQueue &&
      (this.#waiting.length > 0 ||
        this.#orderedRunning !== null ||
        (task.attribute === taskAttribute.ordered && this.#enabled.size > 0))
    ) {
      this.#waiting.push(task);
      return;
    }
    this.#begin(task);
  }

  /** Says that a task has ended. */
  remove(task: Task): void {
    if (!this.#enabled.delete(task)) {
      const index = this.#waiting.indexOf(task);
      if (index >= 0) this.#waiting.splice(index, 1);
    }
    if (this.#orderedRunning === task) this.#orderedRunning = null;
    const watchers = this.#watchers.get(task);
    if (watchers !== undefined) {
      this.#watchers.delete(task);
      for (const settle of watchers) settle();
    }
    while (this.#waiting.length > 0 && this.#orderedRunning === null) {
      const next = this.#waiting[0]!;
      if (next.attribute === taskAttribute.ordered && this.#enabled.size > 0) return;
      this.#waiting.shift();
      this.#begin(next);
    }
  }

  /** Aborts the tasks chosen; settles when none of them can reach the device any more. Returns how many there were. */
  async abort(chosen: (task: Task) => boolean): Promise<Task[]> {
    const tasks = [...this.#enabled, ...this.#waiting].filter(chosen);
    const ended = tasks.map(
      (task) =>
        new Promise<void>((resolve) => {
          const watchers = this.#watchers.get(task);
          if (watchers === undefined) this.#watchers.set(task, [resolve]);
          else watchers.push(resolve);
        }),
    );
    for (const task of tasks) task.abort();
    await Promise.all(ended);
    return tasks;
  }

  #begin(task: Task): void {
    this.#enabled.add(task);
    if (task.attribute === taskAttribute.ordered) this.#orderedRunning = task;
    task.enable();
  }
}
