import { expect, test } from 'vitest';
import { ManualClock } from '../../test/manual-clock.ts';
import { InlineIo } from './inline-io.ts';

const KiB = 1024;
const clock = new ManualClock();

/** Makes transfers of 4 KiB that each take `ms`, and returns how many were made on the calling thread. */
function transfer(io: InlineIo, count: number, ms: number): number {
  let inline = 0;
  for (let index = 0; index < count; index++) {
    if (!io.takes(4 * KiB)) continue;
    inline++;
    const begun = io.begin();
    clock.advance(ms);
    io.ended(begun, 4 * KiB);
  }
  return inline;
}

test('quick transfers stay on the calling thread, very large ones never are', () => {
  const io = new InlineIo(clock);
  expect(transfer(io, 100, 0)).toBe(100);
  expect(io.takes(1024 * KiB)).toBe(true);
  expect(io.takes(1024 * KiB + 512)).toBe(false);
});

test('a slow disk gets fewer and fewer of them, and a quick one all of them again', () => {
  const io = new InlineIo(clock);
  expect(transfer(io, 65, 5)).toBe(1);
  expect(transfer(io, 129, 5)).toBe(1);
  expect(transfer(io, 257, 5)).toBe(1);
  expect(transfer(io, 100_000, 5)).toBeLessThan(30);
  transfer(io, 5_000, 0);
  expect(transfer(io, 100, 0)).toBe(100);
});
