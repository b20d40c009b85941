import {
  copyDevice,
  openPathDevice,
  ScoriaError,
  silentLog,
  systemClock,
  systemRandom,
  type BlockDevice,
  type ConnectionInfo,
  type DeviceLocator,
  type ExportRequest,
  type ExportStats,
  type ExportStatus,
  type Log,
  type PluginCall,
  type PointInTimeSupport,
  type Transport,
} from '@scoria/core';
import type { Connection } from '@scoria/conformance';

/** A volume that is open, with what uses it. */
export interface Unit {
  device: BlockDevice;
  /** Accesses and copies that use it. */
  readonly users: Set<string>;
  readonly stats: { readBytes: number; writtenBytes: number; reads: number; writes: number };
  hold: { readonly token: string; readonly ended: Promise<void>; end(): void } | undefined;
  writing: Promise<unknown>;
}

/** The simplest transport that keeps all promises: clients are in the same process. For the suite's own test. */
export class LoopbackTransport implements Transport, PointInTimeSupport {
  readonly reaches = ['path'];
  protected readonly units = new Map<string, Unit>();
  protected readonly exports = new Map<string, { readonly request: ExportRequest; readonly sessions: Set<object> }>();
  /** Accesses of which a part is missing. */
  protected readonly halfMade = new Set<string>();
  protected readonly log: Log;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(log: Log = silentLog) {
    this.log = log;
  }

  async start(_call: PluginCall): Promise<void> {}

  async stop(): Promise<void> {
    for (const accessId of this.exports.keys()) await this.end(accessId);
  }

  async export(request: ExportRequest, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    this.halfMade.delete(request.accessId);
    const known = this.exports.get(request.accessId)?.request;
    if (known?.secret === request.secret) return;
    if (known) await this.end(known.accessId);
    await this.use(request.volumeId, request.device, request.accessId);
    if (!this.exports.has(request.accessId)) this.exports.set(request.accessId, { request, sessions: new Set() });
  }

  async unexport(accessId: string, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    await this.end(accessId);
  }

  async list(call: PluginCall): Promise<readonly ExportStatus[]> {
    call.signal.throwIfAborted();
    return Array.from(this.exports.values(), ({ request: { accessId, volumeId, readOnly }, sessions }) => {
      const complete = !this.halfMade.has(accessId);
      return { accessId, volumeId, readOnly, complete, sessions: Array.from(sessions, () => 'client') };
    });
  }

  async resize(volumeId: string, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    await this.units.get(volumeId)?.device.refreshSize();
  }

  async hold(volumeId: string, ms: number, call: PluginCall): Promise<string | null> {
    call.signal.throwIfAborted();
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

  async release(token: string, call: PluginCall): Promise<{ readonly held: boolean }> {
    call.signal.throwIfAborted();
    for (const unit of this.units.values()) {
      if (unit.hold?.token !== token) continue;
      unit.hold.end();
      unit.hold = undefined;
      return { held: true };
    }
    return { held: false };
  }

  async copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    const user = systemRandom.uuid();
    const to = await openPathDevice(target, { readOnly: false });
    try {
      const unit = await this.use(volumeId, source, user);
      const token = await this.hold(volumeId, 60_000, call);
      try {
        await copyDevice(unit.device, to, call);
      } finally {
        if (token !== null) await this.release(token, { ...call, signal: new AbortController().signal });
        await this.letGo(volumeId, user);
      }
    } finally {
      await to.close();
    }
  }

  connectionInfo({ accessId, volumeId, secret }: ExportRequest): ConnectionInfo {
    return { driverVolumeType: 'loopback', data: { accessId, volumeId, secret } };
  }

  async stats(call: PluginCall): Promise<readonly ExportStats[]> {
    call.signal.throwIfAborted();
    return Array.from(this.units, ([volumeId, unit]) => ({ volumeId, ...unit.stats }));
  }

  /** What a client of a real transport does over the network. */
  async connect(info: ConnectionInfo): Promise<Connection> {
    const { accessId, volumeId, secret } = info.data;
    const found = this.exports.get(String(accessId));
    const unit = this.units.get(String(volumeId));
    const isOpen = found && unit && !this.halfMade.has(String(accessId));
    if (!isOpen || found.request.secret !== secret) throw new ScoriaError('not-authenticated', 'The login was refused');
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

  /** Takes away what clients log in to. */
  async damage(_info: ConnectionInfo, { accessId }: ExportRequest): Promise<void> {
    this.exports.get(accessId)?.sessions.clear();
    this.halfMade.add(accessId);
  }

  /** Opens a volume's unit for an access or a copy. One at a time, so that no volume is opened twice. */
  protected use(volumeId: string, locator: DeviceLocator, user: string): Promise<Unit> {
    return this.next(async () => {
      const found = this.units.get(volumeId);
      if (found) {
        found.users.add(user);
        return found;
      }
      const device = await openPathDevice(locator, { readOnly: false });
      const stats = { readBytes: 0, writtenBytes: 0, reads: 0, writes: 0 };
      const unit: Unit = { device, users: new Set([user]), stats, hold: undefined, writing: Promise.resolve() };
      this.units.set(volumeId, unit);
      return unit;
    });
  }

  protected letGo(volumeId: string, user: string): Promise<void> {
    return this.next(async () => {
      const unit = this.units.get(volumeId);
      await unit?.writing;
      if (!unit?.users.delete(user) || unit.users.size > 0) return;
      this.units.delete(volumeId);
      await unit.device.close();
    });
  }

  protected next<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work, work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  protected async end(accessId: string): Promise<void> {
    const found = this.exports.get(accessId);
    if (!found) return;
    found.sessions.clear();
    this.exports.delete(accessId);
    await this.letGo(found.request.volumeId, accessId);
  }
}
