import { ScoriaError, type Random } from '@scoria/core';
import { groupOwnerOf, groupTags, isMarked } from './ownership.ts';
import type { VolumeGroup } from './volume-group.ts';

/** What {@link identify} needs to know. */
export interface IdentifyOptions {
  readonly installationId: string;
  readonly random: Random;
  /** Id that an earlier check of this process found. */
  readonly known: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Finds the backend id on the groups, and marks those that have none. The model of each group is fresh.
 *
 * `foreign-backend` when a group is another installation's, or holds volumes of nobody knows whom; `backend-unavailable`
 * when it is not the backend any more that it was; `invalid-configuration` when two backends are named as one.
 */
export async function identify(groups: readonly VolumeGroup[], options: IdentifyOptions): Promise<string> {
  const { installationId, random, signal } = options;
  for (const group of groups) refuseForeign(group, installationId);
  const found = new Set(groups.flatMap((group) => groupOwnerOf(group.facts.vg_tags).backendIds));
  const backendId = options.known ?? [...found].toSorted()[0] ?? random.uuid();
  for (const group of groups) {
    if (groupOwnerOf(group.facts.vg_tags).backendIds.length > 0) continue;
    await group.tagGroup(groupTags(backendId, installationId), [], signal);
    await group.refresh(signal);
    refuseForeign(group, installationId);
  }
  const ids = new Set(groups.map((group) => agreedId(group)));
  const [agreed = backendId, ...others] = ids;
  if (others.length > 0) {
    throw new ScoriaError(
      'invalid-configuration',
      `Volume groups of different backends are named as one: ${[...ids].join(', ')}`,
      {
        remedy: 'Give each backend its own volume groups.',
      },
    );
  }
  if (options.known !== undefined && agreed !== options.known) {
    throw new ScoriaError('backend-unavailable', `The volume groups are not backend ${options.known} any more, but ${agreed}`);
  }
  for (const group of groups) {
    const surplus = groupOwnerOf(group.facts.vg_tags).backendIds.filter((id) => id !== agreed);
    if (surplus.length === 0) continue;
    await group.tagGroup(
      [],
      surplus.flatMap((id) => groupTags(id, installationId).slice(0, 1)),
      signal,
    );
    await group.refresh(signal);
  }
  return agreed;
}

/** Processes that marked a group at the same moment agree on the first of their ids. */
const agreedId = (group: VolumeGroup): string | undefined => groupOwnerOf(group.facts.vg_tags).backendIds.toSorted()[0];

function refuseForeign(group: VolumeGroup, installationId: string): void {
  const { name, facts, volumes } = group;
  const owner = groupOwnerOf(facts.vg_tags);
  if (owner.installationId !== undefined && owner.installationId !== installationId) {
    throw new ScoriaError('foreign-backend', `Volume group ${name} belongs to installation ${owner.installationId}`, {
      remedy:
        'Point the backend at groups of this installation; if the other one is gone for good, remove the tags "scoria.…" of the group with vgchange.',
    });
  }
  if (owner.installationId !== undefined) return;
  for (const volume of volumes) {
    if (!isMarked(volume.tags)) continue;
    throw new ScoriaError('foreign-backend', `Volume group ${name} has no mark but holds ${name}/${volume.name} of some Scoria`, {
      remedy: 'Restore the tags of the group (vgcfgrestore), or point the backend at another group.',
    });
  }
}
