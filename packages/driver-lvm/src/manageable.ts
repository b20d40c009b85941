import { ScoriaError, type BackendObject, type ManageableObject } from '@scoria/core';
import type { LvmConfig } from './configuration.ts';
import { referenceOf, requestTags } from './layout.ts';
import type { LogicalVolume } from './logical-volume.ts';
import { adoptingTag, isMarked, nameOf, ourTags, readyTag } from './ownership.ts';
import type { VolumeGroup } from './volume-group.ts';

/** Why a logical volume cannot be taken over, for users; `null` when it can. */
function refusalOf(group: VolumeGroup, volume: LogicalVolume, { provisioning, thinPool }: LvmConfig): string | null {
  if (volume.ownership) return 'It is managed already.';
  if (volume.layer === 'thin-pool') return 'It is a thin pool.';
  if (isMarked(volume.tags)) return 'It belongs to another backend.';
  if (volume.layer === 'thick-snapshot') return 'It is a snapshot; take over its volume instead.';
  if (group.thickSnapshotsOf(volume.name).length > 0) return 'It has snapshots of its own.';
  if (provisioning === 'thick' && isOrigin(group, volume)) return 'Thin volumes show what it holds.';
  if (provisioning === 'thick' && volume.layer !== 'linear') return 'It is no plain logical volume, and this backend is thick.';
  if (provisioning === 'thin' && volume.pool !== thinPool.name) return `It is not in the thin pool ${thinPool.name}.`;
  if (showsOther(group, volume)) return 'It shows what a logical volume outside of its thin pool holds.';
  if (!volume.writable) return 'It is read-only.';
  if (volume.health !== '') return `LVM says that it is ${volume.health}.`;
  if (volume.open) return 'It is in use.';
  return null;
}

const isOrigin = (group: VolumeGroup, { name }: LogicalVolume): boolean =>
  [...group.volumes].some(({ origin }) => origin === name);

/** Whether a thin volume has an external origin (lvmthin(7)): what it discards would not read as zeroes. */
function showsOther(group: VolumeGroup, volume: LogicalVolume): boolean {
  const seen = new Set<LogicalVolume>();
  for (let at: LogicalVolume | undefined = volume; at?.layer === 'thin' && !seen.has(at);) {
    seen.add(at);
    if (at.origin === undefined) return false;
    at = group.get(at.origin);
  }
  return volume.layer === 'thin';
}

/** The logical volumes of a group that could be taken over, and the others with the reason. The model is fresh. */
export function manageableIn(group: VolumeGroup, config: LvmConfig): readonly ManageableObject[] {
  const found: ManageableObject[] = [];
  for (const volume of group.volumes) {
    // Ours that are no volumes would only puzzle.
    if (volume.ownership && volume.role !== 'volume') continue;
    if (volume.layer === 'thin-pool') continue;
    found.push({
      reference: referenceOf(group, volume),
      pool: group.name,
      size: volume.size,
      placementId: volume.ownership?.placementId ?? null,
      refusal: refusalOf(group, volume, config),
    });
  }
  return found;
}

/** Finds what a user means: `name`, `group/name`, `/dev/group/name` or the UUID that LVM gave it. */
function named(group: VolumeGroup, reference: string): LogicalVolume | undefined {
  const path = reference.replace(/^\/dev\//, '');
  const within = `${group.name}/`;
  return (
    group.get(path.startsWith(within) ? path.slice(within.length) : path) ??
    [...group.volumes].find(({ uuid }) => uuid === reference)
  );
}

/**
 * Takes over a logical volume: tags first, so that a repeat knows it again under either name, then the name, then the
 * tag that makes it count.
 */
export async function manageIn(
  group: VolumeGroup,
  config: LvmConfig,
  target: BackendObject,
  reference: string,
  signal: AbortSignal,
): Promise<LogicalVolume> {
  await group.refresh(signal);
  const name = nameOf('volume', target.placementId);
  const present = group.get(name);
  if (present && !group.isOurs(present, target.placementId)) {
    throw new ScoriaError('conflict', `Volume group ${group.name} has a logical volume ${name} that is not ours`);
  }
  if (present) return present.ownership?.ready ? present : adopted(group, present, signal);
  let volume = named(group, reference);
  if (!volume) throw new ScoriaError('not-found', `Volume group ${group.name} has no logical volume ${reference}`);
  if (!group.isOurs(volume, target.placementId)) {
    const refusal = refusalOf(group, volume, config);
    if (refusal !== null) throw new ScoriaError('conflict', `${referenceOf(group, volume)} cannot be taken over. ${refusal}`);
    volume = await group.retag(volume, [...requestTags(group, 'volume', target, false), adoptingTag], [], signal);
  }
  if (!volume.active) await group.activate([volume], signal);
  return adopted(group, await group.rename(volume, name, signal), signal);
}

const adopted = (group: VolumeGroup, volume: LogicalVolume, signal: AbortSignal): Promise<LogicalVolume> =>
  group.retag(volume, [readyTag], [adoptingTag], signal);

/** Ends a taking over that a crash stopped: one that has its name already is finished, any other is undone. */
export async function settleAdoption(group: VolumeGroup, volume: LogicalVolume, signal: AbortSignal): Promise<void> {
  const { name, ownership } = volume;
  if (ownership && name === nameOf('volume', ownership.placementId)) await adopted(group, volume, signal);
  else await group.retag(volume, [], ourTags(volume.tags), signal);
}

/** Lets go of a volume: it keeps its name and content, and loses our tags. */
export async function unmanageIn(group: VolumeGroup, volume: LogicalVolume, signal: AbortSignal): Promise<void> {
  if (group.thickSnapshotsOf(volume.name).some(({ ownership }) => ownership !== undefined)) {
    throw new ScoriaError('conflict', `${referenceOf(group, volume)} has snapshots that are managed`, {
      remedy: 'Delete the snapshots of the volume first.',
    });
  }
  await group.retag(volume, [], ourTags(volume.tags), signal);
}
