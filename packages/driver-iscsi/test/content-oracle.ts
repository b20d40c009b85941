import type { BlockDevice } from '@scoria/core/device';

/** Numbers from 0 up to 1 that are the same for the same seed (a linear congruential generator). */
function sequence(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const block = 4096;

/** What a mix of writes, zeroes, discards and reads under a seed leaves on a device. Each worker has blocks of its own. */
export class ContentOracle {
  readonly content: Buffer;
  /** Calls that succeeded. */
  calls = 0;
  readonly #device: BlockDevice;
  readonly #seed: number;

  constructor(device: BlockDevice, seed: number) {
    this.#device = device;
    this.#seed = seed;
    this.content = Buffer.alloc(device.size);
  }

  /** Has `workers` do `rounds` calls each, and fails at the first byte that is wrong. */
  async run(workers: number, rounds: number): Promise<void> {
    const share = Math.floor(this.#device.size / block / workers) * block;
    await Promise.all(Array.from({ length: workers }, (_, index) => this.#work(index, index * share, share, rounds)));
  }

  /** Reads all of it. */
  async check(): Promise<void> {
    await this.#compare(0, this.content.length);
  }

  async #work(worker: number, start: number, length: number, rounds: number): Promise<void> {
    const random = sequence(this.#seed * 1_000 + worker);
    for (let round = 0; round < rounds; round++) {
      const blocks = 1 + Math.floor(random() ** 3 * 64);
      const offset = start + Math.floor((random() * length) / block) * block;
      const size = Math.min(blocks * block, start + length - offset);
      const choice = random();
      if (choice < 0.55) {
        const data = Buffer.alloc(size);
        for (let at = 0; at < size; at += 8) {
          data.writeUInt32LE(worker * 1_000_000 + round + 1, at);
          data.writeUInt32LE(offset + at, at + 4);
        }
        await this.#device.write(data, offset, { fua: random() < 0.1 });
        data.copy(this.content, offset);
      } else if (choice < 0.65) {
        await (random() < 0.5 ? this.#device.discard(offset, size) : this.#device.writeZeroes(offset, size));
        this.content.fill(0, offset, offset + size);
      } else if (choice < 0.7) await this.#device.flush();
      else await this.#compare(offset, size);
      this.calls++;
    }
  }

  async #compare(offset: number, size: number): Promise<void> {
    const found = Buffer.alloc(size, 0xa5);
    await this.#device.read(found, offset);
    const wanted = this.content.subarray(offset, offset + size);
    if (found.equals(wanted)) return;
    const wrong = found.findIndex((byte, at) => byte !== wanted[at]);
    throw new Error(`byte ${offset + wrong} is ${found[wrong]} instead of ${wanted[wrong]} after ${this.calls} calls`);
  }
}
