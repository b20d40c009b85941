import {
  copyDevice,
  openPathDevice,
  ScoriaError,
  systemClock,
  systemRandom,
  type BlockDevice,
  type ConnectionInfo,
  type DeviceLocator,
  type ExportRequest,
  type ExportStats,
  type ExportStatus,
  type PluginCall,
  type Transport,
} from '@scoria/core';
import type { Connection } from '@scoria/conformance';

interface Unit {
  readonly device: BlockDevice;
  readonly accesses: Set<string>;
  readonly stats: { readBytes: number; writtenBytes: number; reads: number; writes: number };
  hold: { readonly token: string; readonly ended: Promise<void>; end(): void } | undefined;
  writing: Promise<unknown>;
}

/** The simplest transport that keeps all promises: clients are in the same process. For the suite's own test. */
export class LoopbackTransport implements Transport {
  readonly reaches = ['path'];
  protected readonly units = new Map<string, Unit>();
  protected readonly exports = new Map<string, { readonly request: ExportRequest; readonly sessions: Set<object> }>();

  async start(_call: PluginCall): Promise<void> {}

  async stop(): Promise<void> {
    for (const accessId of this.exports.keys()) await this.end(accessId);
  }

  async export(request: ExportRequest, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    if (this.exports.has(request.accessId)) return;
    this.exports.set(request.accessId, { request, sessions: new Set() });
    try {
      (await this.unit(request.volumeId, request.device)).accesses.add(request.accessId);
    } catch (error) {
      this.exports.delete(request.accessId);
      throw error;
    }
  }

  async unexport(accessId: string, _call: PluginCall): Promise<void> {
    await this.end(accessId);
  }

  async list(): Promise<readonly ExportStatus[]> {
    return Array.from(this.exports.values(), ({ request: { accessId, volumeId, readOnly }, sessions }) => {
      return { accessId, volumeId, readOnly, sessions: Array.from(sessions, () => 'client') };
    });
  }

  async resize(volumeId: string): Promise<void> {
    await this.units.get(volumeId)?.device.refreshSize();
  }

  async hold(volumeId: string, ms: number): Promise<string | null> {
    const unit = this.units.get(volumeId);
    if (!unit) return null;
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const token = systemRandom.uuid();
    unit.hold = { token, ended, end };
    systemClock.timer(ms, () => {
      if (unit.hold?.token === token) unit.hold = undefined;
      end();
    });
    await unit.writing;
    await unit.device.flush();
    return token;
  }

  async release(token: string): Promise<{ readonly held: boolean }> {
    for (const unit of this.units.values()) {
      if (unit.hold?.token !== token) continue;
      unit.hold.end();
      unit.hold = undefined;
      return { held: true };
    }
    return { held: false };
  }

  async copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void> {
    const token = await this.hold(volumeId, 60_000);
    const [from, to] = [await openPathDevice(source, { readOnly: true }), await openPathDevice(target, { readOnly: false })];
    try {
      await copyDevice(from, to, call);
    } finally {
      if (token !== null) await this.release(token);
      await from.close();
      await to.close();
    }
  }

  connectionInfo({ accessId, volumeId, secret }: ExportRequest): ConnectionInfo {
    return { driverVolumeType: 'loopback', data: { accessId, volumeId, secret } };
  }

  async stats(): Promise<readonly ExportStats[]> {
    return Array.from(this.units, ([volumeId, unit]) => ({ volumeId, ...unit.stats }));
  }

  /** What a client of a real transport does over the network. */
  async connect(info: ConnectionInfo): Promise<Connection> {
    const { accessId, volumeId, secret } = info.data;
    const found = this.exports.get(String(accessId));
    const unit = this.units.get(String(volumeId));
    if (!found || !unit || found.request.secret !== secret) throw new ScoriaError('not-authenticated', 'The login was refused');
    const { sessions, request } = found;
    const session = {};
    sessions.add(session);
    const check = () => {
      if (!sessions.has(session)) throw new ScoriaError('device-gone', 'The session has ended');
    };
    return {
      size: unit.device.size,
      serial: request.volumeId,
      read: async (into, offset) => {
        check();
        unit.stats.reads++;
        unit.stats.readBytes += into.byteLength;
        await unit.device.read(into, offset);
      },
      write: async (data, offset) => {
        while (unit.hold) await unit.hold.ended;
        check();
        if (request.readOnly) throw new ScoriaError('device-not-permitted', 'The access is read-only');
        unit.stats.writes++;
        unit.stats.writtenBytes += data.byteLength;
        const write = unit.device.write(data, offset);
        unit.writing = Promise.allSettled([unit.writing, write]);
        await write;
      },
      flush: () => unit.device.flush(),
      refreshSize: async () => unit.device.size,
      close: async () => void sessions.delete(session),
    };
  }

  protected async unit(volumeId: string, locator: DeviceLocator): Promise<Unit> {
    const found = this.units.get(volumeId);
    if (found) return found;
    const device = await openPathDevice(locator, { readOnly: false });
    const stats = { readBytes: 0, writtenBytes: 0, reads: 0, writes: 0 };
    const unit: Unit = { device, accesses: new Set(), stats, hold: undefined, writing: Promise.resolve() };
    this.units.set(volumeId, unit);
    return unit;
  }

  protected async end(accessId: string): Promise<void> {
    const found = this.exports.get(accessId);
    if (!found) return;
    found.sessions.clear();
    this.exports.delete(accessId);
    const { volumeId } = found.request;
    const unit = this.units.get(volumeId);
    await unit?.writing;
    unit?.accesses.delete(accessId);
    if (unit && unit.accesses.size === 0) {
      this.units.delete(volumeId);
      await unit.device.close();
    }
  }
}
