/** Something that wants to change the device. */
export interface GatedWrite {
  readonly offset: number;
  readonly length: number;
  /** Nothing else may change the device at the same time. */
  readonly exclusive: boolean;
  /** Reaches the device. Must be followed by {@link WriteGate.leave}. */
  run(): void;
}

/** Stands before writes to a live volume while it is copied. */
export interface CopyMap {
  /** Whether a write to this range can go on at once. */
  passes(offset: number, length: number): boolean;
  /** Copies what the range touches; settles when the write can go on. Never rejects. */
  secure(offset: number, length: number): Promise<void>;
}

/**
 * Every change of a volume's device passes here, so that writes can be held back for a moment, and made to wait for the
 * copy of what they overwrite. Nothing is allocated nor awaited while there is neither hold nor copy.
 */
export class WriteGate {
  #underWay = 0;
  #exclusive = false;
  readonly #holds = new Set<object>();
  readonly #maps = new Set<CopyMap>();
  readonly #queue: GatedWrite[] = [];
  #idle: (() => void)[] = [];

  /** Lets a write through now or later. Returns whether it was let through at once. */
  enter(write: GatedWrite): boolean {
    if (this.#holds.size === 0 && this.#queue.length === 0 && this.#maps.size === 0 && !write.exclusive && !this.#exclusive) {
      this.#underWay++;
      write.run();
      return true;
    }
    this.#queue.push(write);
    this.#pump();
    return false;
  }

  /** Takes a waiting write out of the queue. Returns whether it was there. */
  withdraw(write: GatedWrite): boolean {
    const index = this.#queue.indexOf(write);
    if (index < 0) return false;
    this.#queue.splice(index, 1);
    this.#pump();
    return true;
  }

  /** Says that a write which {@link enter} let through has settled. */
  leave(): void {
    this.#underWay--;
    this.#exclusive = false;
    if (this.#underWay === 0) {
      const waiting = this.#idle;
      this.#idle = [];
      for (const settle of waiting) settle();
    }
    if (this.#queue.length > 0) this.#pump();
  }

  /** Holds back what comes from now on. Several holds may be in effect. */
  hold(token: object): void {
    this.#holds.add(token);
  }

  /** Ends a hold; a second call does nothing. */
  release(token: object): void {
    if (this.#holds.delete(token)) this.#pump();
  }

  /** Settles when no write is under way. Only sensible while a hold is in effect. */
  settled(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Makes writes wait for `map` from now on. */
  addMap(map: CopyMap): void {
    this.#maps.add(map);
  }

  removeMap(map: CopyMap): void {
    this.#maps.delete(map);
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#holds.size === 0 && !this.#exclusive) {
      const write = this.#queue[0]!;
      if (write.exclusive && this.#underWay > 0) return;
      this.#queue.shift();
      this.#underWay++;
      this.#exclusive = write.exclusive;
      this.#runBehindMaps(write);
    }
  }

  #runBehindMaps(write: GatedWrite): void {
    const waits: Promise<void>[] = [];
    for (const map of this.#maps) {
      if (!map.passes(write.offset, write.length)) waits.push(map.secure(write.offset, write.length));
    }
    if (waits.length === 0) write.run();
    else void Promise.all(waits).then(() => write.run());
  }
}
