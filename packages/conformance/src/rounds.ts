import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { pattern, seedOf, type PatternTarget } from './pattern.ts';

const unit = 64 * 1024;

/** Offsets in an order that no copier takes: two that go steadily through a volume meet once, and what a smear leaves then looks like one moment. */
function orderOf(size: number): number[] {
  const count = size / unit;
  return Array.from({ length: count }, (_, index) => ((index * 203) % count) * unit);
}

/**
 * Writes while some work goes on, one write at a time, round after round over the whole volume with the next seed. The
 * volume must hold the pattern of seed 1.
 *
 * @param size - bytes, a power of two.
 */
export async function writeRounds<T>(target: Pick<PatternTarget, 'write'>, size: number, work: () => Promise<T>): Promise<T> {
  const order = orderOf(size);
  let writing = true;
  let written = 0;
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const writer = (async () => {
    for (let seed = 2; writing; seed++) {
      for (const [index, offset] of order.entries()) {
        if (!writing) return;
        await target.write(pattern(seed, offset, unit), offset);
        if (++written === 3) begin();
        if (index % 4 === 0) await setImmediate();
      }
    }
  })();
  try {
    await Promise.race([begun, writer]);
    return await work();
  } finally {
    writing = false;
    await writer;
  }
}

/** Fails unless a copy made during {@link writeRounds} is what the volume was at one moment. */
export async function assertMoment(device: Pick<PatternTarget, 'read'>, size: number): Promise<void> {
  const seeds: number[] = [];
  for (const offset of orderOf(size)) {
    const found = new Uint8Array(unit);
    await device.read(found, offset);
    const seed = seedOf(found);
    assert.equal(Buffer.compare(found, pattern(seed, offset, unit)), 0, `the copy has a torn block at ${offset}`);
    seeds.push(seed);
  }
  // At any moment some round has reached some block: those before it have its seed, the others that of the round before.
  const [newest = 0] = seeds;
  const reached = seeds.findIndex((seed) => seed !== newest);
  assert(
    reached === -1 || seeds.slice(reached).every((seed) => seed === newest - 1),
    `the copy mixes moments, in the order of writing: ${seeds.join(' ')}`,
  );
}
