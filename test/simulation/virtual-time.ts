import { setImmediate, setTimeout as sleep } from 'node:timers/promises';

/** Turns of the event loop after which what is under way is taken to wait for something outside, as for a program. */
const busyTurns = 500;
/** Milliseconds for which what is outside may do nothing. */
const longestWait = 120_000;

interface Timer {
  readonly at: number;
  readonly run: () => void;
  over: boolean;
}

/** Counts what runs outside of virtual time: transactions, verbs, reads. While any does, time stands still. */
export class Activity {
  #pending = 0;

  /** Counts `work` until it settles. */
  async track<T>(work: () => T | Promise<T>): Promise<T> {
    this.#pending += 1;
    try {
      return await work();
    } finally {
      this.#pending -= 1;
    }
  }

  /** Settles when only the passing of time can make anything happen. */
  async settled(): Promise<void> {
    // A transaction of the store in memory takes one turn of the event loop; what follows from it, microtasks.
    let turns = 0;
    for (let quiet = 0; quiet < 2; quiet = this.#pending === 0 ? quiet + 1 : 0) {
      turns += 1;
      // A program needs the processor more than whoever waits for it.
      await (turns > busyTurns ? sleep(1) : setImmediate());
      if (turns > busyTurns + longestWait) throw new Error(`Nothing comes to rest: ${this.#pending} things go on without time`);
    }
  }
}

/** Time that passes only when nothing else is left to do. Timers of one moment run in the order of their making. */
export class VirtualTime {
  readonly activity = new Activity();
  readonly #timers: Timer[] = [];
  #now: number;

  /** @param start - milliseconds since 1970. */
  constructor(start: number) {
    this.#now = start;
  }

  get now(): number {
    return this.#now;
  }

  /** Runs `run` once after `ms` milliseconds. */
  schedule(ms: number, run: () => void): Disposable {
    if (!Number.isFinite(ms)) throw new Error(`A timer of ${ms} ms`);
    const timer: Timer = { at: this.#now + Math.max(0, ms), run, over: false };
    let [low, high] = [0, this.#timers.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#timers[middle]?.at ?? Infinity) <= timer.at) low = middle + 1;
      else high = middle;
    }
    this.#timers.splice(low, 0, timer);
    return {
      [Symbol.dispose]: () => {
        timer.over = true;
      },
    };
  }

  /** Resolves after `ms` milliseconds. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.schedule(ms, resolve));
  }

  /** Lets everything happen that needs no time. */
  async settled(): Promise<void> {
    await this.activity.settled();
  }

  /** Goes to the next timer that is due at `latest` or before, and runs it. `false` when there is none. */
  async advance(latest = Infinity): Promise<boolean> {
    while (this.#timers[0]?.over) this.#timers.shift();
    const [next] = this.#timers;
    if (!next || next.at > latest) return false;
    this.#timers.shift();
    this.#now = Math.max(this.#now, next.at);
    next.over = true;
    next.run();
    await this.settled();
    return true;
  }

  /** Lets time pass until it is `at`. */
  async pass(at: number): Promise<void> {
    await this.settled();
    while (await this.advance(at));
    this.#now = Math.max(this.#now, at);
  }

  /** Lets time pass until `done` holds. Throws when that takes longer than `ms`. */
  async until(done: () => boolean | Promise<boolean>, ms: number, what: string): Promise<void> {
    const latest = this.#now + ms;
    await this.settled();
    while (!(await done())) {
      if (!(await this.advance(latest))) throw new Error(`${what} did not come about within ${ms} ms`);
    }
  }

  /** Lets time pass until `work` has settled, and gives its result. */
  async drive<T>(work: Promise<T>, ms = 600_000): Promise<T> {
    let over = false;
    const done = () => {
      over = true;
    };
    work.then(done, done);
    await this.until(() => over, ms, 'What was begun');
    return work;
  }
}
