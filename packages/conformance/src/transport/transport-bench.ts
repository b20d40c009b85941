import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import {
  systemClock,
  systemRandom,
  withDeadline,
  type BlockDevice,
  type DeviceLocator,
  type ExportRequest,
  type ExportStatus,
  type PluginCall,
  type PointInTimeSupport,
  type AnyTransport,
  type Transport,
} from '@scoria/core';
import { guardedTransport } from '../guarded.ts';
import type { Connect, Connection, Damage, TestVolumes, TransportUnderTest } from './transport-under-test.ts';

/** Size of the volumes of the suite, bytes. */
export const exportedSize = 8 * 1024 * 1024;

/** A call without anything special. */
export const plainCall: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

/** What a {@link TransportBench} may need besides a transport. */
export interface BenchOptions {
  readonly connect?: Connect | undefined;
  readonly damage?: Damage | undefined;
  /** Milliseconds. Default: 5,000. */
  readonly soon?: number | undefined;
}

/** The transport of one check with what the check has opened. */
export class TransportBench {
  /** How long a verb may go on after its abort, milliseconds. */
  readonly soon: number;
  readonly #given: TransportUnderTest;
  readonly #connect: Connect | undefined;
  readonly #damage: Damage | undefined;
  readonly #open = new Set<{ close(): Promise<void> }>();
  #transport: AnyTransport;

  constructor(given: TransportUnderTest, { connect, damage, soon = 5_000 }: BenchOptions = {}) {
    this.#given = given;
    this.#transport = given.transport;
    this.#connect = connect;
    this.#damage = damage;
    this.soon = soon;
  }

  get transport(): AnyTransport {
    return this.#transport;
  }

  /** The verbs of the group `point-in-time`, whose checks need it. */
  get pointInTime(): PointInTimeSupport {
    const { hold, release, copy } = this.#transport;
    assert(hold && release && copy, 'the transport declares "point-in-time" without its verbs');
    const transport = this.#transport;
    return { hold: hold.bind(transport), release: release.bind(transport), copy: copy.bind(transport) };
  }

  get volumes(): TestVolumes {
    return this.#given.volumes;
  }

  /** Stops the transport and starts a new one of the same configuration. */
  async restart(): Promise<void> {
    await this.#transport.stop();
    if (this.#given.restart) this.#transport = await this.#given.restart();
    await this.#transport.start(plainCall);
  }

  /** The transport behind core's guard, as core calls it. */
  guarded(): Transport {
    return guardedTransport(this.transport);
  }

  /** What the transport has logged. */
  get logged(): readonly string[] {
    return this.#given.log?.lines ?? [];
  }

  /** A request for an access that does not exist yet, to a new volume unless one is given. */
  async request(more: Partial<ExportRequest> = {}): Promise<ExportRequest> {
    return {
      accessId: systemRandom.uuid(),
      volumeId: systemRandom.uuid(),
      device: more.device ?? (await this.volumes.create(exportedSize)),
      readOnly: false,
      secret: `s${Buffer.from(systemRandom.bytes(12)).toString('base64url')}`,
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

  /** Leaves half of an export, as a process that dies does. */
  async damage(request: ExportRequest): Promise<void> {
    assert(this.#damage, 'the suite was given nothing to damage an export');
    await this.#damage(this.transport.connectionInfo(request), request);
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

  /**
   * Starts a verb, aborts it after some turns of the thread pool, and waits for its end, whatever that is; fails when it
   * does not end soon.
   */
  async interrupt(start: (call: PluginCall) => Promise<unknown>, turns: number): Promise<void> {
    const controller = new AbortController();
    const running = start({ ...plainCall, signal: controller.signal });
    const ended = running.then(
      () => {},
      () => {},
    );
    for (let turn = 0; turn < turns; turn++) await stat(tmpdir());
    controller.abort(new Error('aborted by the conformance suite'));
    await this.settles('a verb that was aborted', ended);
  }

  /** Waits for something that must end soon. */
  async settles<T>(what: string, work: Promise<T>): Promise<T> {
    return withDeadline(systemClock, this.soon, what, () => work);
  }

  /** Waits until something is true that must become so soon. */
  async until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const start = systemClock.monotonic();
    while (!(await condition())) {
      assert(systemClock.monotonic() - start < this.soon, `${what}: not within ${this.soon} ms`);
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
