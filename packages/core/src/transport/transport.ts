import type { DeviceLocator } from '../device/device-locator.ts';
import type { PluginCall } from '../volume/driver.ts';
import type { IoLimits } from './io-limits.ts';

/** What a host says of itself when it wants to reach a volume (Block Storage API v3, `connector`). */
export interface Connector {
  /** iSCSI name of the host's initiator. */
  readonly initiator?: string | undefined;
  readonly host?: string | undefined;
  readonly ip?: string | undefined;
  readonly multipath?: boolean | undefined;
}

/** One access to publish: a volume for one initiator host. */
export interface ExportRequest {
  /** UUID. The target's name is made from it and never used again. */
  readonly accessId: string;
  /** UUID; the SCSI serial. All accesses of one volume share one logical unit. */
  readonly volumeId: string;
  readonly device: DeviceLocator;
  readonly readOnly: boolean;
  /** CHAP secret of this access, never logged nor stored. Characters of base64url, the first of which is a small letter. */
  readonly secret: string;
  /** Initiator name of the host. CHAP is the authority; a transport may be configured to admit only this name besides. */
  readonly initiator?: string | undefined;
  /**
   * What the volume is held to from here on, all its accesses together; absent, it is not limited. Given only to transports
   * with {@link LimitSupport}.
   */
  readonly limits?: IoLimits | undefined;
}

/** One access of which the transport has something, as it sees it now. */
export interface ExportStatus {
  readonly accessId: string;
  readonly volumeId: string;
  readonly readOnly: boolean;
  /**
   * Whether all of it is there, so that its host can log in and reach the volume. What a crash or a failure has left
   * half-made is not; nor is what is being made or ended at the moment. Exporting the access again completes it, and
   * leaves it as it is where it is complete; {@link Transport.unexport} ends it.
   */
  readonly complete: boolean;
  /** Initiator names of the sessions that are logged in. */
  readonly sessions: readonly string[];
}

/** What a client needs to reach an access, in the shape that Cinder's clients and os-brick understand. */
export interface ConnectionInfo {
  /** For example `iscsi`. */
  readonly driverVolumeType: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Counters of one volume's logical unit since it was first exported by the running target. */
export interface ExportStats {
  readonly volumeId: string;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
}

/**
 * The target side of a transport: publishes volumes to other hosts. Every verb may be repeated. Requests and replies
 * are plain messages, so a transport may do its work in another process.
 */
export interface Transport {
  /** Kinds of {@link DeviceLocator} that this transport can open. */
  readonly reaches: readonly string[];
  start(call: PluginCall): Promise<void>;
  /** Ends all exports and lets go of what {@link start} took. */
  stop(): Promise<void>;
  /** Publishes an access. Settles when an initiator can log in. */
  export(request: ExportRequest, call: PluginCall): Promise<void>;
  /** Ends an access. Settles only when no write of any of its sessions can still reach the device. */
  unexport(accessId: string, call: PluginCall): Promise<void>;
  /** What there is of accesses, half-made ones too as soon as they tell their volume: what is not told is not ended. */
  list(call: PluginCall): Promise<readonly ExportStatus[]>;
  /** Makes initiators see a new size. Does nothing for a volume that is not exported. */
  resize(volumeId: string, call: PluginCall): Promise<void>;
  /** What the client of this access needs; made from the arguments alone. */
  connectionInfo(request: ExportRequest): ConnectionInfo;
  stats(call: PluginCall): Promise<readonly ExportStats[]>;
}

/**
 * Capability `point-in-time`: says what a snapshot of a volume in use contains, which only the data path can. Without it a
 * volume in use can be copied only by a driver that takes a copy at one moment by itself.
 */
export interface PointInTimeSupport {
  /**
   * Holds back writes to an exported volume and waits until those under way are on stable storage. The hold ends by
   * {@link release} or by itself after `ms` milliseconds. Returns a token, or `null` when the volume is not exported.
   */
  hold(volumeId: string, ms: number, call: PluginCall): Promise<string | null>;
  /** Ends a hold. `held` tells whether no write got through since it began. */
  release(token: string, call: PluginCall): Promise<{ readonly held: boolean }>;
  /**
   * Copies a volume as it is at one moment during the call from `source` into `target`, while it is or comes into use: what
   * is about to be overwritten is copied first. Opens the volume's logical unit for the time of the copy when it is not
   * exported; an export that comes meanwhile shares it. Holes stay holes; the target is flushed at the end. Settles when
   * all is there.
   */
  copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void>;
}

/**
 * Capability `mirror`: moves a volume to another device while hosts use it. {@link MirrorSupport.mirror} brings both
 * devices to the same content and keeps them so; {@link MirrorSupport.commitMirror} makes a write succeed only when both
 * have it; then whoever keeps the books says which device is the volume's, and {@link MirrorSupport.endMirror} lets go of
 * the other. Whenever the process dies, the device that the books name has every acknowledged write. Sessions, target and
 * serial stay. Every verb may be repeated.
 */
export interface MirrorSupport {
  /**
   * Copies a volume from `source` to `target` and writes to both from then on. Opens the volume's logical unit when it is
   * not exported; exports that come and go meanwhile share it. Settles when both are the same; repeating it joins the
   * copy under way. When `target` fails, the mirror breaks, the volume goes on with `source` alone, and this and every
   * later verb of the mirror rejects. An abort ends the mirror.
   */
  mirror(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void>;
  /** From here on a write that either device refuses fails. `transport-failed` when there is no whole mirror. */
  commitMirror(volumeId: string, call: PluginCall): Promise<void>;
  /** Goes on with one device and closes the other; writes are held for a moment. Succeeds when there is no mirror. */
  endMirror(volumeId: string, keep: 'source' | 'target', call: PluginCall): Promise<void>;
}

/**
 * Capability `limit`: holds volumes to a rate of I/O, whatever their hosts do. Without it, volumes of a type with such
 * limits cannot be attached. No volume waits for the limits of another. A limit that the transport cannot keep is refused
 * with `not-supported`, by {@link Transport.export} too.
 */
export interface LimitSupport {
  /**
   * Changes what a volume is held to, also while hosts use it: commands that wait go on by the new limits. `null` lifts
   * them. Does nothing for a volume that is not exported. May be repeated: the same limits, given by this verb or by an
   * export, bring no new burst.
   */
  limit(volumeId: string, limits: IoLimits | null, call: PluginCall): Promise<void>;
}

/** A transport as core sees it: the mandatory verbs, and the groups it declared. */
export type AnyTransport = Transport & Partial<PointInTimeSupport & MirrorSupport & LimitSupport>;
