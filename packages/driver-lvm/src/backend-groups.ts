import { ScoriaError, type BackendIdentity, type Log, type PluginCall, type PoolReport, type Random } from '@scoria/core';
import { identify } from './backend-identity.ts';
import type { LvmConfig } from './configuration.ts';
import type { Layout } from './layout.ts';
import type { Leftovers } from './leftovers.ts';
import type { LogicalVolume } from './logical-volume.ts';
import { groupOwnerOf, nameOf } from './ownership.ts';
import type { VolumeGroup } from './volume-group.ts';

/** What {@link BackendGroups} work with. */
export interface BackendGroupsOptions {
  readonly config: LvmConfig;
  readonly installationId: string;
  readonly random: Random;
  readonly log: Log;
  readonly layout: Layout;
  readonly leftovers: Leftovers;
}

/**
 * The volume groups of a backend, each a pool of its own. One that fails keeps no other one from being used: its pool is
 * told with a fault, and it is brought up again with each report until it is well.
 */
export class BackendGroups {
  readonly #groups: readonly VolumeGroup[];
  readonly #options: BackendGroupsOptions;
  /** Groups that are marked, prepared and activated, and were well when they were looked at last. */
  readonly #ready = new Set<VolumeGroup>();
  #backendId: string | undefined;

  constructor(groups: readonly VolumeGroup[], options: BackendGroupsOptions) {
    this.#groups = groups;
    this.#options = options;
  }

  /** Brings up all groups that are well. Fails when that is none. */
  async check(call: PluginCall): Promise<BackendIdentity> {
    const refreshed = await this.#each(this.#groups, call, async (group) => {
      await group.refresh(call.signal);
      const loss = lossOf(group);
      if (loss) throw loss;
    });
    const usable = this.#groups.filter((_group, index) => refreshed[index]?.status === 'fulfilled');
    const backendId = await this.#identify(usable, call);
    this.#backendId = backendId;
    await this.#each(usable, call, (group) => this.#prepare(group, call));
    return { backendId };
  }

  /** Present capacities of all groups, or what is wrong with them. Fails when none can be asked. */
  async report(call: PluginCall): Promise<readonly PoolReport[]> {
    const { config, layout } = this.#options;
    const outcomes = await this.#each(this.#groups, call, async (group) => {
      if (!this.#ready.has(group)) await this.#bringUp(group, call);
      const report = await layout.report(group, call).catch((error: unknown) => {
        // Whatever else is wrong follows from it.
        throw lossOf(group) ?? error;
      });
      if (this.#backendId !== undefined && group.backendId !== this.#backendId) throw foreign(group, this.#backendId);
      const loss = lossOf(group);
      if (!loss) return report;
      this.#ready.delete(group);
      return { ...report, free: 0, fault: loss };
    });
    return outcomes.map((outcome, index) =>
      outcome.status === 'fulfilled' ? outcome.value : unusable(this.#groups[index]?.name ?? '', config, outcome.reason),
    );
  }

  /** Makes a group ready that was in trouble. One without all of its disks is left as it is. */
  async #bringUp(group: VolumeGroup, call: PluginCall): Promise<void> {
    await group.refresh(call.signal);
    // Before the first check nobody knows which backend it is to be.
    if (this.#backendId === undefined || lossOf(group)) return;
    const { backendIds } = groupOwnerOf(group.facts.vg_tags);
    if (backendIds.length > 0 && !backendIds.includes(this.#backendId)) throw foreign(group, this.#backendId);
    await this.#identify([group], call);
    await this.#prepare(group, call);
  }

  #identify(groups: readonly VolumeGroup[], { signal }: PluginCall): Promise<string> {
    const { installationId, random } = this.#options;
    return identify(groups, { installationId, random, known: this.#backendId, signal });
  }

  async #prepare(group: VolumeGroup, call: PluginCall): Promise<void> {
    const { layout, leftovers } = this.#options;
    await layout.prepare(group, call);
    await leftovers.settle(group, call);
    await this.#activate(group, call);
    this.#ready.add(group);
  }

  /** A logical volume that cannot be activated keeps no other one from being used. */
  async #activate(group: VolumeGroup, call: PluginCall): Promise<void> {
    const { layout, log } = this.#options;
    await group.know(call.signal);
    const idle = [...group.volumes].filter((volume) => !volume.active && isComplete(layout, group, volume));
    try {
      await group.activate(idle, call.signal);
    } catch (error) {
      call.signal.throwIfAborted();
      log.error({ err: error }, `Volume group ${group.name} has logical volumes that cannot be activated`);
    }
  }

  /** Does something for each group at once. One for which it fails is ready no more; fails when all do. */
  async #each<T>(
    groups: readonly VolumeGroup[],
    { signal }: PluginCall,
    work: (group: VolumeGroup) => Promise<T>,
  ): Promise<readonly PromiseSettledResult<T>[]> {
    signal.throwIfAborted();
    const outcomes = await Promise.allSettled(groups.map((group) => work(group)));
    signal.throwIfAborted();
    for (const [index, group] of groups.entries()) if (outcomes[index]?.status === 'rejected') this.#ready.delete(group);
    const failures = outcomes.filter((outcome) => outcome.status === 'rejected');
    const [first] = failures;
    if (first && failures.length === groups.length) throw first.reason;
    return outcomes;
  }
}

/** Whether a logical volume is an object of core, complete. */
export function isComplete(layout: Layout, group: VolumeGroup, volume: LogicalVolume): boolean {
  const { ownership, role } = volume;
  if (ownership?.backendId !== group.backendId || !ownership.ready) return false;
  return role === ownership.kind && volume.name === nameOf(role, ownership.placementId) && layout.isWhole(volume);
}

/** The pool of a group that cannot be asked. */
function unusable(name: string, { provisioning, maxOverSubscription, reserved }: LvmConfig, error: unknown): PoolReport {
  const thin = provisioning === 'thin';
  return {
    ...{ name, fault: ScoriaError.from(error, 'backend-failed'), total: 0, free: 0 },
    ...{ thin, maxOverSubscription: thin ? maxOverSubscription : 1, reserved, capabilities: {} },
  };
}

/** What a group that lacks disks has to say. */
function lossOf(group: VolumeGroup): ScoriaError | undefined {
  const { vg_missing_pv_count: missing } = group.facts;
  if (missing === 0) return undefined;
  return new ScoriaError('backend-unavailable', `Volume group ${group.name} lacks ${missing} of its physical volumes`, {
    remedy: 'Bring the disks back ("pvs" names them); see the recovery drills in the guide to LVM.',
    details: { missing },
  });
}

function foreign(group: VolumeGroup, backendId: string): ScoriaError {
  return new ScoriaError('foreign-backend', `Volume group ${group.name} is backend ${group.backendId}, not ${backendId}`);
}
