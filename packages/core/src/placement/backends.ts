import { ScoriaError } from '../error/scoria-error.ts';
import type { AccessSecrets } from '../attachment/access-secrets.ts';
import type { Clock } from '../platform/clock.ts';
import { withDeadline } from '../platform/deadline.ts';
import type { Log } from '../platform/log.ts';
import type { ConfiguredBackend, Plugins } from '../plugin/plugins.ts';
import type { Settings, WorkerSettings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import { orMissing } from '../store/or-missing.ts';
import type { Repositories, Store } from '../store/store.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { DeviceLocator, OpenOptions } from '../device/device-locator.ts';
import { qosSpecOfType } from '../qos-spec/qos-spec-of-type.ts';
import { backEndLimits } from '../qos-spec/volume-limits.ts';
import type { IoLimits } from '../transport/io-limits.ts';
import type { ExportRequest, Transport } from '../transport/transport.ts';
import type { BackendObject, PluginCall } from '../volume/driver.ts';
import type { Access } from '../attachment/access.ts';
import { type BackendCondition, BackendReporter } from './backend-reporter.ts';
import { type Backend, hostString } from './backend.ts';
import type { Placement } from './placement.ts';
import { publishAgain } from './publish-again.ts';
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
 * The backends of this process, and what is asked of those in service. Each is brought up and reported at its own pace
 * ({@link BackendReporter}); one that cannot be used, or is slow, does not keep the others down.
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
  /** Names of the backends in service or about to be, by the id of their storage. */
  readonly #storages = new Map<string, string>();
  readonly #reporters: BackendReporter[] = [];
  readonly #stopping = new AbortController();
  readonly #startedTransports = new Set<Transport>();

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

  /**
   * Brings up transports and backends. A transport that cannot start is an error of whoever starts the service. Settles when
   * every backend is in service or has a fault, or when {@link Settings.startPatience} is over; the rest comes later.
   */
  async start(): Promise<void> {
    if (!this.#serving) return;
    for (const { transport } of this.#plugins.transports) {
      await transport.start(this.#call());
      this.#startedTransports.add(transport);
    }
    await this.#announce();
    this.#reporters.push(...this.#plugins.backends.map((backend) => this.#reporter(backend)));
    const first = Promise.all(this.#reporters.map((reporter) => reporter.start()));
    await withDeadline(this.#clock, this.#settings.startPatience, 'Bringing up the backends', () => first).catch(async () => {
      const late = this.#reporters.filter(({ condition }) => condition.reportedAt === null);
      const names = late.map(({ condition }) => condition.name);
      this.#log.warn({ backends: names }, 'the service starts without backends that have yet to answer');
      await Promise.all(late.map((reporter) => reporter.tellFault()));
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new ScoriaError('backend-unavailable', 'The service is stopping'));
    await Promise.all(this.#reporters.map((reporter) => reporter.stop()));
    for (const transport of this.#startedTransports) await transport.stop();
  }

  /** Every backend that this process is to serve, in service or not. */
  conditions(): readonly BackendCondition[] {
    return this.#reporters.map(({ condition }) => condition);
  }

  /** Whether volumes of a backend are held to their limits; `null` for one that this process does not know of. */
  holdsLimits({ host, name }: Pick<Backend, 'host' | 'name'>): boolean | null {
    if (host !== this.#settings.host) return null;
    const backend = this.#plugins.backends.find((each) => each.name === name);
    return backend ? backend.transport?.limit !== undefined : null;
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
    return transportOf(this.get(backendId));
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

  /**
   * Publishes an access where its volume lies now: it may have moved since the caller's operation began. One that moves
   * meanwhile is published again, before anybody can log in: what is written to its old place would be lost.
   */
  async publish(accessId: string, call: PluginCall): Promise<void> {
    await this.#publish(accessId, call, (id) => this.get(id));
  }

  async #publish(accessId: string, call: PluginCall, get: (backendId: string) => ServedBackend): Promise<void> {
    const { accesses, placements } = this.#store.reading;
    const access = await accesses.get(accessId);
    const placement = await placements.get(access.placementId);
    const backend = get(placement.backendId);
    const transport = transportOf(backend);
    await transport.export(await this.exportRequest(access, placement, backend, call), call);
    const since = await orMissing(accesses.get(accessId));
    if (!since || since.placementId === access.placementId) return;
    try {
      await this.#publish(accessId, call, get);
    } catch (error) {
      // Better not published at all than at the old place.
      await transport.unexport(accessId, call).catch(() => {});
      throw error;
    }
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

  #reporter(backend: ConfiguredBackend): BackendReporter {
    return new BackendReporter(backend, {
      store: this.#store,
      clock: this.#clock,
      log: this.#log,
      settings: this.#settings,
      call: this.#call(),
      enter: (id) => this.#enter({ ...backend, id }),
      leave: (id) => {
        this.#served.delete(id);
        this.#storages.delete(id);
      },
    });
  }

  /** Publishes what is attached, then lets operations have the backend. */
  async #enter(backend: ServedBackend): Promise<void> {
    const { id, name, transport } = backend;
    const twin = this.#storages.get(id);
    if (twin !== undefined) {
      throw new ScoriaError('invalid-configuration', `Backends ${twin} and ${name} are the same storage (${id}).`);
    }
    this.#storages.set(id, name);
    try {
      if (transport) {
        await publishAgain(transport, id, this.#call(), {
          store: this.#store,
          log: this.#log,
          publish: (accessId) => this.#publish(accessId, this.#call(), (other) => (other === id ? backend : this.get(other))),
        });
      }
    } catch (error) {
      this.#storages.delete(id);
      throw error;
    }
    this.#served.set(id, backend);
  }

  /** Makes the services of all backends known, so that one that never comes up is seen to be down. */
  async #announce(): Promise<void> {
    const { host } = this.#settings;
    await this.#store.transaction(async ({ services }) => {
      const known = new Set((await services.list()).map((service) => `${service.binary} ${service.host}`));
      for (const { name, availabilityZone } of this.#plugins.backends) {
        const service = { binary: 'cinder-volume', host: hostString({ host, name }) };
        if (known.has(`${service.binary} ${service.host}`)) continue;
        await services.beat({ ...service, availabilityZone, seenAt: this.#clock.now() });
      }
    });
  }
}

function transportOf({ name, transport }: ServedBackend): Transport {
  if (transport) return transport;
  throw new ScoriaError('not-supported', `Backend ${name} has no transport, so its volumes cannot be attached.`);
}
