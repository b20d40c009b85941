import { ScoriaError } from '@scoria/core';
import type { LogicalVolume } from './logical-volume.ts';
import type { GroupRow } from './lvm-report.ts';
import { groupOwnerOf, nameOf, type Role } from './ownership.ts';

/** Bytes of its group that a logical volume takes by itself. */
const takenBy = (volume: LogicalVolume | undefined): number =>
  volume?.layer === 'linear' || volume?.layer === 'thick-snapshot' ? volume.usedBytes : 0;

/** What is known of a volume group: as the last report had it, and as our own changes have left it. Asking it costs nothing. */
export class GroupModel {
  readonly name: string;
  readonly #installationId: string;
  #row: GroupRow | undefined;
  #model = new Map<string, LogicalVolume>();

  constructor(name: string, installationId: string) {
    this.name = name;
    this.#installationId = installationId;
  }

  /** What the model has of the group itself. */
  get facts(): GroupRow {
    if (this.#row) return this.#row;
    throw new ScoriaError('backend-unavailable', `Volume group ${this.name} has not been looked at yet`);
  }

  /** Id of the backend that the group is marked with. `foreign-backend` when that is another installation's, or nobody's. */
  get backendId(): string {
    const { backendIds, installationId } = groupOwnerOf(this.facts.vg_tags);
    const [backendId] = backendIds;
    if (installationId === this.#installationId && backendId !== undefined) return backendId;
    const owner = installationId === undefined ? 'is not marked as ours' : `belongs to installation ${installationId}`;
    throw new ScoriaError('foreign-backend', `Volume group ${this.name} ${owner}`);
  }

  /** Whether a logical volume is ours and stands for a placement. */
  isOurs({ ownership }: LogicalVolume, placementId: string): boolean {
    return ownership?.placementId === placementId && ownership.backendId === this.backendId;
  }

  /** Our logical volume that has a role for a placement, complete or not, as the model has it. */
  ours(role: Role, placementId: string): LogicalVolume | undefined {
    const found = this.get(nameOf(role, placementId));
    return found && this.isOurs(found, placementId) ? found : undefined;
  }

  /** All logical volumes of the model. */
  get volumes(): Iterable<LogicalVolume> {
    return this.#model.values();
  }

  /** What the model has under a name. */
  get(name: string): LogicalVolume | undefined {
    return this.#model.get(name);
  }

  /** Thick snapshots of a logical volume. */
  thickSnapshotsOf(name: string): readonly LogicalVolume[] {
    return [...this.volumes].filter(({ layer, origin }) => layer === 'thick-snapshot' && origin === name);
  }

  /** The size that a logical volume of at least so many bytes has. */
  wholeExtents(size: number): number {
    const { vg_extent_size: extent } = this.facts;
    return Math.max(1, Math.ceil(size / extent)) * extent;
  }

  /** Path of a logical volume's device node. */
  path(name: string): string {
    return `/dev/${this.name}/${name}`;
  }

  /** Name that device-mapper knows a logical volume by (lvm(8)): hyphens of its parts are doubled. */
  mapping(name: string): string {
    return [this.name, name].map((part) => part.replaceAll('-', '--')).join('-');
  }

  /** The error of what cannot be removed because others would go with it. */
  dependedOn({ name }: LogicalVolume): ScoriaError {
    return new ScoriaError('backend-busy', `Logical volume ${this.name}/${name} has snapshots, which would go with it`, {
      remedy: `Remove the snapshots of the logical volume ("lvs -o name,origin ${this.name}" names them).`,
    });
  }

  /** Takes over what a report says of the group and of some or all of its logical volumes. */
  protected learn(row: GroupRow, volumes: readonly LogicalVolume[], areAll: boolean): void {
    this.#row = row;
    if (areAll) this.#model = new Map();
    for (const volume of volumes) this.#model.set(volume.name, volume);
  }

  /** Follows a change of ours: a logical volume that was made, or is another than before. */
  protected put(volume: LogicalVolume): void {
    this.#account(volume.name, volume);
    this.#model.set(volume.name, volume);
  }

  /** Follows a change of ours: a logical volume that is gone. */
  protected drop(name: string): void {
    this.#account(name, undefined);
    this.#model.delete(name);
    for (const other of this.volumes) if (other.origin === name) this.#model.set(other.name, { ...other, origin: undefined });
  }

  /** Follows a change of ours: a logical volume has another name. */
  protected move(from: LogicalVolume, to: LogicalVolume): void {
    const dependent = [...this.volumes].filter(({ origin }) => origin === from.name);
    this.drop(from.name);
    this.put(to);
    for (const each of dependent) this.#model.set(each.name, { ...each, origin: to.name });
  }

  protected mark(volumes: readonly LogicalVolume[], active: boolean): void {
    for (const { name } of volumes) {
      const present = this.#model.get(name);
      if (present) this.#model.set(name, { ...present, active });
    }
  }

  /** Keeps the group's free space in step with a logical volume that changes. */
  #account(name: string, after: LogicalVolume | undefined): void {
    if (!this.#row) return;
    const freed = takenBy(this.#model.get(name)) - takenBy(after);
    if (freed !== 0) this.#row = { ...this.#row, vg_free: this.#row.vg_free + freed };
  }
}
