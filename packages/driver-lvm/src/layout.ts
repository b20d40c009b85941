import {
  ScoriaError,
  type BackendObject,
  type Clock,
  type CreatedCopy,
  type Extent,
  type Log,
  type PluginCall,
  type PoolReport,
} from '@scoria/core';
import type { Erase, LvmConfig } from './configuration.ts';
import type { LogicalVolume } from './logical-volume.ts';
import type { LvmCommands } from './lvm-commands.ts';
import { tagsFor, type Kind, type Role } from './ownership.ts';
import type { VolumeGroup } from './volume-group.ts';

/** What a {@link Layout} works with. */
export interface LayoutOptions {
  readonly config: LvmConfig;
  readonly commands: LvmCommands;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * How volumes lie in a group: each on its own extents, or in a thin pool. The verbs are those of the contract, for
 * objects that have been found in the group's model.
 */
export interface Layout {
  /** Makes what a group needs before volumes can be made in it. */
  prepare(group: VolumeGroup, call: PluginCall): Promise<void>;
  /** Present capacities. Costs the same however many volumes there are, but for a look at all now and then. */
  report(group: VolumeGroup, call: PluginCall): Promise<PoolReport>;
  /** Whether a logical volume with the right name and tags is what it stands for, and not what is left of it. */
  isWhole(object: LogicalVolume): boolean;
  create(group: VolumeGroup, request: BackendObject, call: PluginCall): Promise<LogicalVolume>;
  /** Removes a volume or snapshot. */
  remove(group: VolumeGroup, object: LogicalVolume, call: PluginCall): Promise<void>;
  extend(group: VolumeGroup, volume: LogicalVolume, size: number, call: PluginCall): Promise<number>;
  shrink(group: VolumeGroup, volume: LogicalVolume, size: number, call: PluginCall): Promise<number>;
  snapshot(group: VolumeGroup, request: BackendObject, volume: LogicalVolume, call: PluginCall): Promise<LogicalVolume>;
  /** Makes a volume with the content of a volume or snapshot. */
  copy(group: VolumeGroup, request: BackendObject, source: LogicalVolume, call: PluginCall): Promise<LogicalVolume>;
  /** Whether the volume has been put back; else core copies. */
  revert(group: VolumeGroup, volume: LogicalVolume, snapshot: LogicalVolume, call: PluginCall): Promise<boolean>;
  /** What a crash may leave that {@link recover} settles. */
  readonly leftovers: readonly Role[];
  /** Finishes or removes what is left of work that a crash ended. Takes but a moment. */
  recover(group: VolumeGroup, leftover: LogicalVolume, call: PluginCall): Promise<void>;
  /** See `zeroingDiscard` of a device locator. */
  zeroingDiscard(group: VolumeGroup): number | undefined;
  allocatedExtents(group: VolumeGroup, object: LogicalVolume, call: PluginCall): AsyncIterable<Extent>;
  /** Of two snapshots of one volume. */
  changedExtents(group: VolumeGroup, from: LogicalVolume, to: LogicalVolume, call: PluginCall): AsyncIterable<Extent>;
}

/** What the contract calls the reference of a logical volume. */
export const referenceOf = (group: VolumeGroup, { name }: Pick<LogicalVolume, 'name'>): string => `${group.name}/${name}`;

/** What a driver tells of a copy. */
export const copyOf = (group: VolumeGroup, made: LogicalVolume): CreatedCopy => ({
  backendRef: referenceOf(group, made),
  size: made.size,
  filled: true,
});

/** The tags of what a request asks for. */
export const requestTags = (
  group: VolumeGroup,
  kind: Kind,
  { placementId }: Pick<BackendObject, 'placementId'>,
  ready: boolean,
  source: string | null = null,
): readonly string[] => tagsFor({ backendId: group.backendId, placementId, kind, ready, source });

/** What happens to the bytes of a deleted volume, where the configuration leaves it to the layout. */
export const eraseOf = ({ erase, provisioning }: LvmConfig): Erase => erase ?? (provisioning === 'thick' ? 'zero' : 'discard');

/** Fails with `conflict` when what is there is smaller than what is asked for. */
export function refuseSmaller(group: VolumeGroup, present: LogicalVolume, size: number): void {
  if (present.size >= size) return;
  throw new ScoriaError('conflict', `${referenceOf(group, present)} is there already with ${present.size} bytes, not ${size}`);
}

/** Fails with `conflict` when a copy could not hold its source. */
export function refuseLarger(group: VolumeGroup, source: LogicalVolume, size: number): void {
  if (source.size <= group.wholeExtents(size)) return;
  throw new ScoriaError(
    'conflict',
    `${referenceOf(group, source)} has ${source.size} bytes; a copy of ${size} bytes cannot hold it`,
  );
}
