import { systemClock } from '@scoria/core/device';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Mirror } from '../src/volume/mirror.ts';
import { mirrorChunk, MirroredDevice } from '../src/volume/mirrored-device.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryDevice } from './memory-device.ts';
import { gate, mebibyte } from './target-fixture.ts';

const size = 4 * mirrorChunk;
/** Changes begin and end on multiples of this, so that many meet each other and the borders of chunks. */
const grain = mirrorChunk / 4;

interface Change {
  readonly kind: 'write' | 'zeroes' | 'discard' | 'fua';
  readonly offset: number;
  readonly length: number;
  readonly byte: number;
}

const changes = fc.array(
  fc
    .record({
      kind: fc.constantFrom('write', 'zeroes', 'discard', 'fua'),
      first: fc.integer({ min: 0, max: size / grain - 1 }),
      count: fc.integer({ min: 1, max: 6 }),
      byte: fc.integer({ min: 1, max: 255 }),
    })
    .map(({ kind, first, count, byte }): Change => {
      const offset = first * grain;
      return { kind, offset, length: Math.min(count * grain, size - offset), byte };
    }),
  { minLength: 1, maxLength: 12 },
);

function apply(device: MirroredDevice, { kind, offset, length, byte }: Change): Promise<void> {
  if (kind === 'zeroes') return device.writeZeroes(offset, length);
  if (kind === 'discard') return device.discard(offset, length);
  return device.write(Buffer.alloc(length, byte), offset, { fua: kind === 'fua' });
}

/** What changes make of zeroes, one after the other. */
function model(done: readonly Change[]): Buffer {
  const content = Buffer.alloc(size);
  for (const { kind, offset, length, byte } of done) {
    content.fill(kind === 'zeroes' || kind === 'discard' ? 0 : byte, offset, offset + length);
  }
  return content;
}

/** A device with blocks as large as the grain, so that its list of them is short. */
const memory = () => {
  const device = new MemoryDevice(size, grain);
  return device;
};
const forever = { signal: new AbortController().signal, progress: () => {} };

describe('a mirror', () => {
  test('holds the same on both devices, and every change in its order, whatever the interleaving', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), changes, changes, changes, async (scheduler, before, during, after) => {
        const [source, target] = [memory(), memory()];
        target.content.fill(0xee);
        const device = new MirroredDevice(source, target, systemClock);
        for (const change of before) await apply(device, change);
        const pause = () => scheduler.schedule(Promise.resolve());
        source.delays = { read: pause, write: pause, discard: pause, flush: pause };
        target.delays = { write: pause, discard: pause, flush: pause };

        const issued: Change[] = [...before];
        const mirror = new Mirror(device);
        const issue = async (change: Change): Promise<void> => {
          await pause();
          issued.push(change);
          await apply(device, change);
        };
        const followed = mirror.follow(forever);
        await scheduler.waitFor(Promise.all([followed, ...during.map(issue)]));
        expect(device.state).toBe('whole');
        expect(source.content.equals(model(issued))).toBe(true);
        expect(target.content.equals(source.content)).toBe(true);

        device.commit();
        await scheduler.waitFor(Promise.all(after.map(issue)));
        expect(source.content.equals(model(issued))).toBe(true);
        expect(target.content.equals(source.content)).toBe(true);
      }),
      { numRuns: 50 },
    );
  }, 30_000);

  test('whose target fails at any time before the commit goes on with its source, and nobody sees an error', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        changes,
        changes,
        fc.integer({ min: 0, max: 12 }),
        async (scheduler, before, during, fails) => {
          const [source, target] = [memory(), memory()];
          const device = new MirroredDevice(source, target, systemClock);
          for (const change of before) await apply(device, change);
          const pause = () => scheduler.schedule(Promise.resolve());
          source.delays = { read: pause, write: pause, discard: pause };
          let calls = 0;
          const failing = async () => {
            await pause();
            if (calls++ >= fails) throw new Error('the target is full');
          };
          target.delays = { write: failing, discard: failing, flush: failing };
          const mirror = new Mirror(device);
          const followed = mirror.follow(forever).then(
            () => true,
            () => false,
          );
          const issued: Change[] = [...before];
          const changed = during.map(async (change) => {
            await pause();
            issued.push(change);
            await apply(device, change);
          });
          const [whole] = await scheduler.waitFor(Promise.all([followed, ...changed, device.flush()]));
          expect(source.content.equals(model(issued))).toBe(true);
          if (device.state === 'whole') {
            expect(target.content.equals(source.content)).toBe(true);
            return;
          }
          expect(device.state).toBe('broken');
          expect(device.broken.reason).toMatchObject({ message: 'the target is full' });
          expect(() => device.commit()).toThrow('broken');
          if (whole === false) await expect(mirror.follow(forever)).rejects.toThrow('the target is full');
        },
      ),
      { numRuns: 40 },
    );
  }, 30_000);

  test('skips holes, also where they come into being meanwhile', async () => {
    const [source, target] = [memory(), memory()];
    const device = new MirroredDevice(source, target, systemClock);
    await device.write(Buffer.alloc(grain, 1), 2 * mirrorChunk);
    const values: number[] = [];
    await new Mirror(device).follow({ ...forever, progress: (done) => values.push(done) });
    expect(target.calls.filter((each) => each.startsWith('write'))).toEqual([`write ${2 * mirrorChunk} ${grain}`]);
    expect(values).toEqual(values.toSorted((one, other) => one - other));
    expect(values.at(-1)).toBe(size);
  });

  test('does not write zeroes of a source that cannot tell its holes', async () => {
    const [source, target] = [memory(), memory()];
    const device = new MirroredDevice(source, target, systemClock);
    await device.write(Buffer.alloc(size), 0);
    await new Mirror(device).follow(forever);
    expect(target.allocated.size).toBe(0);
  });

  test('flushes both from the time on when both are the same', async () => {
    const [source, target] = [memory(), memory()];
    const device = new MirroredDevice(source, target, systemClock);
    await device.flush();
    expect(target.calls).toEqual([]);
    await new Mirror(device).follow(forever);
    expect(target.calls.at(-1)).toBe('flush');
    const flushes = () => target.calls.filter((each) => each === 'flush').length;
    const before = flushes();
    await device.flush();
    await device.write(Buffer.alloc(grain, 1), 0, { fua: true });
    expect(flushes()).toBe(before + 2);
    expect(source.calls.at(-1)).toBe('flush');
  });

  test('that is committed fails what its target fails', async () => {
    const [source, target] = [memory(), memory()];
    const device = new MirroredDevice(source, target, systemClock);
    expect(() => device.commit()).toThrow(expect.objectContaining({ code: 'transport-failed' }));
    await new Mirror(device).follow(forever);
    device.commit();
    device.commit();
    target.delays = { write: () => Promise.reject(new Error('gone')), flush: () => Promise.reject(new Error('gone')) };
    await expect(device.write(Buffer.alloc(grain, 1), 0)).rejects.toThrow('gone');
    await expect(device.flush()).rejects.toThrow('gone');
    expect(device.state).toBe('committed');
  });

  test('fails with the source where that cannot be read, and a change that the source refuses is not made on the target', async () => {
    const [source, target] = [memory(), memory()];
    const device = new MirroredDevice(source, target, systemClock);
    await device.write(Buffer.alloc(size, 1), 0);
    source.delays = { read: () => Promise.reject(new Error('a bad sector')) };
    await expect(new Mirror(device).follow(forever)).rejects.toThrow('a bad sector');

    const [good, copy] = [memory(), memory()];
    const second = new MirroredDevice(good, copy, systemClock);
    await new Mirror(second).follow(forever);
    good.delays = { write: () => Promise.reject(new Error('no space')) };
    await expect(second.write(Buffer.alloc(grain, 1), 0)).rejects.toThrow('no space');
    expect(copy.content.equals(good.content)).toBe(true);
  });

  test('refuses a target that is too small or has other blocks', () => {
    expect(() => new MirroredDevice(new MemoryDevice(2 * mebibyte), new MemoryDevice(mebibyte), systemClock)).toThrow(
      '1048576 bytes',
    );
    expect(() => new MirroredDevice(new MemoryDevice(mebibyte), new MemoryDevice(mebibyte, 4096), systemClock)).toThrow(
      'blocks of 4096',
    );
  });

  test('breaks when its target falls silent, and lets those go who wait for it', async () => {
    const clock = new ManualClock();
    const [source, target] = [memory(), memory()];
    const device = new MirroredDevice(source, target, clock);
    await new Mirror(device).follow(forever);
    const silent = gate();
    target.delays = { write: () => silent.opened, flush: () => silent.opened };
    const changes = Promise.all([device.write(Buffer.alloc(grain, 1), 0), device.flush()]);
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(9_999);
    expect(device.state).toBe('whole');
    clock.advance(1);
    await changes;
    expect(device.state).toBe('broken');
    expect(device.broken.reason).toMatchObject({ code: 'deadline-exceeded' });
    silent.open();
  });

  test('that is committed waits for its target, however long it takes', async () => {
    const clock = new ManualClock();
    const [source, target] = [memory(), memory()];
    const device = new MirroredDevice(source, target, clock);
    await new Mirror(device).follow(forever);
    device.commit();
    const silent = gate();
    target.delays = { write: () => silent.opened };
    let written = false;
    const change = device.write(Buffer.alloc(grain, 1), 0).then(() => (written = true));
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(60_000);
    await new Promise((resolve) => setImmediate(resolve));
    expect([written, device.state]).toEqual([false, 'committed']);
    silent.open();
    await change;
    expect(target.content.equals(source.content)).toBe(true);
  });

  test('ends when it is told to, after what is under way, and writes nothing more', async () => {
    const [source, target] = [memory(), memory()];
    const device = new MirroredDevice(source, target, systemClock);
    await device.write(Buffer.alloc(size, 1), 0);
    const slow = gate();
    target.delays.write = () => slow.opened;
    const mirror = new Mirror(device);
    const followed = mirror.follow(forever);
    followed.catch(() => {});
    let ended = false;
    const end = mirror.end(new Error('no longer wanted')).then(() => (ended = true));
    await expect(followed.catch((error: unknown) => Promise.reject(error))).rejects.toThrow('no longer wanted');
    slow.open();
    await end;
    expect(ended).toBe(true);
    expect(target.closed).toBe(true);
    const calls = target.calls.length;
    await device.write(Buffer.alloc(grain, 2), 0);
    await device.flush();
    expect(target.calls).toHaveLength(calls);
  });
});
