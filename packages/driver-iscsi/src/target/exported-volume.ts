import { ScoriaError, type BlockDevice, type Clock, type DeviceLocator, type DeviceOpeners } from '@scoria/core/device';
import { blockDeviceCommands } from '../scsi/command-set.ts';
import { LogicalUnit } from '../scsi/logical-unit.ts';
import { copyLive } from '../volume/live-copy.ts';
import type { VerbCall } from './target-service.ts';

/** What opening and holding need. */
export interface VolumeContext {
  readonly openers: DeviceOpeners;
  readonly clock: Clock;
}

/** A volume of which at least one access is published: its open device and its logical unit. */
export class ExportedVolume {
  readonly unit: LogicalUnit;
  readonly #locator: DeviceLocator;
  readonly #context: VolumeContext;
  readonly #holds = new Map<string, Disposable>();
  /** Devices that were replaced, and that a copy may still read. */
  readonly #retired: BlockDevice[] = [];
  #copies = 0;

  private constructor(unit: LogicalUnit, locator: DeviceLocator, context: VolumeContext) {
    this.unit = unit;
    this.#locator = locator;
    this.#context = context;
  }

  /** Opens the volume's device. */
  static async open(volumeId: string, device: DeviceLocator, readOnly: boolean, context: VolumeContext): Promise<ExportedVolume> {
    const opened = await openDevice(context.openers, device, readOnly);
    return new ExportedVolume(new LogicalUnit(volumeId, opened, blockDeviceCommands), device, context);
  }

  /** Whether a copy or a hold still needs the device. */
  get busy(): boolean {
    return this.#copies > 0 || this.#holds.size > 0;
  }

  /** Whether this is the volume that `locator` leads to. */
  opens(locator: DeviceLocator): boolean {
    const own = this.#locator;
    return own.kind === locator.kind && own.path === locator.path && own.blockSize === locator.blockSize;
  }

  /** Makes ready for another access. A device open for reading only is opened anew for one that writes. */
  async admit(locator: DeviceLocator, readOnly: boolean): Promise<void> {
    if (!this.opens(locator)) {
      throw new ScoriaError('conflict', `Volume ${this.unit.volumeId} is exported from another device, ${this.#locator.path}`);
    }
    if (readOnly || !this.unit.device.readOnly) return;
    const writable = await openDevice(this.#context.openers, locator, false);
    this.#retired.push(this.unit.replaceDevice(writable));
    if (this.#copies === 0) await this.#closeRetired();
  }

  /** Learns the size anew and tells the initiators. */
  async resize(): Promise<void> {
    const before = this.unit.device.size;
    if ((await this.unit.device.refreshSize()) !== before) this.unit.announceResize();
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
    this.#copies++;
    try {
      await copyLive({ source: this.unit.device, gate: this.unit.gate, target, signal, progress });
    } finally {
      this.#copies--;
      if (this.#copies === 0) await this.#closeRetired();
    }
  }

  async #closeRetired(): Promise<void> {
    await Promise.all(this.#retired.splice(0).map((device) => device.close()));
  }

  /** Flushes and closes the device. */
  async close(): Promise<void> {
    for (const token of this.#holds.keys()) this.release(token);
    try {
      if (!this.unit.device.readOnly) await this.unit.device.flush();
    } finally {
      await this.unit.device.close();
    }
  }
}

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
