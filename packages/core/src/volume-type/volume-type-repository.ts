import type { ListQuery } from '../store/list-query.ts';
import type { Tenancy } from '../tenancy/request-context.ts';
import type { VolumeType, VolumeTypeField } from './volume-type.ts';

/** The volume types of a store. A tenancy of one project sees public types and those it has access to. */
export interface VolumeTypeRepository {
  /** `conflict` when the name is taken. */
  insert(type: VolumeType): Promise<void>;
  /** `not-found` when there is none that the tenancy may see. */
  get(tenancy: Tenancy, id: string): Promise<VolumeType>;
  /** By id or by name. `not-found` as {@link get}. */
  resolve(tenancy: Tenancy, idOrName: string): Promise<VolumeType>;
  list(tenancy: Tenancy, query: ListQuery<VolumeTypeField>): Promise<readonly VolumeType[]>;
  /** `conflict` when the new name is taken. */
  update(
    id: string,
    patch: Partial<Pick<VolumeType, 'name' | 'description' | 'isPublic' | 'extraSpecs' | 'qosSpecId'>>,
    now: number,
  ): Promise<VolumeType>;
  /** The types that have a QoS spec, by name. */
  ofQosSpec(qosSpecId: string): Promise<readonly VolumeType[]>;
  /** `conflict` when volumes or snapshots are of this type. */
  remove(id: string): Promise<void>;
  /** Projects that may use a private type. */
  projectsWithAccess(id: string): Promise<readonly string[]>;
  /** `conflict` when the project has access already. */
  grantAccess(id: string, projectId: string): Promise<void>;
  /** `not-found` when the project has no access. */
  revokeAccess(id: string, projectId: string): Promise<void>;
}
