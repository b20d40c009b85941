import { uncountedVolumeStatuses, type UsageByType } from '@scoria/core';
import { sql } from 'kysely';
import { largeSum, type Session } from './session.ts';

/** What counts against a project's quotas; the names of the tables. */
export type CountedKind = 'volumes' | 'snapshots';

/** Number and bytes of a project's volumes or snapshots by volume type: sums, so that it costs the same with any number. */
export async function usageOf(session: Session, kind: CountedKind, projectId: string): Promise<readonly UsageByType[]> {
  const rows = await session.db
    .selectFrom('project_usage')
    .select(['volume_type_id as volumeTypeId', 'number as count', largeSum('bytes').as('bytes')])
    .where('project_id', '=', projectId)
    .where('kind', '=', kind)
    .where('number', '>', 0)
    .orderBy('volume_type_id')
    .execute();
  return rows.map((row) => ({ ...row }));
}

/** Adds a row to the sums of its project, once it is there. */
export function countIn(session: Session, kind: CountedKind, id: string): Promise<void> {
  return addToUsage(session, kind, id, 1);
}

/** Takes a row out of the sums of its project, while it still is as it was counted in. */
export function countOut(session: Session, kind: CountedKind, id: string): Promise<void> {
  return addToUsage(session, kind, id, -1);
}

/** Runs a change of the size, the volume type, or a status that counts otherwise, of a row, if `counts` says that it is one, and keeps the sums right. */
export async function recounted<T>(
  session: Session,
  kind: CountedKind,
  id: string,
  counts: boolean,
  change: () => Promise<T>,
): Promise<T> {
  if (!counts) return change();
  await countOut(session, kind, id);
  const result = await change();
  await countIn(session, kind, id);
  return result;
}

async function addToUsage(session: Session, kind: CountedKind, id: string, sign: 1 | -1): Promise<void> {
  await sql`insert into project_usage (project_id, kind, volume_type_id, number, bytes)
    select project_id, ${kind}, volume_type_id, ${sign}, ${sign} * size from ${sql.table(kind)}
    where id = ${id} and status not in (${sql.join(uncountedVolumeStatuses)})
    on conflict (project_id, kind, volume_type_id) do update
    set number = project_usage.number + excluded.number, bytes = project_usage.bytes + excluded.bytes`.execute(session.db);
}
