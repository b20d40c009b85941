import type { Connection } from '@scoria/conformance';
import {
  rangeError,
  ScoriaError,
  type ConnectedDevice,
  type ConnectionInfo,
  type Connector,
  type ExportRequest,
  type Extent,
  type Initiator,
  type OpenOptions,
  type PluginCall,
  type WriteOptions,
} from '@scoria/core';
import { LoopbackTransport } from './loopback-transport.ts';

/** A transport whose connection info names the volume beside the way to it, as those of real ones do. */
export class PublishingTransport extends LoopbackTransport {
  #running = false;

  override async start(call: PluginCall): Promise<void> {
    await super.start(call);
    this.#running = true;
  }

  override async stop(): Promise<void> {
    this.#running = false;
    await super.stop();
  }

  override connectionInfo(request: ExportRequest): ConnectionInfo {
    const { driverVolumeType, data } = super.connectionInfo(request);
    return { driverVolumeType, data: { ...data, volume_id: request.volumeId, readOnly: request.readOnly } };
  }

  override async connect({ driverVolumeType, data }: ConnectionInfo): Promise<Connection> {
    if (!this.#running) throw new ScoriaError('transport-failed', 'The transport does not run');
    const found = this.exports.get(String(data['accessId']));
    if (!found) throw new ScoriaError('transport-failed', 'There is no such access');
    return super.connect({ driverVolumeType, data: { ...data, volumeId: found.request.volumeId } });
  }
}

/** A volume of a {@link PublishingTransport} as a device. */
export class LoopbackDevice implements ConnectedDevice {
  readonly blockSize = 512;
  readonly path = null;
  readonly serial: string;
  readonly readOnly: boolean;
  protected readonly connection: Connection;
  protected gone: ScoriaError | null = null;
  readonly #underWay = new Set<Promise<void>>();
  #size: number;

  constructor(connection: Connection, { readOnly }: OpenOptions) {
    this.connection = connection;
    this.serial = connection.serial ?? '';
    this.readOnly = readOnly;
    this.#size = connection.size;
  }

  get size(): number {
    return this.#size;
  }

  read(into: Uint8Array, offset: number): Promise<void> {
    return this.#run(offset, into.byteLength, false, () => this.connection.read(into, offset));
  }

  write(data: Uint8Array, offset: number, options?: WriteOptions): Promise<void> {
    return this.#run(offset, data.byteLength, true, async () => {
      await this.connection.write(data, offset);
      if (options?.fua) await this.connection.flush();
    });
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    return this.write(new Uint8Array(length), offset, options);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.writeZeroes(offset, length);
  }

  flush(): Promise<void> {
    return this.#run(0, 0, false, () => this.connection.flush());
  }

  async *allocatedExtents(offset: number, length: number): AsyncIterable<Extent> {
    yield { offset, length };
  }

  async refreshSize(): Promise<number> {
    this.#size = await this.connection.refreshSize();
    return this.#size;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await this.drop();
  }

  /** Ends the session at once. */
  async drop(): Promise<void> {
    this.gone ??= new ScoriaError('device-gone', 'The device is closed');
    await this.connection.close();
  }

  async #run(offset: number, length: number, writing: boolean, work: () => Promise<void>): Promise<void> {
    if (this.gone) throw this.gone;
    if (writing && this.readOnly) throw new ScoriaError('device-not-permitted', 'The device is open for reading');
    const fault = rangeError('the device', this, offset, length);
    if (fault) throw fault;
    const running = work();
    this.#underWay.add(running);
    try {
      await running;
    } finally {
      this.#underWay.delete(running);
    }
  }
}

/** What a host is connected to, whichever process did it. */
export type HostSessions = Map<string, Set<LoopbackDevice>>;

/** The simplest initiator that keeps all promises. For the suite's own test. */
export class LoopbackInitiator implements Initiator {
  readonly reaches: readonly string[] = ['loopback'];
  protected readonly transport: PublishingTransport;
  protected readonly sessions: HostSessions;

  constructor(transport: PublishingTransport, sessions: HostSessions = new Map()) {
    this.transport = transport;
    this.sessions = sessions;
  }

  async connector({ signal }: PluginCall): Promise<Connector> {
    signal.throwIfAborted();
    return { host: 'here' };
  }

  async connect(info: ConnectionInfo, options: OpenOptions, { signal }: PluginCall): Promise<ConnectedDevice> {
    signal.throwIfAborted();
    const connection = await this.login(info);
    if (signal.aborted || (connection.serial !== info.data['volume_id'] && this.verifies)) {
      await connection.close();
      signal.throwIfAborted();
      throw new ScoriaError('device-gone', 'The target has another volume');
    }
    return this.keep(info, this.open(connection, { readOnly: options.readOnly || info.data['readOnly'] === true }));
  }

  async disconnect(info: ConnectionInfo, { signal }: PluginCall): Promise<void> {
    signal.throwIfAborted();
    const key = this.keyOf(info);
    const devices = this.sessions.get(key) ?? [];
    this.sessions.delete(key);
    for (const device of devices) await device.drop();
  }

  /** Whether the serial number is looked at. */
  protected get verifies(): boolean {
    return true;
  }

  protected keyOf({ data }: ConnectionInfo): string {
    return String(data['accessId']);
  }

  protected open(connection: Connection, options: OpenOptions): LoopbackDevice {
    return new LoopbackDevice(connection, options);
  }

  protected keep(info: ConnectionInfo, device: LoopbackDevice): LoopbackDevice {
    const key = this.keyOf(info);
    this.sessions.set(key, (this.sessions.get(key) ?? new Set()).add(device));
    return device;
  }

  protected async login(info: ConnectionInfo): Promise<Connection> {
    try {
      return await this.transport.connect(info);
    } catch (error) {
      if (ScoriaError.from(error).code !== 'not-authenticated') throw error;
      throw new ScoriaError('not-permitted', 'The login was refused');
    }
  }
}
