import {
  ScoriaError,
  withDeadline,
  type BlockDevice,
  type Clock,
  type DeviceLocator,
  type DeviceOpeners,
  type IoLimits,
} from '@scoria/core/device';
import type { MirrorEnds } from '../control/messages.ts';
import { blockDeviceCommands } from '../scsi/command-set.ts';
import { LogicalUnit } from '../scsi/logical-unit.ts';
import type { Reservations } from '../scsi/reservations.ts';
import { copyLive } from '../volume/live-copy.ts';
import { Mirror } from '../volume/mirror.ts';
import { MirroredDevice } from '../volume/mirrored-device.ts';
import type { VerbCall } from './target-service.ts';

/** What opening and holding need. */
export interface VolumeContext {
  readonly openers: DeviceOpeners;
  readonly reservations: Reservations;
  readonly clock: Clock;
  /** Called when a mirror has broken. The volume goes on with its source already. */
  readonly onMirrorBroken: (volume: ExportedVolume, mirror: Mirror, reason: unknown) => void;
  /** Called when the target of a mirror that has ended is closed. */
  readonly onTargetClosed: () => void;
}

/** Time for a device that is no longer wanted to let go, ms. */
const releaseDeadline = 5_000;
/** Time for writes under way to end while others are held for a change of device, ms. */
const stillDeadline = 10_000;

/** A volume of which at least one access is published: its open device and its logical unit. */
export class ExportedVolume {
  readonly unit: LogicalUnit;
  #locator: DeviceLocator;
  /** Where the volume was before it moved; whoever has not heard of that yet means this volume. */
  #previous: DeviceLocator | null = null;
  readonly #context: VolumeContext;
  readonly #holds = new Map<string, Disposable>();
  #mirror: { readonly run: Mirror; readonly ends: MirrorEnds } | null = null;
  /** Ends of targets that may still be written to. */
  readonly #releases = new Set<Promise<void>>();
  #copies = 0;

  private constructor(unit: LogicalUnit, locator: DeviceLocator, context: VolumeContext) {
    this.unit = unit;
    this.#locator = locator;
    this.#context = context;
  }

  /** Opens the volume's device. */
  static async open(volumeId: string, device: DeviceLocator, readOnly: boolean, context: VolumeContext): Promise<ExportedVolume> {
    const opened = await openDevice(context.openers, device, readOnly);
    const unit = new LogicalUnit(volumeId, opened, blockDeviceCommands, context.reservations);
    return new ExportedVolume(unit, device, context);
  }

  /** Whether a copy, a hold or a mirror still needs the device. */
  get busy(): boolean {
    return this.#copies > 0 || this.#holds.size > 0 || this.#mirror !== null || this.#releases.size > 0;
  }

  /** Whether this is the volume that `locator` leads to, before, during or after a move. */
  opens(locator: DeviceLocator): boolean {
    return [this.#locator, this.#previous, this.#mirror?.ends.target].some((own) => own && isSame(own, locator));
  }

  /** Makes ready for another access. A device open for reading only is opened anew for one that writes. */
  async admit(locator: DeviceLocator, readOnly: boolean): Promise<void> {
    if (!this.opens(locator)) {
      throw new ScoriaError('conflict', `Volume ${this.unit.volumeId} is exported from another device, ${this.#locator.path}`);
    }
    if (readOnly || !this.unit.device.readOnly) return;
    const writable = await openDevice(this.#context.openers, this.#locator, false);
    await this.unit.replaceDevice(writable).close();
  }

  /** Learns the size anew and tells the initiators. */
  async resize(): Promise<void> {
    if (this.#mirror !== null) {
      throw new ScoriaError('invalid-state', `Volume ${this.unit.volumeId} is being moved; its size cannot change meanwhile`);
    }
    const before = this.unit.device.size;
    if ((await this.unit.device.refreshSize()) !== before) this.unit.announceResize();
  }

  /** Holds the volume to limits from here on; `null` lifts them. */
  limit(limits: IoLimits | null): void {
    this.unit.limit(limits, this.#context.clock);
  }

  /** Holds writes back for at most `ms`. Rejects with `writes-not-held` when those under way do not end in that time. */
  async hold(token: string, ms: number): Promise<void> {
    const { gate } = this.unit;
    const { promise: late, reject } = Promise.withResolvers<never>();
    late.catch(() => {});
    const key = {};
    gate.hold(key);
    const timer = this.#context.clock.timer(ms, () => {
      this.release(token);
      reject(new ScoriaError('writes-not-held', `Writes to volume ${this.unit.volumeId} could not be held within ${ms} ms`));
    });
    this.#holds.set(token, {
      [Symbol.dispose]: () => {
        timer[Symbol.dispose]();
        gate.release(key);
      },
    });
    try {
      await Promise.race([gate.settled().then(() => this.unit.device.flush()), late]);
    } catch (error) {
      this.release(token);
      throw error;
    }
  }

  /** Ends a hold. Whether it was in effect until now. */
  release(token: string): boolean {
    const hold = this.#holds.get(token);
    this.#holds.delete(token);
    hold?.[Symbol.dispose]();
    return hold !== undefined;
  }

  /** Copies the volume as it is at one moment into `target`; see `copyLive`. */
  async copy(target: BlockDevice, { signal, progress }: VerbCall): Promise<void> {
    const { unit } = this;
    const source = {
      // The device may be replaced meanwhile, by one of the same content.
      get size(): number {
        return unit.device.size;
      },
      read: (into: Uint8Array, offset: number) => unit.device.read(into, offset),
      allocatedExtents: (offset: number, length: number) => unit.allocatedExtents(offset, length),
    };
    this.#copies++;
    try {
      await copyLive({ source, gate: unit.gate, target, signal, progress });
    } finally {
      this.#copies--;
    }
  }

  /** Begins to mirror the volume to another device, or gives the mirror that runs between the same two. */
  async startMirror(source: DeviceLocator, target: DeviceLocator): Promise<Mirror> {
    const { unit } = this;
    const running = this.#mirror;
    if (running !== null && running.run.device.state !== 'broken') {
      if (isSame(running.ends.source, source) && isSame(running.ends.target, target)) return running.run;
      throw new ScoriaError('conflict', `Volume ${unit.volumeId} is being moved to ${running.ends.target.path} already`);
    }
    if (running !== null) await this.dropMirror(running.run, running.run.device.broken.reason);
    // What is still under way to it would overwrite what the new mirror copies.
    await this.#released();
    if (!isSame(this.#locator, source)) {
      throw new ScoriaError('conflict', `Volume ${unit.volumeId} lies on ${this.#locator.path}, not on ${source.path}`);
    }
    const opened = await openDevice(this.#context.openers, target, false);
    try {
      const device = new MirroredDevice(unit.device, opened, this.#context.clock);
      // A write that does not know of the mirror would be missed by the copy.
      await this.#whileStill(() => void unit.replaceDevice(device));
      const run = new Mirror(device);
      this.#mirror = { run, ends: { source, target } };
      device.broken.addEventListener('abort', () => {
        if (this.#mirror?.run === run) this.#context.onMirrorBroken(this, run, device.broken.reason);
      });
      return run;
    } catch (error) {
      await opened.close();
      throw error;
    }
  }

  /** Makes a write succeed only where both devices take it. Rejects with `transport-failed` without a whole mirror. */
  commitMirror(): MirrorEnds {
    if (this.#mirror === null) throw new ScoriaError('transport-failed', `Volume ${this.unit.volumeId} has no mirror to commit`);
    this.#mirror.run.device.commit();
    return this.#mirror.ends;
  }

  /** Goes on with one device. Returns the devices of the mirror that there was; `null` when there was none. */
  async endMirror(keep: 'source' | 'target'): Promise<MirrorEnds | null> {
    if (this.#mirror === null) {
      if (keep === 'source') await this.#released();
      return null;
    }
    const { run, ends } = this.#mirror;
    const { device } = run;
    if (keep === 'source') {
      await this.dropMirror(run, new ScoriaError('cancelled', `The move of volume ${this.unit.volumeId} was given up`));
      return ends;
    }
    if (device.state !== 'committed') {
      throw new ScoriaError('invalid-state', `The mirror of volume ${this.unit.volumeId} is ${device.state}, not committed`);
    }
    await this.#whileStill(() => {
      this.unit.replaceDevice(device.target);
      this.#mirror = null;
      this.#previous = this.#locator;
      this.#locator = ends.target;
    });
    if (device.target.size !== device.size) this.unit.announceResize();
    await device.source.close();
    return ends;
  }

  /**
   * Ends a mirror, whatever its state, and goes on with the source. Does nothing when it has ended. Rejects with
   * `deadline-exceeded` when the target does not let go; the mirror has ended nevertheless.
   */
  async dropMirror(run: Mirror, reason: unknown): Promise<void> {
    if (this.#mirror?.run !== run) return;
    // No need to hold writes: those under way through the mirror reach the source too.
    this.unit.replaceDevice(run.device.source);
    this.#mirror = null;
    const release = run.end(reason);
    this.#releases.add(release);
    const released = (): void => {
      this.#releases.delete(release);
      this.#context.onTargetClosed();
    };
    release.then(released, released);
    await this.#released();
  }

  /** Waits until targets of mirrors that have ended are closed. */
  async #released(): Promise<void> {
    if (this.#releases.size === 0) return;
    const what = `The end of what is under way to the former target of volume ${this.unit.volumeId}`;
    await withDeadline(this.#context.clock, releaseDeadline, what, () => Promise.all(this.#releases));
  }

  /** Does `work` at a moment when no write is under way; those that come meanwhile wait. */
  async #whileStill(work: () => void): Promise<void> {
    const { gate, volumeId } = this.unit;
    const key = {};
    gate.hold(key);
    try {
      await withDeadline(this.#context.clock, stillDeadline, `The end of writes under way to volume ${volumeId}`, () =>
        gate.settled(),
      );
      work();
    } finally {
      gate.release(key);
    }
  }

  /** Flushes and closes the device. */
  async close(): Promise<void> {
    for (const token of this.#holds.keys()) this.release(token);
    try {
      if (!this.unit.device.readOnly) await this.unit.device.flush();
    } finally {
      const stopped = new ScoriaError('transport-failed', `Volume ${this.unit.volumeId} is not served any more`);
      // A target that hangs must not keep the volume open.
      if (this.#mirror !== null) await this.dropMirror(this.#mirror.run, stopped).catch(() => {});
      await this.unit.device.close();
    }
  }
}

const isSame = (one: DeviceLocator, other: DeviceLocator): boolean =>
  one.kind === other.kind && one.path === other.path && one.blockSize === other.blockSize;

/** Opens a locator with the opener of its kind. */
export async function openDevice(openers: DeviceOpeners, locator: DeviceLocator, readOnly: boolean): Promise<BlockDevice> {
  const open = openers[locator.kind];
  if (open === undefined) {
    throw new ScoriaError('not-supported', `The iSCSI target has no opener for devices of kind "${locator.kind}"`, {
      remedy: 'Set inProcess of the iSCSI transport if the driver brings an opener, or choose another transport.',
    });
  }
  return open(locator, { readOnly });
}
