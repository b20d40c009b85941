import assert from 'node:assert/strict';
import type {
  BlockDevice,
  ConnectedDevice,
  ConnectionInfo,
  ExportRequest,
  Initiator,
  OpenOptions,
  PluginCall,
} from '@scoria/core';
import { plainCall, TransportBench } from '../transport/transport-bench.ts';
import type { InitiatorUnderTest } from './initiator-under-test.ts';

/** A volume that the initiator can connect to. */
export interface PublishedVolume {
  readonly request: ExportRequest;
  readonly info: ConnectionInfo;
}

/** The initiator of one check with what the check has published and connected. */
export class InitiatorBench {
  readonly publisher: TransportBench;
  readonly #given: InitiatorUnderTest;
  readonly #published: PublishedVolume[] = [];
  readonly #devices = new Set<ConnectedDevice>();
  #initiator: Initiator;

  constructor(given: InitiatorUnderTest, soon: number | undefined) {
    this.#given = given;
    this.#initiator = given.initiator;
    this.publisher = new TransportBench(given.publisher, { soon });
  }

  get initiator(): Initiator {
    return this.#initiator;
  }

  /** Puts a new initiator of the same host in the place of the present one, which is left alone as if it had died. */
  async restart(): Promise<void> {
    assert(this.#given.restart, 'the initiator declares "host-sessions" without a restart');
    this.#initiator = await this.#given.restart();
    this.#devices.clear();
  }

  /** Publishes a new volume to this host; `more` changes the request. */
  async publish(more: Partial<ExportRequest> = {}): Promise<PublishedVolume> {
    const { initiator } = await this.#initiator.connector(plainCall);
    const request = await this.publisher.export({ ...(initiator !== undefined && { initiator }), ...more });
    const volume = { request, info: this.publisher.transport.connectionInfo(request) };
    this.#published.push(volume);
    return volume;
  }

  /** What the client would be told if the request were a little different. */
  infoWith({ request }: PublishedVolume, change: Partial<ExportRequest>): ConnectionInfo {
    return this.publisher.transport.connectionInfo({ ...request, ...change });
  }

  async connect(
    info: ConnectionInfo,
    options: OpenOptions = { readOnly: false },
    call: PluginCall = plainCall,
  ): Promise<ConnectedDevice> {
    const device = await this.#initiator.connect(info, options, call);
    this.#devices.add(device);
    return device;
  }

  /** Opens the published volume beside the transport. */
  beside({ request }: PublishedVolume): Promise<BlockDevice> {
    return this.publisher.open(request.device, true);
  }

  /** Waits until the transport tells of no session with a volume. */
  async untilNoSession({ request }: PublishedVolume): Promise<void> {
    const sessions = async () => (await this.publisher.list()).find(({ accessId }) => accessId === request.accessId)?.sessions;
    await this.publisher.until('no session is left', async () => ((await sessions()) ?? []).length === 0);
  }

  async end(): Promise<void> {
    try {
      // What the test has broken may not close or disconnect cleanly.
      for (const device of this.#devices) await device.close().catch(() => {});
      for (const { info } of this.#published) await this.#initiator.disconnect(info, plainCall).catch(() => {});
    } finally {
      await this.#given.cleanup();
      await this.publisher.end();
    }
  }
}
