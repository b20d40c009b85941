import assert from 'node:assert/strict';
import type { BlockDevice } from '@scoria/core';

/** What {@link writePattern} and {@link assertPattern} need of a device. */
export type PatternTarget = Pick<BlockDevice, 'read' | 'write'>;

const word = 8;
const step = 1024 * 1024;

/**
 * Bytes that tell who wrote them and where: each 8 bytes hold the seed and the offset. A block that is stale, shifted or
 * another volume's never compares equal.
 *
 * @param seed - 1 to 2^32 - 1.
 */
export function pattern(seed: number, offset: number, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let unit = offset / word;
  for (let at = 0; at < words.length; at += 2) {
    words[at] = seed;
    words[at + 1] = unit++;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** The seed of bytes that {@link pattern} made. */
export function seedOf(bytes: Uint8Array): number {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0] ?? 0;
}

/** Writes the pattern of a seed over a range. */
export async function writePattern(device: PatternTarget, seed: number, offset: number, length: number): Promise<void> {
  for (let at = 0; at < length; at += step) {
    const piece = Math.min(step, length - at);
    await device.write(pattern(seed, offset + at, piece), offset + at);
  }
}

/** Fails unless a range holds the pattern of a seed; seed 0 stands for zeroes. */
export async function assertPattern(
  device: PatternTarget,
  seed: number,
  offset: number,
  length: number,
  what: string,
): Promise<void> {
  for (let at = 0; at < length; at += step) {
    const piece = Math.min(step, length - at);
    const wanted = seed === 0 ? new Uint8Array(piece) : pattern(seed, offset + at, piece);
    // What the device does not fill must not pass for zeroes.
    const found = new Uint8Array(piece).fill(0xa5);
    await device.read(found, offset + at);
    if (Buffer.compare(found, wanted) === 0) continue;
    const wrong = found.findIndex((byte, index) => byte !== wanted[index]);
    const content = Buffer.from(found.subarray(wrong - (wrong % word), wrong - (wrong % word) + word)).toString('hex');
    assert.fail(
      `${what}: byte ${offset + at + wrong} is not ${seed === 0 ? 'zero' : `that of seed ${seed}`}; there is ${content}`,
    );
  }
}
