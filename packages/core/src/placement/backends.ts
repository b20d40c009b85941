import { ScoriaError } from '../error/scoria-error.ts';
import type { AccessSecrets } from '../attachment/access-secrets.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { ConfiguredBackend, Plugins } from '../plugin/plugins.ts';
import type { Settings, WorkerSettings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Repositories, Store } from '../store/store.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { DeviceLocator, OpenOptions } from '../device/device-locator.ts';
import { qosSpecOfType } from '../qos-spec/qos-spec-of-type.ts';
import { backEndLimits } from '../qos-spec/volume-limits.ts';
import type { IoLimits } from '../transport/io-limits.ts';
import type { ExportRequest, Transport } from '../transport/transport.ts';
import type { BackendObject, PluginCall } from '../volume/driver.ts';
import type { Access } from '../attachment/access.ts';
import type { Placement } from './placement.ts';
import { StillDevice } from './still-device.ts';

/** A backend that this process serves. */
export interface ServedBackend extends ConfiguredBackend {
  /** UUID found on the storage. */
  readonly id: string;
}

/** A placement in the words of the driver contract. */
export function backendObject(placement: Placement): BackendObject {
  return {
    placementId: placement.id,
    pool: placement.pool,
    backendRef: placement.backendRef,
    size: placement.size ?? placement.claimed,
  };
}

/**
 * The backends of this process: brings each up, reports its pools to the store, publishes its accesses again after a
 * restart, and tries again those that are out of order. A backend that cannot be used does not keep the others down.
 */
@wired(tokens.Store, tokens.Plugins, tokens.AccessSecrets, tokens.Clock, tokens.Log, tokens.Settings, tokens.WorkerSettings)
export class Backends {
  readonly #store: Store;
  readonly #plugins: Plugins;
  readonly #secrets: AccessSecrets;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #settings: Settings;
  readonly #serving: boolean;
  readonly #served = new Map<string, ServedBackend>();
  readonly #stopping = new AbortController();
  readonly #startedTransports = new Set<Transport>();
  #timer: Disposable | null = null;
  #reporting: Promise<void> = Promise.resolve();

  constructor(
    store: Store,
    plugins: Plugins,
    secrets: AccessSecrets,
    clock: Clock,
    log: Log,
    settings: Settings,
    worker: WorkerSettings,
  ) {
    this.#store = store;
    this.#plugins = plugins;
    this.#secrets = secrets;
    this.#clock = clock;
    this.#log = log;
    this.#settings = settings;
    this.#serving = worker.roles.includes('volume');
  }

  /** Brings up transports and backends. A transport that cannot start is an error of whoever starts the service; a backend's fault is noted and tried again. */
  async start(): Promise<void> {
    if (!this.#serving) return;
    for (const { transport } of this.#plugins.transports) {
      await transport.start(this.#call());
      this.#startedTransports.add(transport);
    }
    await this.#report();
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#timer?.[Symbol.dispose]();
    this.#stopping.abort(new ScoriaError('backend-unavailable', 'The service is stopping'));
    await this.#reporting;
    for (const transport of this.#startedTransports) await transport.stop();
  }

  /** Ids of the backends that can be worked on here, now. */
  servedIds(): string[] {
    return [...this.#served.keys()];
  }

  /** `backend-unavailable` when the backend is out of order or served by another process. */
  get(id: string): ServedBackend {
    const backend = this.#served.get(id);
    if (!backend)
      throw new ScoriaError('backend-unavailable', `Backend ${id} is not in service here.`, { details: { backendId: id } });
    return backend;
  }

  /** The backend that a transport-side verb of an access needs. `not-supported` when it has no transport. */
  transportOf(backendId: string): Transport {
    const backend = this.get(backendId);
    if (!backend.transport) {
      throw new ScoriaError('not-supported', `Backend ${backend.name} has no transport, so its volumes cannot be attached.`);
    }
    return backend.transport;
  }

  /**
   * Opens a volume or snapshot in this process. What is opened for reading only must not be written to by anybody
   * meanwhile: where the driver knows which parts have data, the device asks it.
   */
  async open(backend: ServedBackend, object: BackendObject, options: OpenOptions, call: PluginCall): Promise<BlockDevice> {
    const device = await this.openLocated(backend, await backend.driver.locate(object, call), options);
    const { driver } = backend;
    if (!options.readOnly || !driver.allocatedExtents) return device;
    return new StillDevice(device, () => driver.allocatedExtents?.(object, call) ?? device.allocatedExtents(0, device.size));
  }

  /** Opens what a driver located. */
  async openLocated(backend: ServedBackend, locator: DeviceLocator, options: OpenOptions): Promise<BlockDevice> {
    const opener = backend.openers[locator.kind];
    if (!opener) throw new ScoriaError('internal', `Nobody here opens devices of kind ${locator.kind}.`);
    return opener(locator, options);
  }

  /** Publishes an access where its volume lies now: it may have moved since the caller's operation began. */
  async publish(accessId: string, call: PluginCall): Promise<void> {
    const { accesses, placements } = this.#store.reading;
    const access = await accesses.get(accessId);
    const placement = await placements.get(access.placementId);
    const request = await this.exportRequest(access, placement, this.get(placement.backendId), call);
    await this.transportOf(placement.backendId).export(request, call);
  }

  /** What a transport needs to publish an access. */
  async exportRequest(access: Access, placement: Placement, backend: ServedBackend, call: PluginCall): Promise<ExportRequest> {
    const limits = backend.transport?.limit ? await this.#limitsOf(access.volumeId) : null;
    return {
      accessId: access.id,
      volumeId: access.volumeId,
      device: await backend.driver.locate(backendObject(placement), call),
      readOnly: access.readOnly,
      secret: this.#secrets.of(access.id),
      initiator: access.initiator,
      ...(limits && { limits }),
    };
  }

  /**
   * Holds an exported volume to what follows from its type, and from its size or the one given, in bytes. Hosts of a
   * transport that cannot do that go on without limits.
   */
  async limit(volumeId: string, call: PluginCall, size?: number): Promise<void> {
    const { volumes, placements } = this.#store.reading;
    const { placementId } = await volumes.get('every-project', volumeId);
    const { backendId } = await placements.get(placementId ?? '');
    await this.get(backendId).transport?.limit?.(volumeId, await this.#limitsOf(volumeId, size), call);
  }

  /** Throws `not-supported` when volumes of a type have limits that the transport of a backend cannot hold them to. */
  async requireLimits(
    repositories: Pick<Repositories, 'volumeTypes' | 'qosSpecs'>,
    backendId: string,
    volumeTypeId: string,
    size: number,
  ): Promise<void> {
    const { transport } = this.get(backendId);
    if (!transport || transport.limit) return;
    const spec = await qosSpecOfType(repositories, volumeTypeId);
    if (backEndLimits(spec, size) === null) return;
    const name = this.#plugins.transports.find((each) => each.transport === transport)?.name ?? '';
    throw new ScoriaError(
      'not-supported',
      `Transport ${name} cannot hold volumes to QoS spec ${spec?.name} of their type, whose consumer is ${spec?.consumer}.`,
      { remedy: 'Choose a volume type of another backend, or let the consumer of its QoS spec be front-end.' },
    );
  }

  async #limitsOf(volumeId: string, size?: number): Promise<IoLimits | null> {
    const volume = await this.#store.reading.volumes.get('every-project', volumeId);
    return backEndLimits(await qosSpecOfType(this.#store.reading, volume.volumeTypeId), size ?? volume.size);
  }

  #call(): PluginCall {
    return { signal: this.#stopping.signal, fence: 0, progress: () => {} };
  }

  #schedule(): void {
    this.#timer = this.#clock.timer(this.#settings.reportInterval, () => {
      this.#reporting = this.#report().finally(() => {
        if (!this.#stopping.signal.aborted) this.#schedule();
      });
    });
  }

  async #report(): Promise<void> {
    await Promise.all(this.#plugins.backends.map((backend) => this.#reportOne(backend)));
  }

  async #reportOne(configured: ConfiguredBackend): Promise<void> {
    const { name, driver } = configured;
    const known = [...this.#served.values()].find((each) => each.name === name);
    try {
      const id = known?.id ?? (await driver.check(this.#call())).backendId;
      const twin = this.#served.get(id);
      if (twin && twin.name !== name) {
        throw new ScoriaError('invalid-configuration', `Backends ${twin.name} and ${name} are the same storage (${id}).`);
      }
      const served = known ?? { ...configured, id };
      const pools = await driver.pools(this.#call());
      if (!known) {
        await this.#publishAgain(served);
        this.#served.set(id, served);
        this.#log.info({ backend: name, backendId: id }, 'backend in service');
      }
      await this.#write(configured, id, pools, null);
    } catch (error) {
      const fault = ScoriaError.from(error, 'backend-unavailable');
      if (this.#stopping.signal.aborted) return;
      this.#log.error({ err: fault, backend: name }, 'backend out of service; it is tried again');
      if (known) this.#served.delete(known.id);
      const row =
        known?.id ??
        (await this.#store.reading.backends.list()).find((each) => each.name === name && each.host === this.#settings.host)?.id;
      if (row)
        await this.#write(configured, row, [], fault.message).catch((failure: unknown) =>
          this.#log.error({ err: failure }, 'a fault could not be noted'),
        );
    }
  }

  async #write(
    configured: ConfiguredBackend,
    id: string,
    pools: Awaited<ReturnType<ConfiguredBackend['driver']['pools']>>,
    fault: string | null,
  ): Promise<void> {
    await this.#store.transaction(async ({ backends, services }) => {
      const reportedAt = this.#clock.now();
      const { name, availabilityZone, driverCapabilities } = configured;
      await backends.report({
        id,
        name,
        host: this.#settings.host,
        availabilityZone,
        driverCapabilities,
        pools,
        reportedAt,
        fault,
      });
      if (fault === null)
        await services.beat({
          binary: 'cinder-volume',
          host: `${this.#settings.host}@${name}`,
          availabilityZone,
          seenAt: reportedAt,
        });
    });
  }

  /** After a start: every open access is exported as before, and what the target has that no access asks for is ended. */
  async #publishAgain(backend: ServedBackend): Promise<void> {
    const { transport } = backend;
    if (!transport) return;
    const { accesses, placements } = this.#store.reading;
    const all = await accesses.all();
    const publish = async (access: Access) => {
      const placement = await placements.get(access.placementId);
      if (placement.backendId !== backend.id) return;
      await transport.export(await this.exportRequest(access, placement, backend, this.#call()), this.#call());
      // Another process may have ended it meanwhile: what came after its fence is taken back.
      const open = (await accesses.ofVolume(access.volumeId)).some(({ id, state }) => id === access.id && state === 'open');
      if (!open) await transport.unexport(access.id, this.#call());
    };
    const open = all.filter((access) => access.state === 'open');
    for (const [index, result] of (await Promise.allSettled(open.map(publish))).entries()) {
      if (result.status === 'rejected') {
        this.#log.error(
          { err: ScoriaError.from(result.reason), accessId: open[index]?.id },
          'an access could not be published again',
        );
      }
    }
    const wanted = new Set(all.map((access) => access.id));
    for (const status of await transport.list(this.#call())) {
      if (!wanted.has(status.accessId)) await transport.unexport(status.accessId, this.#call());
    }
  }
}
