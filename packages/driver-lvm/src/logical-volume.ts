import type { SegmentRow, VolumeRow } from './lvm-report.ts';
import { ownershipOf, roleOf, type Ownership, type Role } from './ownership.ts';

/** What a logical volume is made of: its own extents, blocks of a thin pool, or blocks saved before they were overwritten. */
export type Layer = 'linear' | 'thin' | 'thick-snapshot' | 'thin-pool' | 'other';

/** What only a thin pool has. */
export interface PoolSettings {
  /** Bytes. */
  readonly chunkSize: number;
  /** Whether chunks are zeroed before somebody gets them. */
  readonly zeroes: boolean;
  /** Whether writes fail when it is full; else they wait. */
  readonly failsWhenFull: boolean;
  /** Whether volumes of it can give chunks back. */
  readonly discards: boolean;
}

/** A logical volume as the model of its group has it. Sizes are bytes. */
export interface LogicalVolume {
  readonly name: string;
  /** `undefined` for one that we have just made. */
  readonly uuid: string | undefined;
  readonly layer: Layer;
  /** What whoever opens it sees. */
  readonly size: number;
  /** What it takes of its group, or of its thin pool. */
  readonly usedBytes: number;
  /** Thick snapshots: percent of their space in use. */
  readonly fill: number;
  readonly tags: readonly string[];
  /** `undefined` for what stands for nothing of core. */
  readonly ownership: Ownership | undefined;
  /** `undefined` for names that we do not give. */
  readonly role: Role | undefined;
  /** Name of the volume that a snapshot was taken of; thin ones lose it with the volume. */
  readonly origin: string | undefined;
  readonly pool: string | undefined;
  /** `false` also for one that a killed command of LVM left suspended: activation resumes it. */
  readonly active: boolean;
  readonly open: boolean;
  readonly writable: boolean;
  /** A thick snapshot that has run full: nothing of it can be trusted. */
  readonly invalid: boolean;
  /** LVM's word for a fault, for example `partial`; empty when there is none. */
  readonly health: string;
  /** `undefined` for what is no thin pool. */
  readonly settings: PoolSettings | undefined;
}

/** Layers by the first character of `lv_attr` (lvs(8), "lv_attr bits"). */
const layers: Readonly<Record<string, Layer>> = { '-': 'linear', V: 'thin', s: 'thick-snapshot', t: 'thin-pool' };

/** The fifth character of `lv_attr` while input and output are held up. */
const suspended: ReadonlySet<string> = new Set(['s', 'S']);

/** A volume with thick snapshots is told as an origin, whatever it is made of. */
function layerOf({ lv_attr: attributes, pool_lv: pool }: VolumeRow): Layer {
  const type = attributes[0] ?? '';
  if (type === 'o' || type === 'O') return pool === '' ? 'linear' : 'thin';
  return layers[type] ?? 'other';
}

/** What LVM's report says about a logical volume; `segment` is the one of a thin pool. */
export function logicalVolumeOf(row: VolumeRow, segment?: Omit<SegmentRow, 'lv_name' | 'thin_id'>): LogicalVolume {
  const layer = layerOf(row);
  const fill = row.data_percent ?? 0;
  return {
    name: row.lv_name,
    uuid: row.lv_uuid,
    layer,
    size: layer === 'thick-snapshot' ? (row.origin_size ?? row.lv_size) : row.lv_size,
    usedBytes: layer === 'thin' ? Math.round((row.lv_size * fill) / 100) : row.lv_size,
    fill,
    tags: row.lv_tags,
    ownership: ownershipOf(row.lv_tags),
    role: roleOf(row.lv_name),
    origin: row.origin === '' ? undefined : row.origin,
    pool: row.pool_lv === '' ? undefined : row.pool_lv,
    active: row.lv_active.startsWith('active') && !suspended.has(row.lv_attr[4] ?? ''),
    open: row.lv_device_open === 'open',
    writable: row.lv_attr[1] === 'w',
    invalid: row.lv_snapshot_invalid !== '' && row.lv_snapshot_invalid !== 'unknown',
    health: row.lv_health_status,
    settings:
      layer === 'thin-pool' && segment
        ? {
            chunkSize: segment.chunk_size ?? 0,
            zeroes: segment.zero === 'zero',
            failsWhenFull: row.lv_when_full === 'error',
            discards: segment.discards !== 'ignore',
          }
        : undefined,
  };
}

/** A logical volume that we have just made, as a report would have it. */
export function madeVolume(
  made: Pick<LogicalVolume, 'name' | 'layer' | 'size' | 'tags'> & Partial<Pick<LogicalVolume, 'origin' | 'pool' | 'usedBytes'>>,
): LogicalVolume {
  return {
    uuid: undefined,
    usedBytes: made.layer === 'thin' ? 0 : made.size,
    fill: 0,
    ownership: ownershipOf(made.tags),
    role: roleOf(made.name),
    origin: undefined,
    pool: undefined,
    active: true,
    open: false,
    writable: true,
    invalid: false,
    health: '',
    settings: undefined,
    ...made,
  };
}

/** The same logical volume under another name. */
export const renamed = (volume: LogicalVolume, name: string): LogicalVolume => ({ ...volume, name, role: roleOf(name) });

/** The same logical volume with other tags. */
export const retagged = (volume: LogicalVolume, add: readonly string[], remove: readonly string[]): LogicalVolume => {
  const tags = [...new Set([...volume.tags.filter((tag) => !remove.includes(tag)), ...add])];
  return { ...volume, tags, ownership: ownershipOf(tags) };
};

/** The same logical volume with another size. */
export const resized = (volume: LogicalVolume, size: number): LogicalVolume => ({
  ...volume,
  size,
  usedBytes: volume.layer === 'linear' ? size : volume.usedBytes,
});
