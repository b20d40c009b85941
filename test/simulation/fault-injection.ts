import { type Created, type PoolReport, ScoriaError } from '@scoria/core';
import { SeededRandom } from './seeded-random.ts';
import type { Probe } from './simulated-process.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Verbs that start-up, and what only looks, depend on: these always work. */
const spared: ReadonlySet<string> = new Set([
  'driver.check',
  'driver.pools',
  'transport.start',
  'transport.list',
  'transport.stats',
  'driver.list',
]);
/** Verbs that undo. Where they fail for good, only the reconciler can mend what is left. */
const undoing: ReadonlySet<string> = new Set([
  'driver.delete',
  'driver.deleteSnapshot',
  'driver.extend',
  'driver.locate',
  'driver.unmanage',
  'transport.unexport',
  'transport.endMirror',
  'transport.release',
]);
/** Faults in a row that a verb on one object may have: fewer than core tries. */
const strikes = 2;

/** What a driver or transport may say that is not so, by verb: only what core can doubt, or must live with. */
const lies: Readonly<Record<string, (told: unknown, random: SeededRandom) => unknown>> = {
  /** There is far more room, or none. */
  'driver.pools': (told, random) =>
    (told as PoolReport[]).map((pool) => ({ ...pool, free: random.chance(0.5) ? 0 : pool.total })),
  /** It has not grown as asked. */
  'driver.create': (told, random) => ({ ...(told as Created), size: random.below(512) }),
  'driver.extend': (_told, random) => ({ size: random.below(512) }),
  /** It is smaller than asked. */
  'driver.shrink': (_told, random) => ({ size: random.below(512) }),
  /** What was taken over is empty. */
  'driver.manage': (told) => ({ ...(told as Created), size: 0 }),
  /** Some of what is published is not mentioned. */
  'transport.list': (told, random) => (told as unknown[]).filter(() => random.chance(0.5)),
};

/** Lets drivers and transports fail, stall, lie, be deaf to aborts and lose replies, and the store's disk be full, as a seed has it. */
export class FaultInjection {
  /** Whether faults happen now. */
  active = true;
  /** Whether verbs that undo fail in passing only. */
  gentle = false;
  readonly #seed: number;
  readonly #time: VirtualTime;
  readonly #calls = new Map<string, number>();
  readonly #strikes = new Map<string, number>();

  constructor(seed: number, time: VirtualTime) {
    this.#seed = seed;
    this.#time = time;
  }

  /** The probe of a process. `dead` tells whether it has been killed. */
  probe(process: string, dead: () => boolean): Probe {
    return {
      verb: async (name, proceed, args) => {
        const random = this.#dice(process, name);
        if (!this.active) return proceed();
        const lie = lies[name];
        if (lie && random.chance(0.05) && (spared.has(name) || this.#mayFail(name, args))) return lie(await proceed(), random);
        if (spared.has(name)) return proceed();
        const deaf = random.chance(0.1) ? withoutSignal(args) : args;
        if (random.chance(0.25)) await this.#stall(random, dead);
        const fault = random.chance(0.1) && this.#mayFail(name, args);
        if (!fault) return proceed(deaf);
        const kind = random.below(10);
        if (kind < 4) throw new ScoriaError('backend-unavailable', `${name} fails in passing`);
        if (kind < 8) {
          await proceed(deaf);
          await this.#stall(random, dead);
          throw new ScoriaError('backend-unavailable', `The reply of ${name} is lost`);
        }
        if (this.gentle && undoing.has(name)) return proceed(deaf);
        if (kind === 9) await proceed(deaf);
        throw new ScoriaError('not-supported', `${name} fails for good`);
      },
    };
  }

  /** What becomes of the next transaction of a process. */
  fate(process: string): ReturnType<NonNullable<Probe['transaction']>> {
    const random = this.#dice(process, 'transaction');
    if (!this.active) return 'once';
    if (random.chance(0.05)) return 'twice';
    if (!random.chance(0.03)) return 'once';
    return random.chance(0.5) ? random.below(8) : Infinity;
  }

  async #stall(random: SeededRandom, dead: () => boolean): Promise<void> {
    await this.#time.sleep(random.chance(0.1) ? random.below(90_000) : random.below(2_000));
    if (dead()) await new Promise<never>(() => {});
  }

  #dice(process: string, verb: string): SeededRandom {
    const key = `${process.replace(/\d+$/, '')} ${verb}`;
    const nth = (this.#calls.get(key) ?? 0) + 1;
    this.#calls.set(key, nth);
    let hash = this.#seed;
    for (const character of `${key} ${nth}`) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
    const random = new SeededRandom(hash);
    random.next();
    return random;
  }

  #mayFail(name: string, args: readonly unknown[]): boolean {
    const key = `${name} ${objectOf(args)}`;
    const count = (this.#strikes.get(key) ?? 0) + 1;
    this.#strikes.set(key, count);
    return count <= strikes;
  }
}

/** Names what a verb is about. */
function objectOf([first]: readonly unknown[]): string {
  if (typeof first === 'string') return first;
  if (typeof first !== 'object' || first === null) return '';
  if ('placementId' in first) return String(first.placementId);
  return 'accessId' in first ? String(first.accessId) : '';
}

/** The same call, deaf to aborts. */
function withoutSignal(args: readonly unknown[]): readonly unknown[] {
  const call = args.at(-1);
  if (typeof call !== 'object' || call === null || !('signal' in call)) return args;
  return [...args.slice(0, -1), { ...call, signal: new AbortController().signal }];
}
