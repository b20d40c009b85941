/** A kind of volume that users may ask for. */
export interface VolumeType {
  readonly id: string;
  /** Unique. */
  readonly name: string;
  readonly description: string | null;
  /** A private type is seen by administrators and the projects that have access. */
  readonly isPublic: boolean;
  readonly extraSpecs: Readonly<Record<string, string>>;
  /** QoS spec of its volumes, for administrators to see; `null` when they are not limited. */
  readonly qosSpecId: string | null;
  readonly createdAt: number;
  readonly updatedAt: number | null;
}

/** Fields by which types are filtered and sorted. */
export type VolumeTypeField = 'id' | 'name' | 'description' | 'isPublic' | 'createdAt' | 'updatedAt';
