import type { IoLimits } from '@scoria/core/device';
import { describe, expect, test } from 'vitest';
import { IoLimiter, type LimitedCommand } from '../src/volume/io-limiter.ts';
import { ManualClock } from './manual-clock.ts';

interface Admission {
  readonly at: number;
  readonly direction: 'read' | 'write';
  readonly bytes: number;
  readonly name: string;
}

/** A limiter whose admissions are noted. */
class Scene {
  readonly clock = new ManualClock();
  readonly admitted: Admission[] = [];
  readonly limiter: IoLimiter;

  constructor(limits: IoLimits) {
    this.limiter = new IoLimiter(limits, this.clock);
  }

  enter(direction: 'read' | 'write', bytes = 512, name = '', then: () => void = () => {}): LimitedCommand {
    const run = () => {
      this.admitted.push({ at: this.clock.monotonic(), direction, bytes, name });
      then();
    };
    const command = { direction, bytes, run };
    this.limiter.enter(command);
    return command;
  }

  /** Keeps `depth` commands waiting for ever. */
  keepBusy(direction: 'read' | 'write', bytes: () => number, depth: number): void {
    const next = (): void => void this.enter(direction, bytes(), '', next);
    for (let index = 0; index < depth; index++) next();
  }

  count(direction?: 'read' | 'write', from = 0, to = Number.POSITIVE_INFINITY): number {
    return this.#within(direction, from, to).length;
  }

  bytes(direction?: 'read' | 'write', from = 0, to = Number.POSITIVE_INFINITY): number {
    return this.#within(direction, from, to).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #within(direction: 'read' | 'write' | undefined, from: number, to: number): Admission[] {
    return this.admitted.filter(
      (each) => each.at >= from && each.at < to && (direction === undefined || each.direction === direction),
    );
  }
}

/** A sequence that looks random and is the same each time (Lehmer). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

describe('a limiter', () => {
  test('lets a burst go on at once, and the rest at the rate', () => {
    const scene = new Scene({ totalOperations: { perSecond: 10, burst: 5 } });
    for (let index = 0; index < 8; index++) scene.enter('read', 512, String(index));
    expect(scene.admitted.map(({ at }) => at)).toEqual([0, 0, 0, 0, 0]);
    scene.clock.advance(1000);
    expect(scene.admitted.map(({ at }) => at)).toEqual([0, 0, 0, 0, 0, 100, 200, 300]);
    expect(scene.admitted.map(({ name }) => name).join('')).toBe('01234567');
    scene.clock.advance(300);
    expect(scene.limiter.waiting).toBe(0);
  });

  test.each([
    ['operations, a long burst', { totalOperations: { perSecond: 500, burst: 2000 } }],
    ['reads and writes apart', { readOperations: { perSecond: 100, burst: 10 }, writeOperations: { perSecond: 400, burst: 40 } }],
    ['bytes', { totalBytes: { perSecond: 4_000_000, burst: 400_000 } }],
    ['bytes, commands larger than the burst', { readBytes: { perSecond: 100_000, burst: 10_000 } }],
    [
      'all at once',
      {
        totalOperations: { perSecond: 300, burst: 30 },
        totalBytes: { perSecond: 9_000_000, burst: 900_000 },
        writeBytes: { perSecond: 2_000_000, burst: 200_000 },
      },
    ],
    ['large operations that count as several', { totalOperations: { perSecond: 300, burst: 30 }, operationSize: 16_384 }],
  ] satisfies [string, IoLimits][])('lets no window have more than rate and burst: %s', (_name, limits: IoLimits) => {
    const random = numbers(7);
    const scene = new Scene(limits);
    const size = () => 512 * (1 + Math.floor(random() * 128));
    const limited = (direction: string) =>
      Object.keys(limits).some((key) => key.startsWith('total') || key.startsWith(direction));
    for (const direction of ['read', 'write'] as const) if (limited(direction)) scene.keepBusy(direction, size, 16);
    const seconds = 20;
    for (let step = 0; step < seconds * 100; step++) scene.clock.advance(5 + Math.floor(random() * 10));
    const amount = ({ bytes }: Admission, quantity: string): number =>
      quantity.endsWith('Bytes') ? bytes : Math.max(1, bytes / (limits.operationSize ?? Number.POSITIVE_INFINITY));
    for (const [quantity, limit] of Object.entries(limits)) {
      if (typeof limit === 'number') continue;
      const counted = scene.admitted.filter(({ direction }) => quantity.startsWith(direction) || quantity.startsWith('total'));
      const largest = Math.max(...counted.map((each) => amount(each, quantity)));
      // What is larger than the burst goes on when the bucket is full, and leaves a debt.
      const atOnce = Math.max(limit.burst, largest);
      for (const window of [10, 100, 1000, 5000]) {
        for (let from = 0; from < seconds * 1000; from += 500) {
          const within = counted.filter(({ at }) => at >= from && at < from + window);
          const sum = within.reduce((total, each) => total + amount(each, quantity), 0);
          expect(sum).toBeLessThanOrEqual((limit.perSecond * window) / 1000 + atOnce + 1e-6);
        }
      }
    }
    // What can be had is given: one of the limits is used up.
    const end = scene.clock.monotonic();
    const usage = Object.entries(limits).flatMap(([quantity, limit]) => {
      if (typeof limit === 'number') return [];
      const counted = scene.admitted.filter(({ direction }) => quantity.startsWith(direction) || quantity.startsWith('total'));
      return [
        counted.reduce((total, each) => total + amount(each, quantity), 0) / ((limit.perSecond * end) / 1000 + limit.burst),
      ];
    });
    expect(Math.max(...usage)).toBeGreaterThan(0.97);
    expect(Math.max(...usage)).toBeLessThanOrEqual(1.03);
  });

  test('shares a total between reads and writes, however many wait of each', () => {
    const scene = new Scene({ totalOperations: { perSecond: 100, burst: 10 } });
    scene.keepBusy('write', () => 4096, 64);
    scene.keepBusy('read', () => 4096, 1);
    scene.clock.advance(10_000);
    expect(scene.count('read', 1000)).toBeGreaterThan(440);
    expect(scene.count('write', 1000)).toBeGreaterThan(440);
  });

  test('lets a command pass that is larger than the burst, and small ones do not keep it away', () => {
    const scene = new Scene({ totalBytes: { perSecond: 100_000, burst: 10_000 } });
    scene.keepBusy('read', () => 1000, 8);
    scene.enter('write', 100_000, 'large');
    scene.clock.advance(300);
    const large = scene.admitted.find(({ name }) => name === 'large');
    expect(large?.at).toBeLessThanOrEqual(200);
    // The debt of 90,000 bytes is paid first.
    expect(scene.count('read', large!.at + 1)).toBe(0);
    scene.clock.advance(2000);
    expect(scene.count('read', large!.at + 1)).toBeGreaterThan(50);
  });

  test('lets one direction go on while the other has used up what is its own', () => {
    const scene = new Scene({ writeOperations: { perSecond: 10, burst: 1 }, totalOperations: { perSecond: 1000, burst: 100 } });
    scene.keepBusy('write', () => 512, 4);
    scene.keepBusy('read', () => 512, 4);
    scene.clock.advance(2000);
    expect(scene.count('write')).toBe(21);
    expect(scene.count('read')).toBeGreaterThan(1900);
  });

  test('withdraws what waits; what is behind it goes on', () => {
    const scene = new Scene({ totalBytes: { perSecond: 1000, burst: 1000 } });
    scene.enter('read', 1000);
    const first = scene.enter('read', 1000);
    scene.enter('read', 100, 'small');
    expect(scene.limiter.withdraw(first)).toBe(true);
    expect(scene.limiter.withdraw(first)).toBe(false);
    scene.clock.advance(100);
    expect(scene.admitted.map(({ name }) => name)).toEqual(['', 'small']);
  });

  test('goes on by other limits, also for what waits, and without any lets all go on', () => {
    const scene = new Scene({ totalOperations: { perSecond: 1, burst: 1 } });
    for (let index = 0; index < 30; index++) scene.enter('read');
    expect(scene.count()).toBe(1);
    scene.limiter.change({ totalOperations: { perSecond: 10, burst: 1 } });
    scene.clock.advance(1000);
    expect(scene.count()).toBe(11);
    scene.limiter.change({});
    expect(scene.count()).toBe(30);
    scene.enter('write');
    expect(scene.count()).toBe(31);
  });

  test('goes on although time passes while it decides', () => {
    const scene = new Scene({ totalOperations: { perSecond: 100, burst: 10 } });
    const { clock } = scene;
    const real = clock.monotonic.bind(clock);
    let passed = 0;
    // A token comes now and then between two readings of one decision.
    clock.monotonic = () => real() + (passed += 0.37);
    const lateness = numbers(5);
    const timer = clock.timer.bind(clock);
    clock.timer = (ms, fn) => timer(ms + lateness() * 20, fn);
    scene.keepBusy('read', () => 512, 16);
    for (let second = 0; second < 20; second++) {
      const before = scene.count();
      clock.advance(1000);
      expect(scene.count() - before).toBeGreaterThanOrEqual(100);
    }
  });

  test('loses nothing to timers that are late', () => {
    const scene = new Scene({ totalBytes: { perSecond: 1_000_000, burst: 100_000 } });
    scene.keepBusy('write', () => 131_072, 4);
    const lateness = numbers(3);
    let late = 0;
    const real = scene.clock.timer.bind(scene.clock);
    scene.clock.timer = (ms, fn) => real(ms + (late = Math.floor(lateness() * 20)), fn);
    scene.clock.advance(20_000);
    expect(late).toBeGreaterThanOrEqual(0);
    expect(scene.bytes('write', 1000, 20_000) / 19_000_000).toBeGreaterThan(0.98);
  });
});
