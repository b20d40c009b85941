import {
  type ConnectionInfo,
  type DeviceLocator,
  type DeviceOpener,
  type ExportRequest,
  type ExportStatus,
  type IoLimits,
  type LimitSupport,
  type MirrorSupport,
  type PluginCall,
  type PointInTimeSupport,
  ScoriaError,
  type Transport,
} from '@scoria/core';
import type { VirtualTime } from './virtual-time.ts';

/** A write on its way from an initiator to the device. */
interface WriteUnderWay {
  readonly accessId: string;
  readonly volumeId: string;
  readonly settled: Promise<void>;
}

/** What the target tells of each write that reached a device. */
export type WriteListener = (write: {
  readonly accessId: string;
  readonly volumeId: string;
  readonly offset: number;
  readonly data: Uint8Array;
}) => void;

/** Time that a write takes from the target to the device, ms. */
const writeLatency = 3;

/**
 * A target machine: publishes accesses, lets initiators log in and write, holds writes back, copies volumes in use. It
 * runs on by itself when the processes that command it die, as a real target does.
 */
export class ModelledTarget implements Transport, PointInTimeSupport, MirrorSupport, LimitSupport {
  readonly reaches = ['memory', 'path'];
  readonly exports = new Map<string, ExportRequest>();
  /** Accesses that were ended once. */
  readonly ended = new Set<string>();
  /** Told of each write when it has reached its device. */
  onWrite: WriteListener = () => {};
  readonly #time: VirtualTime;
  readonly #open: DeviceOpener;
  readonly #ending = new Set<string>();
  /** By volume. */
  readonly #mirrors = new Map<string, { readonly source: DeviceLocator; readonly target: DeviceLocator; committed: boolean }>();
  readonly #sessions = new Set<InitiatorSession>();
  readonly #underWay = new Set<WriteUnderWay>();
  /** Volume by hold. */
  readonly #holds = new Map<string, string>();
  #waiting: (() => void)[] = [];
  #counter = 0;

  constructor(time: VirtualTime, open: DeviceOpener) {
    this.#time = time;
    this.#open = open;
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  async export(request: ExportRequest, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    const known = this.exports.get(request.accessId);
    if (this.#ending.has(request.accessId)) throw new ScoriaError('transport-failed', `Access ${request.accessId} is ending.`);
    if (known && known.volumeId !== request.volumeId) throw new Error(`Access ${request.accessId} changed its volume`);
    // A mirror, and who ends it, say which device is the volume's.
    const mirrored = this.#mirrors.has(request.volumeId) && known;
    this.exports.set(request.accessId, mirrored ? { ...request, device: known.device } : request);
  }

  async unexport(accessId: string, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    this.#ending.add(accessId);
    for (const session of this.#sessions) if (session.accessId === accessId) this.#sessions.delete(session);
    this.#wake();
    await Promise.all([...this.#underWay].filter((write) => write.accessId === accessId).map(({ settled }) => settled));
    this.exports.delete(accessId);
    this.ended.add(accessId);
    this.#ending.delete(accessId);
  }

  async list(): Promise<readonly ExportStatus[]> {
    return Array.from(this.exports.values(), ({ accessId, volumeId, readOnly }) => ({
      accessId,
      volumeId,
      readOnly,
      complete: !this.#ending.has(accessId),
      sessions: [...this.#sessions].filter((each) => each.accessId === accessId).map(({ initiator }) => initiator),
    }));
  }

  async resize(): Promise<void> {}

  async limit(volumeId: string, limits: IoLimits | null, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    for (const [accessId, { limits: _before, ...request }] of this.exports) {
      if (request.volumeId === volumeId) this.exports.set(accessId, { ...request, ...(limits && { limits }) });
    }
  }

  async hold(volumeId: string, ms: number, call: PluginCall): Promise<string | null> {
    call.signal.throwIfAborted();
    if (![...this.exports.values()].some((request) => request.volumeId === volumeId)) return null;
    const token = await this.#hold(volumeId);
    this.#time.schedule(ms, () => this.#letGo(token));
    return token;
  }

  async release(token: string): Promise<{ readonly held: boolean }> {
    return { held: this.#letGo(token) };
  }

  async copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    const token = await this.#hold(volumeId);
    try {
      const [from, to] = [await this.#open(source, { readOnly: true }), await this.#open(target, { readOnly: false })];
      const image = new Uint8Array(from.size);
      await from.read(image, 0);
      // The image is the moment: writes go on while it is put down.
      this.#letGo(token);
      call.signal.throwIfAborted();
      await to.write(image, 0);
      await to.flush();
      await Promise.all([from.close(), to.close()]);
      call.progress(image.length, image.length);
    } finally {
      this.#letGo(token);
    }
  }

  async mirror(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    if (this.#mirrors.get(volumeId)?.target.path === target.path) return;
    const token = await this.#hold(volumeId);
    try {
      const [from, to] = [await this.#open(source, { readOnly: true }), await this.#open(target, { readOnly: false })];
      const image = new Uint8Array(from.size);
      await from.read(image, 0);
      await to.write(image, 0);
      await to.flush();
      await Promise.all([from.close(), to.close()]);
      call.signal.throwIfAborted();
      call.progress(image.length, image.length);
      this.#mirrors.set(volumeId, { source, target, committed: false });
    } finally {
      this.#letGo(token);
    }
  }

  async commitMirror(volumeId: string): Promise<void> {
    const mirror = this.#mirrors.get(volumeId);
    if (!mirror) throw new ScoriaError('transport-failed', `Volume ${volumeId} has no mirror.`);
    mirror.committed = true;
  }

  async endMirror(volumeId: string, keep: 'source' | 'target'): Promise<void> {
    const mirror = this.#mirrors.get(volumeId);
    if (!mirror) return;
    const token = await this.#hold(volumeId);
    this.#mirrors.delete(volumeId);
    for (const [id, request] of this.exports) {
      if (request.volumeId === volumeId) this.exports.set(id, { ...request, device: mirror[keep] });
    }
    this.#letGo(token);
  }

  connectionInfo({ accessId, secret, initiator }: ExportRequest): ConnectionInfo {
    return { driverVolumeType: 'modelled', data: { accessId, secret, initiator } };
  }

  async stats() {
    return [];
  }

  /** Logs an initiator in. Fails with `device-gone` when the access is not published, `not-permitted` when the secret is wrong. */
  login(accessId: string, secret: string, initiator: string): InitiatorSession {
    const request = this.exports.get(accessId);
    if (!request || this.#ending.has(accessId))
      throw new ScoriaError('device-gone', `There is no target for access ${accessId}.`);
    if (request.secret !== secret || request.initiator !== initiator) {
      throw new ScoriaError('not-permitted', `${initiator} may not log in to access ${accessId}.`);
    }
    const session = new InitiatorSession(this, accessId, initiator);
    this.#sessions.add(session);
    return session;
  }

  /** Takes a write of a session to the device. `device-gone` when the access has ended. */
  async write(session: InitiatorSession, data: Uint8Array, offset: number): Promise<void> {
    for (;;) {
      const request = this.exports.get(session.accessId);
      if (!request || !this.#sessions.has(session)) throw new ScoriaError('device-gone', `Access ${session.accessId} has ended.`);
      if (request.readOnly) throw new ScoriaError('device-not-permitted', `Access ${session.accessId} is read-only.`);
      const { accessId, volumeId, device } = request;
      if ([...this.#holds.values()].includes(volumeId)) {
        await new Promise<void>((resolve) => void this.#waiting.push(resolve));
        continue;
      }
      const { promise: settled, resolve } = Promise.withResolvers<void>();
      const write: WriteUnderWay = { accessId, volumeId, settled };
      this.#underWay.add(write);
      try {
        await this.#time.sleep(writeLatency);
        const mirror = this.#mirrors.get(volumeId);
        for (const locator of mirror ? [mirror.source, mirror.target] : [device]) {
          const opened = await this.#open(locator, { readOnly: false });
          await opened.write(data, offset);
          await opened.close();
        }
        this.onWrite({ accessId, volumeId, offset, data });
      } finally {
        this.#underWay.delete(write);
        resolve();
      }
      return;
    }
  }

  async #hold(volumeId: string): Promise<string> {
    const token = `hold-${(this.#counter += 1)}`;
    this.#holds.set(token, volumeId);
    await Promise.all([...this.#underWay].filter((write) => write.volumeId === volumeId).map(({ settled }) => settled));
    return token;
  }

  /** Whether it was held until now. */
  #letGo(token: string): boolean {
    const held = this.#holds.delete(token);
    this.#wake();
    return held;
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** A host logged in to an access. */
export class InitiatorSession {
  readonly accessId: string;
  readonly initiator: string;
  readonly #target: ModelledTarget;

  constructor(target: ModelledTarget, accessId: string, initiator: string) {
    this.#target = target;
    this.accessId = accessId;
    this.initiator = initiator;
  }

  /** Settles when the data are on the device. */
  write(data: Uint8Array, offset: number): Promise<void> {
    return this.#target.write(this, data, offset);
  }
}
