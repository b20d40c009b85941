import { ScoriaError } from '@scoria/core';
import { referenceOf } from './layout.ts';
import { adoptingTag, nameOf, type Kind } from './ownership.ts';
import type { VolumeGroup } from './volume-group.ts';

/**
 * Fails with `backend-failed` for an object that is there but cannot be served, because somebody has changed its logical
 * volume: else it would be taken for gone. The model is fresh.
 */
export function refuseChanged(group: VolumeGroup, kinds: readonly Kind[], placementId: string): void {
  refuseConverted(group, kinds, placementId);
  refuseRenamed(group, kinds, placementId);
}

/** Fails for what holds all that it should, but is no longer of the kind that the backend makes. */
function refuseConverted(group: VolumeGroup, kinds: readonly Kind[], placementId: string): void {
  const converted = kinds.map((kind) => group.ours(kind, placementId)).find((volume) => volume?.ownership?.ready === true);
  // A snapshot's own space alone is what its deletion leaves for the end.
  if (!converted || (converted.role === 'snapshot' && converted.layer === 'linear')) return;
  throw new ScoriaError('backend-failed', `${referenceOf(group, converted)} is not what this backend has made any more`, {
    remedy: "Undo what somebody did to the logical volume (see its lv_layout), or the change of the backend's configuration.",
  });
}

/** Fails with `backend-failed` for what has our tags but another name. The model is fresh. */
export function refuseRenamed(group: VolumeGroup, kinds: readonly Kind[], placementId: string): void {
  for (const volume of group.volumes) {
    const { name, role, ownership, tags } = volume;
    if (role !== undefined || !ownership || tags.includes(adoptingTag) || !group.isOurs(volume, placementId)) continue;
    if (!kinds.includes(ownership.kind)) continue;
    const wanted = nameOf(ownership.kind, placementId);
    throw new ScoriaError('backend-failed', `${referenceOf(group, { name: wanted })} is called ${referenceOf(group, volume)}`, {
      remedy: `Give it its name back: lvrename ${group.name} ${name} ${wanted}`,
    });
  }
}
