import {
  copyDevice,
  openPathDevice,
  ScoriaError,
  systemRandom,
  type BlockDevice,
  type DeviceLocator,
  type MirrorSupport,
  type PluginCall,
} from '@scoria/core';
import { LoopbackTransport, type Unit } from './loopback-transport.ts';

interface Mirror {
  readonly unit: Unit;
  /** Keeps the unit open. */
  readonly user: string;
  readonly source: BlockDevice;
  readonly target: BlockDevice;
}

/** The loopback transport with mirrors. Writes are held during the whole copy: slow, and simple. */
export class MirroringTransport extends LoopbackTransport implements MirrorSupport {
  protected readonly mirrors = new Map<string, Promise<Mirror>>();

  async mirror(volumeId: string, source: DeviceLocator, locator: DeviceLocator, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    let begun = this.mirrors.get(volumeId);
    if (!begun) {
      begun = this.begin(volumeId, source, locator, call);
      this.mirrors.set(volumeId, begun);
    }
    try {
      await begun;
    } catch (error) {
      this.mirrors.delete(volumeId);
      throw error;
    }
  }

  async commitMirror(volumeId: string, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    if (!(await this.mirrors.get(volumeId))) throw new ScoriaError('transport-failed', `Volume ${volumeId} has no mirror`);
  }

  async endMirror(volumeId: string, keep: 'source' | 'target', call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    const mirror = await this.mirrors.get(volumeId);
    if (!mirror) return;
    this.mirrors.delete(volumeId);
    const { unit, user, source, target } = mirror;
    await unit.writing;
    unit.device = keep === 'source' ? source : target;
    await (keep === 'source' ? target : source).close();
    await this.letGo(volumeId, user);
  }

  override async stop(): Promise<void> {
    for (const volumeId of this.mirrors.keys()) {
      await this.endMirror(volumeId, 'source', { signal: new AbortController().signal, fence: 1, progress: () => {} });
    }
    await super.stop();
  }

  protected async begin(volumeId: string, source: DeviceLocator, locator: DeviceLocator, call: PluginCall): Promise<Mirror> {
    const target = await openPathDevice(locator, { readOnly: false });
    const user = systemRandom.uuid();
    try {
      const unit = await this.use(volumeId, source, user);
      const token = await this.hold(volumeId, 60_000, call);
      try {
        await this.fill(unit.device, target, call);
        const mirror = { unit, user, source: unit.device, target };
        unit.device = this.both(mirror.source, target);
        return mirror;
      } catch (error) {
        await this.letGo(volumeId, user);
        throw error;
      } finally {
        if (token !== null) await this.release(token, { ...call, signal: new AbortController().signal });
      }
    } catch (error) {
      await target.close();
      throw error;
    }
  }

  protected fill(source: BlockDevice, target: BlockDevice, call: PluginCall): Promise<void> {
    return copyDevice(source, target, call);
  }

  /** A device that writes to two and reads from the first. */
  protected both(source: BlockDevice, target: BlockDevice): BlockDevice {
    const each = async (work: (device: BlockDevice) => Promise<void>) => void (await Promise.all([source, target].map(work)));
    return {
      size: source.size,
      blockSize: source.blockSize,
      readOnly: false,
      read: (into, offset) => source.read(into, offset),
      write: (data, offset, options) => each((device) => device.write(data, offset, options)),
      writeZeroes: (offset, length, options) => each((device) => device.writeZeroes(offset, length, options)),
      discard: (offset, length) => each((device) => device.discard(offset, length)),
      flush: () => each((device) => device.flush()),
      allocatedExtents: (offset, length) => source.allocatedExtents(offset, length),
      refreshSize: () => source.refreshSize(),
      close: () => each((device) => device.close()),
    };
  }
}
