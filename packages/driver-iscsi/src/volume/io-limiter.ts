import { limitedQuantities, type Clock, type IoLimits, type LimitedQuantity, type RateLimit } from '@scoria/core/device';

/** A command that wants to move data. */
export interface LimitedCommand {
  readonly direction: 'read' | 'write';
  /** Bytes that it moves. */
  readonly bytes: number;
  /** Goes on to the device. */
  run(): void;
}

type Direction = LimitedCommand['direction'];

/** Shorter waits than a timer of the machine can keep come to nothing but more timers, ms. */
const shortestWait = 1;

/**
 * Tokens that come at a steady rate and are kept up to the burst. A command that needs more than the burst takes place
 * when the bucket is full, and leaves a debt: what follows waits until that is paid.
 */
class Bucket {
  #limit: RateLimit;
  #level: number;
  #at: number;
  /** Somebody waits for these tokens: those that come before a late timer looks are not lost. */
  awaited = false;

  constructor(limit: RateLimit, now: number) {
    this.#limit = limit;
    this.#level = limit.burst;
    this.#at = now;
  }

  /** Goes on by another limit; a debt stays, and so does what is there as far as it fits. */
  change(limit: RateLimit, now: number): void {
    this.#refill(now);
    this.#limit = limit;
    this.#level = Math.min(this.#level, limit.burst);
  }

  /** Milliseconds until `amount` can be taken; 0 when that is at once. */
  waitFor(amount: number, now: number): number {
    this.#refill(now);
    const missing = Math.min(amount, this.#limit.burst) - this.#level;
    return missing <= 0 ? 0 : (missing / this.#limit.perSecond) * 1000;
  }

  take(amount: number): void {
    this.#level -= amount;
  }

  #refill(now: number): void {
    const { perSecond, burst } = this.#limit;
    const level = this.#level + ((now - this.#at) / 1000) * perSecond;
    this.#at = now;
    this.#level = this.awaited ? level : Math.min(level, burst);
  }
}

/** A bucket that commands of one direction take of. */
interface Share {
  readonly bucket: Bucket;
  readonly counts: 'operations' | 'bytes';
  /** The other direction takes of it too. */
  readonly common: boolean;
}

const otherOf = { read: 'write', write: 'read' } as const satisfies Record<Direction, Direction>;

/**
 * Holds one volume to its limits: all its accesses share the buckets. Commands of one direction go on in the order of their
 * coming. Where both directions wait for the same tokens they take turns, so that neither starves.
 */
export class IoLimiter {
  readonly #clock: Clock;
  readonly #buckets = new Map<LimitedQuantity, Bucket>();
  #shares: Readonly<Record<Direction, readonly Share[]>> = { read: [], write: [] };
  /** Bytes that one operation may have before it counts as several. */
  #operationSize = Number.POSITIVE_INFINITY;
  readonly #queues: Readonly<Record<Direction, LimitedCommand[]>> = { read: [], write: [] };
  #turn: Direction = 'read';
  #timer: { readonly due: number; readonly handle: Disposable } | null = null;
  #pumping = false;

  constructor(limits: IoLimits, clock: Clock) {
    this.#clock = clock;
    this.change(limits);
  }

  /** Commands that wait. */
  get waiting(): number {
    return this.#queues.read.length + this.#queues.write.length;
  }

  /** Goes on by other limits, also for those that wait; without any, all of them go on at once. */
  change(limits: IoLimits): void {
    const now = this.#clock.monotonic();
    this.#operationSize = limits.operationSize ?? Number.POSITIVE_INFINITY;
    for (const quantity of limitedQuantities) {
      const limit = limits[quantity];
      const bucket = this.#buckets.get(quantity);
      if (limit === undefined) this.#buckets.delete(quantity);
      else if (bucket === undefined) this.#buckets.set(quantity, new Bucket(limit, now));
      else bucket.change(limit, now);
    }
    this.#shares = { read: this.#sharesOf('read'), write: this.#sharesOf('write') };
    this.#pump();
  }

  /** Lets a command go on, at once or when its time has come. */
  enter(command: LimitedCommand): void {
    // Behind another one there is nothing to decide.
    if (this.#queues[command.direction].push(command) === 1) this.#pump();
  }

  /** Takes a waiting command out. Returns whether it was there. */
  withdraw(command: LimitedCommand): boolean {
    const queue = this.#queues[command.direction];
    const index = queue.indexOf(command);
    if (index < 0) return false;
    queue.splice(index, 1);
    // The next one may need less, and the other direction may have waited for it.
    if (index === 0) this.#pump();
    return true;
  }

  #sharesOf(direction: Direction): Share[] {
    const share = (quantity: LimitedQuantity, counts: Share['counts'], common: boolean): Share[] => {
      const bucket = this.#buckets.get(quantity);
      return bucket === undefined ? [] : [{ bucket, counts, common }];
    };
    return [
      ...share(`${direction}Operations`, 'operations', false),
      ...share(`${direction}Bytes`, 'bytes', false),
      ...share('totalOperations', 'operations', true),
      ...share('totalBytes', 'bytes', true),
    ];
  }

  #pump(): void {
    // What a command that runs brings about is seen by the loop that is under way.
    if (this.#pumping) return;
    this.#pumping = true;
    // One moment for all decisions: what cannot go on by it is what the timer is set for.
    const now = this.#clock.monotonic();
    try {
      while (this.#admitOne(now));
    } finally {
      this.#pumping = false;
    }
    this.#watch(now);
  }

  /** Lets one command go on, that of the direction whose turn it is if it can. Returns whether there was one. */
  #admitOne(now: number): boolean {
    const [first, second] = [this.#turn, otherOf[this.#turn]];
    const ahead = this.#queues[first][0];
    if (ahead !== undefined && this.#wait(ahead, now) === 0) return this.#admit(ahead);
    const other = this.#queues[second][0];
    if (other === undefined || this.#wait(other, now) > 0) return false;
    // Small commands would take away for ever what a large one waits for, unless that cannot go on anyway.
    if (ahead !== undefined && this.#wait(ahead, now, false) === 0) return false;
    return this.#admit(other);
  }

  #admit(command: LimitedCommand): boolean {
    const { direction } = command;
    this.#queues[direction].shift();
    for (const { bucket, counts } of this.#shares[direction]) bucket.take(this.#amount(command, counts));
    this.#turn = otherOf[direction];
    command.run();
    return true;
  }

  /** Sees to it that somebody looks again when the next command can go on. */
  #watch(now: number): void {
    for (const bucket of this.#buckets.values()) bucket.awaited = false;
    let soonest = Number.POSITIVE_INFINITY;
    for (const [command] of [this.#queues.read, this.#queues.write]) {
      if (command === undefined) continue;
      for (const { bucket, counts } of this.#shares[command.direction]) {
        if (bucket.waitFor(this.#amount(command, counts), now) > 0) bucket.awaited = true;
      }
      soonest = Math.min(soonest, this.#wait(command, now) || Number.POSITIVE_INFINITY);
    }
    if (soonest === Number.POSITIVE_INFINITY) return this.#forgetTimer();
    const wait = Math.max(Math.ceil(soonest), shortestWait);
    // One that is early looks, and sets the next.
    if (this.#timer !== null && this.#timer.due <= now + wait) return;
    this.#forgetTimer();
    const handle = this.#clock.timer(wait, () => {
      this.#timer = null;
      this.#pump();
    });
    this.#timer = { due: now + wait, handle };
  }

  #forgetTimer(): void {
    this.#timer?.handle[Symbol.dispose]();
    this.#timer = null;
  }

  /** Milliseconds until a command finds its tokens; without `common`, those that its direction has for itself. */
  #wait(command: LimitedCommand, now: number, common = true): number {
    let wait = 0;
    for (const share of this.#shares[command.direction]) {
      if (share.common && !common) continue;
      wait = Math.max(wait, share.bucket.waitFor(this.#amount(command, share.counts), now));
    }
    return wait;
  }

  #amount({ bytes }: LimitedCommand, counts: Share['counts']): number {
    return counts === 'bytes' ? bytes : Math.max(1, bytes / this.#operationSize);
  }
}
