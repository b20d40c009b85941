import assert from 'node:assert/strict';
import {
  systemClock,
  systemRandom,
  type BlockDevice,
  type DeviceLocator,
  type ExportRequest,
  type ExportStatus,
  type PluginCall,
  type Transport,
} from '@scoria/core';
import type { Connect, Connection, TestVolumes, TransportUnderTest } from './transport-under-test.ts';

/** Size of the volumes of the suite, bytes. */
export const exportedSize = 8 * 1024 * 1024;

/** A call without anything special. */
export const plainCall: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

/** Longest that the suite waits for something to become true, milliseconds. */
const patience = 10_000;

/** The transport of one test with what the test has opened. */
export class TransportBench {
  readonly #given: TransportUnderTest;
  readonly #connect: Connect | undefined;
  readonly #open = new Set<{ close(): Promise<void> }>();

  constructor(given: TransportUnderTest, connect: Connect | undefined) {
    this.#given = given;
    this.#connect = connect;
  }

  get transport(): Transport {
    return this.#given.transport;
  }

  get volumes(): TestVolumes {
    return this.#given.volumes;
  }

  /** A request for an access that does not exist yet, to a new volume unless one is given. */
  async request(more: Partial<ExportRequest> = {}): Promise<ExportRequest> {
    return {
      accessId: systemRandom.uuid(),
      volumeId: systemRandom.uuid(),
      device: more.device ?? (await this.volumes.create(exportedSize)),
      readOnly: false,
      secret: Buffer.from(systemRandom.bytes(8)).toString('hex'),
      ...more,
    };
  }

  /** Publishes an access. */
  async export(more: Partial<ExportRequest> = {}): Promise<ExportRequest> {
    const request = await this.request(more);
    await this.transport.export(request, plainCall);
    return request;
  }

  /** Another access to the volume of one. */
  async exportAgain(first: ExportRequest, more: Partial<ExportRequest> = {}): Promise<ExportRequest> {
    return this.export({ volumeId: first.volumeId, device: first.device, ...more });
  }

  async list(): Promise<readonly ExportStatus[]> {
    return this.transport.list(plainCall);
  }

  /** Logs in with what a client would be told. */
  async connect(request: ExportRequest): Promise<Connection> {
    assert(this.#connect, 'the suite was given no client');
    const connection = await this.#connect(this.transport.connectionInfo(request), request);
    this.#open.add(connection);
    return connection;
  }

  /** Opens a volume beside the transport. */
  async open(locator: DeviceLocator, readOnly = false): Promise<BlockDevice> {
    const device = await this.volumes.open(locator, { readOnly });
    this.#open.add(device);
    return device;
  }

  async close(...things: { close(): Promise<void> }[]): Promise<void> {
    for (const thing of things) {
      this.#open.delete(thing);
      await thing.close();
    }
  }

  /** Waits until something is true. */
  async until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const start = systemClock.monotonic();
    while (!(await condition())) {
      assert(systemClock.monotonic() - start < patience, `${what}: not within ${patience} ms`);
      await systemClock.sleep(10);
    }
  }

  async end(): Promise<void> {
    try {
      // A session that the test has broken may not close cleanly.
      for (const thing of this.#open) await thing.close().catch(() => {});
      await this.transport.stop();
    } finally {
      await this.volumes.remove();
      await this.#given.cleanup();
    }
  }
}
