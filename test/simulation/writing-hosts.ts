import { ScoriaError } from '@scoria/core';
import { blocks, spacing, stamped } from './content-oracle.ts';
import type { InitiatorSession } from './modelled-target.ts';
import { SeededRandom } from './seeded-random.ts';
import { unit, type World } from './world.ts';

/** Hosts that write to what they have attached, each block with a stamp of its own. */
export class WritingHosts {
  readonly #world: World;
  #stamp = 0;
  #writing = true;

  constructor(world: World) {
    this.#world = world;
  }

  get writing(): boolean {
    return this.#writing;
  }

  /** No more writes. */
  stop(): void {
    this.#writing = false;
  }

  /** Writes for as long as the session lasts. */
  async write(session: InitiatorSession, volumeId: string): Promise<void> {
    const random = new SeededRandom(this.#stamp);
    while (this.#writing) {
      const [block, stamp] = [random.below(await this.#blocksOf(volumeId)), (this.#stamp += 1)];
      try {
        await session.write(stamped(stamp), block * spacing);
      } catch (error) {
        if (ScoriaError.from(error).code === 'device-gone') return;
        throw error;
      }
      await this.#world.time.sleep(200 + random.below(1_000));
    }
  }

  /** Blocks that a host may count on: what failed to be extended may be larger, and nobody has promised to keep that. */
  async #blocksOf(volumeId: string): Promise<number> {
    const [volume] = await this.#world.store.reading.volumes.list('every-project', {
      where: [{ field: 'id', op: 'eq', value: volumeId }],
    });
    return volume ? Math.min(blocks, volume.size / unit) : 1;
  }
}
