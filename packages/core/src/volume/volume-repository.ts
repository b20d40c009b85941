import type { ListQuery } from '../store/list-query.ts';
import type { Tenancy } from '../tenancy/request-context.ts';
import type { Volume, VolumeField, VolumePatch, VolumeStatus, VolumeTransition } from './volume.ts';

/** Number and size of the volumes (or snapshots) of one volume type in a project. */
export interface UsageByType {
  readonly volumeTypeId: string;
  readonly count: number;
  /** Bytes. */
  readonly bytes: number;
}

/** Figures of GET /volumes/summary. */
export interface VolumeSummary {
  readonly count: number;
  /** Bytes. */
  readonly bytes: number;
  /** Every metadata key with its distinct values. */
  readonly metadata: Readonly<Record<string, readonly string[]>>;
}

/** The volumes of a store. */
export interface VolumeRepository {
  insert(volume: Omit<Volume, 'hostString'>): Promise<void>;
  /** `not-found` when there is none, or none that the tenancy may see. */
  get(tenancy: Tenancy, id: string): Promise<Volume>;
  list(tenancy: Tenancy, query: ListQuery<VolumeField>): Promise<readonly Volume[]>;
  /** Number of rows that the query's conditions select; page and sort are ignored. */
  count(tenancy: Tenancy, query: ListQuery<VolumeField>): Promise<number>;
  summary(tenancy: Tenancy, query: ListQuery<VolumeField>): Promise<VolumeSummary>;
  /** Writes fields and `updatedAt`. `not-found` as {@link get}. */
  update(tenancy: Tenancy, id: string, patch: VolumePatch, now: number): Promise<Volume>;
  /**
   * Changes the status by compare-and-swap, and fields with it. `invalid-state` names the present status and those from
   * which the transition may start.
   *
   * @param to - which of the table's targets, where it has several.
   */
  transition(
    tenancy: Tenancy,
    id: string,
    name: VolumeTransition,
    now: number,
    options?: { readonly to?: VolumeStatus; readonly patch?: VolumePatch },
  ): Promise<Volume>;
  /** Removes the row. No error when it is gone. */
  remove(id: string): Promise<void>;
  /** What a project uses now. */
  usage(projectId: string): Promise<readonly UsageByType[]>;
}
