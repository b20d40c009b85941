import type { Extent } from '../device/block-device.ts';
import type { DeviceLocator } from '../device/device-locator.ts';
import type { ErrorData } from '../error/scoria-error.ts';

/** What accompanies every call to a driver or transport. */
export interface PluginCall {
  /** Aborts when the work is cancelled or out of time; the callee stops soon and leaves nothing half-made that a repeat would trip over. */
  readonly signal: AbortSignal;
  /** Grows each time the work changes hands. A call with a lower token than one already seen for the same object must be refused (`stale-fence`); core's wrapper does it. */
  readonly fence: number;
  /** Tells how far the work is, in bytes. May be called as often as convenient. */
  progress(done: number, total: number): void;
}

/** A volume or snapshot as it stands on a backend. Core keeps it and gives it back on each call: a driver keeps no state. */
export interface BackendObject {
  /** Names the object on the backend, and makes every verb idempotent. UUID. */
  readonly placementId: string;
  /** Pool that holds it. */
  readonly pool: string;
  /** What `create` returned: opaque to core, at most 1,024 characters. `null` while the creation has not been recorded. */
  readonly backendRef: string | null;
  /** Bytes. */
  readonly size: number;
}

/** What a driver tells about a thing that it made. */
export interface Created {
  /** Opaque, at most 1,024 characters; given back on each later call. */
  readonly backendRef: string;
  /** Real size in bytes, at least what was asked for. */
  readonly size: number;
}

/** What a driver tells about a snapshot or copy that it made. */
export interface CreatedCopy extends Created {
  /**
   * `true`: the content is there, as it was at one moment during the call. `false`: only the space was allocated, all
   * zeroes; core fills it through block devices.
   */
  readonly filled: boolean;
}

/** Why a pool cannot be used; a `ScoriaError` will do. It is shown to operators and, where they wanted the pool, to users. */
export type PoolFault = Pick<ErrorData, 'code' | 'message' | 'remedy'>;

/** Capacity of a pool, as the storage itself reports it. All figures in bytes. */
export interface PoolReport {
  readonly name: string;
  /**
   * Why nothing can be placed in the pool now. What cannot be told meanwhile is 0; nobody looks at the other figures.
   * Default: nothing is wrong.
   */
  readonly fault?: PoolFault | undefined;
  readonly total: number;
  /** Physically free now, whoever uses the rest. */
  readonly free: number;
  /** Whether volumes take space only as they are written. */
  readonly thin: boolean;
  /** How far a thin pool may be promised beyond its size: 2 means twice. 1 for thick pools. */
  readonly maxOverSubscription: number;
  /** Share of `total` that is never promised, 0 to 1. */
  readonly reserved: number;
  /**
   * Whether snapshots, clones and reverts within the pool move no bytes. Default: `false`; a clone of a volume in use is
   * then left to the transport, where that can copy, because writes cannot be held for as long as it takes.
   */
  readonly instantCopies?: boolean | undefined;
  /** Further capabilities that extra specs of a volume type may ask for. */
  readonly capabilities: Readonly<Record<string, string | number | boolean>>;
}

/** A thing of ours found on a backend. */
export interface ListedObject {
  readonly placementId: string;
  readonly kind: 'volume' | 'snapshot';
  readonly pool: string;
  readonly backendRef: string;
  readonly size: number;
  /** Bytes that it really takes. */
  readonly usedBytes: number;
}

/** What `check` found. */
export interface BackendIdentity {
  /** UUID written on the backend itself; found again whatever the backend is called in the configuration. */
  readonly backendId: string;
}

/**
 * What a volume driver must do. Every verb may be called again with the same ids, after a crash or a lost reply, and
 * then gives the same result; deleting what is gone succeeds. Sizes are bytes. Errors are `ScoriaError`s; anything else
 * thrown is taken as `backend-failed`. Core wraps each driver: locks per object, deadlines, fencing and logging are not
 * the driver's work.
 */
export interface VolumeDriver {
  /** Sees to it that the backend can be used, marks it as ours, and tells its id. Called at start and whenever its health is in doubt. Fails with `backend-unavailable` or `foreign-backend`. */
  check(call: PluginCall): Promise<BackendIdentity>;
  /**
   * Present capacities. Called every few seconds: cheap, whatever the number of volumes. A pool in trouble is told with its
   * {@link PoolReport.fault}, as it would seem to be gone otherwise, and comes back by itself: `check` is not called for it.
   * Fails when nothing of the backend can be used; it is then out of service until a `check` succeeds.
   */
  pools(call: PluginCall): Promise<readonly PoolReport[]>;
  /** Makes an empty volume that reads as zeroes. `device-no-space` when it does not fit. */
  create(request: BackendObject, call: PluginCall): Promise<Created>;
  /** Removes a volume; its bytes never show up in another one. */
  delete(volume: BackendObject, call: PluginCall): Promise<void>;
  /** Makes a volume larger; the new part reads as zeroes. Returns the real size. May be called while the volume is in use. */
  extend(volume: BackendObject, size: number, call: PluginCall): Promise<{ readonly size: number }>;
  /** Makes a snapshot of a volume that stays as it is while the volume changes. */
  createSnapshot(snapshot: BackendObject, volume: BackendObject, call: PluginCall): Promise<CreatedCopy>;
  /** Removes a snapshot. Its volume and copies made of it are not affected. */
  deleteSnapshot(snapshot: BackendObject, call: PluginCall): Promise<void>;
  /** Everything of ours on the backend, in any order. */
  list(call: PluginCall): AsyncIterable<ListedObject>;
  /** Where this host opens a volume or snapshot. Fails with `backend-object-missing`. */
  locate(object: BackendObject, call: PluginCall): Promise<DeviceLocator>;
}

/** Capability `clone`: a copy of a volume without moving every byte through core. Source and target are on the same backend. */
export interface CloneSupport {
  clone(target: BackendObject, source: BackendObject, call: PluginCall): Promise<CreatedCopy>;
}

/** Capability `create-from-snapshot`: like {@link CloneSupport}, from a snapshot. */
export interface CreateFromSnapshotSupport {
  createFromSnapshot(target: BackendObject, snapshot: BackendObject, call: PluginCall): Promise<CreatedCopy>;
}

/** Capability `revert`: puts a volume back to a snapshot, which goes on to exist. `done: false` leaves the copying to core. */
export interface RevertSupport {
  revert(volume: BackendObject, snapshot: BackendObject, call: PluginCall): Promise<{ readonly done: boolean }>;
}

/** Capability `shrink`: makes a volume smaller that is not in use. What lay beyond the new end is gone, and shows up nowhere. */
export interface ShrinkSupport {
  /** Returns the real size, at least what was asked for. Repeating it changes nothing. `backend-busy` with the holder when it is open somewhere. */
  shrink(volume: BackendObject, size: number, call: PluginCall): Promise<{ readonly size: number }>;
}

/** A volume on a backend that is not ours, or is ours already. */
export interface ManageableObject {
  /** Names it to {@link ManageSupport.manage}; at most 1,024 characters. */
  readonly reference: string;
  readonly pool: string;
  /** Bytes. */
  readonly size: number;
  /** Placement id of a thing that is ours already. */
  readonly placementId: string | null;
  /** Why it cannot be taken over, for users; `null` when it can. */
  readonly refusal: string | null;
}

/** Capability `manage`: takes over volumes that exist on the backend, and lets go of ours. */
export interface ManageSupport {
  /** What could be taken over, and what cannot with the reason, in any order. */
  listManageable(call: PluginCall): AsyncIterable<ManageableObject>;
  /**
   * Makes an existing volume ours, with its content, under `target.placementId`; `target.size` is 0. `not-found` when the
   * reference names nothing, `conflict` when it is ours or in use. A repeat with the same placement id gives the same.
   */
  manage(target: BackendObject, reference: string, call: PluginCall): Promise<Created>;
  /** Lets go of a volume: it stays with its content, and is not listed as ours. Succeeds when it is gone. */
  unmanage(volume: BackendObject, call: PluginCall): Promise<void>;
}

/** Capability `extents`: knows which parts of things have data, without reading them. Extents come in ascending order and do not overlap. */
export interface ExtentSupport {
  /** Parts that may hold data; all else reads as zeroes. Nobody writes to the object meanwhile. */
  allocatedExtents(object: BackendObject, call: PluginCall): AsyncIterable<Extent>;
  /**
   * Parts that may differ between two snapshots of one volume, whatever their order in time; all else is the same in both.
   * `not-supported` when they are of different volumes.
   */
  changedExtents(from: BackendObject, to: BackendObject, call: PluginCall): AsyncIterable<Extent>;
}

/** The optional groups, by the capability with which a plug-in declares them. What a driver lacks, core does by copying. */
export interface DriverCapabilities {
  clone: CloneSupport;
  'create-from-snapshot': CreateFromSnapshotSupport;
  revert: RevertSupport;
  shrink: ShrinkSupport;
  manage: ManageSupport;
  extents: ExtentSupport;
}
/** Name of an optional group. */
export type DriverCapability = keyof DriverCapabilities;

/** The methods that each capability promises; a plug-in that declares one without them is refused. */
export const capabilityMethods = {
  clone: ['clone'],
  'create-from-snapshot': ['createFromSnapshot'],
  revert: ['revert'],
  shrink: ['shrink'],
  manage: ['listManageable', 'manage', 'unmanage'],
  extents: ['allocatedExtents', 'changedExtents'],
} as const satisfies { readonly [C in DriverCapability]: readonly (keyof DriverCapabilities[C])[] };

/** A driver as core sees it: the mandatory verbs, and the groups it declared. */
export type AnyVolumeDriver = VolumeDriver &
  Partial<CloneSupport & CreateFromSnapshotSupport & RevertSupport & ShrinkSupport & ManageSupport & ExtentSupport>;
