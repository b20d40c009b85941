import type { ListQuery } from '../store/list-query.ts';
import type { Tenancy } from '../tenancy/request-context.ts';
import type { UsageByType } from '../volume/volume-repository.ts';
import type { Snapshot, SnapshotField, SnapshotPatch, SnapshotTransition } from './snapshot.ts';

/** The snapshots of a store. The rules of {@link VolumeRepository} hold. */
export interface SnapshotRepository {
  insert(snapshot: Snapshot): Promise<void>;
  get(tenancy: Tenancy, id: string): Promise<Snapshot>;
  list(tenancy: Tenancy, query: ListQuery<SnapshotField>): Promise<readonly Snapshot[]>;
  count(tenancy: Tenancy, query: ListQuery<SnapshotField>): Promise<number>;
  update(tenancy: Tenancy, id: string, patch: SnapshotPatch, now: number): Promise<Snapshot>;
  transition(
    tenancy: Tenancy,
    id: string,
    name: SnapshotTransition,
    now: number,
    options?: { readonly patch?: SnapshotPatch },
  ): Promise<Snapshot>;
  remove(id: string): Promise<void>;
  usage(projectId: string): Promise<readonly UsageByType[]>;
}
