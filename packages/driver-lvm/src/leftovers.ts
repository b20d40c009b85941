import type { Log, ObjectLocks, PluginCall } from '@scoria/core';
import type { Layout } from './layout.ts';
import type { LogicalVolume } from './logical-volume.ts';
import { settleAdoption } from './manageable.ts';
import { adoptingTag, nameOf } from './ownership.ts';
import type { VolumeGroup } from './volume-group.ts';

/**
 * Whether a logical volume takes space for an object of core, complete or not, or for one that is gone. What core does
 * not know of it has deleted.
 */
export function isListed(group: VolumeGroup, { name, ownership, role, tags }: LogicalVolume): boolean {
  if (ownership?.backendId !== group.backendId || role === undefined || tags.includes(adoptingTag)) return false;
  if (name !== nameOf(role, ownership.placementId)) return false;
  return role === ownership.kind || (role === 'deleted' && group.thickSnapshotsOf(name).length === 0);
}

/** Settles what crashes left where that takes but a moment; the rest is listed. */
export class Leftovers {
  readonly #layout: Layout;
  readonly #turns: ObjectLocks;
  readonly #log: Log;

  constructor(layout: Layout, turns: ObjectLocks, log: Log) {
    this.#layout = layout;
    this.#turns = turns;
    this.#log = log;
  }

  /** Leaves alone what somebody works on, and what has only become another than it was. */
  async settle(group: VolumeGroup, call: PluginCall): Promise<void> {
    for (const { name, ownership } of [...group.volumes].filter((volume) => this.#isLeftover(group, volume))) {
      if (!ownership || this.#turns.isTaken(ownership.placementId)) continue;
      await this.#turns.run([ownership.placementId], () => this.#settle(group, name, call), call.signal);
    }
  }

  async #settle(group: VolumeGroup, name: string, call: PluginCall): Promise<void> {
    await group.know(call.signal);
    const leftover = group.get(name);
    if (!leftover || !this.#isLeftover(group, leftover)) return;
    try {
      if (leftover.tags.includes(adoptingTag)) await settleAdoption(group, leftover, call.signal);
      else await this.#layout.recover(group, leftover, call);
      this.#log.info({}, `Settled ${group.name}/${name}, which had been left half-made`);
    } catch (error) {
      call.signal.throwIfAborted();
      this.#log.warn({ err: error }, `${group.name}/${name} was left half-made and cannot be settled`);
    }
  }

  #isLeftover(group: VolumeGroup, { ownership, role, tags }: LogicalVolume): boolean {
    if (ownership?.backendId !== group.backendId) return false;
    return tags.includes(adoptingTag) || (role !== undefined && this.#layout.leftovers.includes(role));
  }
}
