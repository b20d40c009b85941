import {
  type AnyVolumeDriver,
  type BlockDevice,
  type BlockStorage,
  defaultReconciliationSettings,
  type DeviceOpener,
  type Exec,
  openPathDevice,
  type Placement,
  type RequestContext,
  silentLog,
  type Store,
  noExec,
} from '@scoria/core';
import capabilitiesFilter from '@scoria/scheduler-weighers/capabilities-filter';
import { createSqliteStore } from '@scoria/store-sql';
import type { Rested } from '../simulation/at-rest.ts';
import { ModelledTarget } from '../simulation/modelled-target.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SharedBus } from '../simulation/shared-bus.ts';
import { type Probe, SimulatedProcess } from '../simulation/simulated-process.ts';
import { trackedOpener } from '../simulation/tracked-device.ts';
import { VirtualTime } from '../simulation/virtual-time.ts';
import type { ConfiguredArray } from './arrays.ts';
import { dataRuns, image, volumeSize } from './content.ts';

/** The caller of all scenarios. */
export const alice: RequestContext = {
  requestId: 'req-alice',
  userId: 'alice',
  projectId: 'alice',
  roles: ['member'],
  isAdmin: false,
};
/** An administrator. */
export const root: RequestContext = { ...alice, requestId: 'req-root', userId: 'root', projectId: 'root', isAdmin: true };
/** The host of all attachments. */
export const connector = { initiator: 'iqn.2026-11.test:host', host: 'host' };

const arrayNames = ['here', 'there'] as const;
/** The arrays of a site, and the volume types that put a volume there. */
export type ArrayName = (typeof arrayNames)[number];

/** A process with the production code in it. */
export interface Running {
  readonly process: SimulatedProcess;
  readonly storage: BlockStorage;
}

const call = { signal: new AbortController().signal, fence: 0, progress: () => {} };

/** What a site is made of. */
export interface SiteParts {
  /** Storage of a name. `backendId` is for storage that cannot keep one by itself. */
  array(name: ArrayName, backendId: string): ConfiguredArray;
  /** Runs programs, for arrays that need some. Default: there are none. */
  readonly exec?: Exec;
}

/** What outlives processes: time, a store, two arrays and a target, with what their volumes must hold. */
export class Site {
  readonly time = new VirtualTime(Date.UTC(2026, 10, 22));
  readonly store: Store;
  readonly target: ModelledTarget;
  /** What each volume and snapshot must hold, by its id; those not named are not looked at. */
  readonly contents = new Map<string, Uint8Array>();
  readonly #random: SeededRandom;
  readonly #arrays: Readonly<Record<ArrayName, ConfiguredArray>>;
  readonly #open: DeviceOpener;
  readonly #exec: Exec;
  readonly #bus = new SharedBus();
  readonly #raw = new Map<ArrayName, AnyVolumeDriver>();
  #processes = 0;
  #current: Running | undefined;

  private constructor({ array, exec = noExec }: SiteParts) {
    this.#exec = exec;
    this.#random = new SeededRandom(1);
    this.store = createSqliteStore({ path: ':memory:', random: this.#random });
    this.#arrays = {
      here: array('here', this.#random.uuid()),
      there: array('there', this.#random.uuid()),
    };
    this.#open = (locator, options) => {
      const openers = Object.values(this.#arrays).map(({ plugin }) => plugin.devices[locator.kind] ?? openPathDevice);
      // Each array opens its own; the other one then says that there is no such thing.
      return openers.reduce<Promise<BlockDevice>>(
        (opened, open) => opened.catch(() => open(locator, options)),
        Promise.reject(new Error('not opened yet')),
      );
    };
    this.target = new ModelledTarget(this.time, trackedOpener(this.#open, this.time.activity));
  }

  static async open(parts: SiteParts): Promise<Site> {
    const site = new Site(parts);
    await site.store.open();
    const { storage } = await site.running();
    for (const name of ['here', 'there']) {
      const extraSpecs = { volume_backend_name: name };
      const specs = { total_iops_sec: name === 'here' ? '100' : '200' };
      const type = await site.time.drive(storage.volumeTypes.create(root, { name, extraSpecs }));
      const spec = await site.time.drive(storage.qosSpecs.create(root, { name, specs }));
      await site.time.drive(storage.qosSpecs.associate(root, spec.id, type.id));
    }
    return site;
  }

  async close(): Promise<void> {
    this.#current?.process.kill();
    await this.store.close();
  }

  /** The process that runs; starts one when there is none. */
  async running(): Promise<Running> {
    if (!this.#current || this.#current.process.dead) this.#current = await this.start();
    return this.#current;
  }

  /** Starts a further process. */
  async start(probe: Probe = {}): Promise<Running> {
    const name = `process-${(this.#processes += 1)}`;
    const surroundings = {
      time: this.time,
      random: this.#random,
      bus: this.#bus,
      store: this.store,
      backends: this.#arrays,
      target: this.target,
      filters: [{ plugin: capabilitiesFilter }],
      exec: this.#exec,
    };
    const worker = { lease: 3_000, sweep: 1_000, retryPauses: [100, 500] };
    const reconciliation = { ...defaultReconciliationSettings, interval: 60_000, garbageGrace: 60_000 };
    const settings = { reportInterval: 600_000, reconciliation };
    const process = new SimulatedProcess(surroundings, { name, worker, settings }, probe);
    const storage = await this.time.drive(process.start());
    this.#current = { process, storage };
    return this.#current;
  }

  /** Ends the process that runs without a word. */
  kill(): void {
    this.#current?.process.kill();
  }

  /** Makes an available volume that holds {@link image} `tag`. Returns its id. */
  async volume(tag: number): Promise<string> {
    const { storage } = await this.running();
    const { volume, operationId } = await this.time.drive(
      storage.volumes.create(alice, { size: volumeSize, volumeType: 'here' }),
    );
    await this.time.drive(storage.operations.wait(operationId, 60_000));
    await this.fill(volume.id, image(tag));
    return volume.id;
  }

  /** Makes an available snapshot. Returns its id. */
  async snapshot(volumeId: string): Promise<string> {
    const { storage } = await this.running();
    const { snapshot, operationId } = await this.time.drive(storage.snapshots.create(alice, { volumeId }));
    await this.time.drive(storage.operations.wait(operationId, 60_000));
    const content = this.contents.get(volumeId);
    if (content) this.contents.set(snapshot.id, content);
    return snapshot.id;
  }

  /** Attaches a volume to the host, which logs in. Returns the attachment's id. */
  async attach(volumeId: string): Promise<string> {
    const { storage } = await this.running();
    const { id, accessId } = await this.time.drive(storage.attachments.create(alice, { volumeId, connector }));
    await this.time.drive(storage.attachments.complete(alice, id));
    const secret = this.target.exports.get(accessId ?? '')?.secret ?? '';
    this.target.login(accessId ?? '', secret, connector.initiator);
    return id;
  }

  /** Overwrites a volume behind everybody's back, and expects that from now on. */
  async fill(volumeId: string, content: Uint8Array): Promise<void> {
    const { placementId } = await this.store.reading.volumes.get('every-project', volumeId);
    const device = await this.#device(await this.store.reading.placements.get(placementId ?? ''), false);
    await device.writeZeroes(0, device.size);
    for (const { offset, data } of dataRuns(content)) await device.write(data, offset);
    await device.close();
    this.contents.set(volumeId, content);
  }

  /** What a placement's object holds now. */
  async read(placement: Placement): Promise<Uint8Array> {
    const device = await this.#device(placement, true);
    const bytes = new Uint8Array(device.size);
    await device.read(bytes, 0);
    await device.close();
    return bytes;
  }

  /** The site, once nothing is under way. */
  rested(): Rested {
    const { store, time } = this;
    return {
      store,
      projects: [alice.projectId],
      audits: async () => [await time.drive((await this.running()).storage.audits.run(root))],
      usage: async (projectId) => (await time.drive((await this.running()).storage.quotas.get(root, projectId))).usage,
      objects: () => this.objects(),
      exports: () => this.target.exports.values(),
      contentFault: async (id, placement) => {
        const expected = this.contents.get(id);
        if (!expected) return null;
        const found = await this.read(placement);
        if (Buffer.compare(found, expected) === 0) return null;
        const at = found.findIndex((byte, index) => byte !== expected[index]);
        return `${found.length} bytes, ${found[at]} at ${at}; expected ${expected.length}, ${expected[at]}`;
      },
    };
  }

  /** What is on the arrays, by placement. */
  async objects(): Promise<ReadonlyMap<string, number>> {
    const objects = new Map<string, number>();
    for (const name of arrayNames) {
      for await (const { placementId, size } of (await this.#driver(name)).list(call)) objects.set(placementId, size);
    }
    return objects;
  }

  /** What lies on the arrays and is none of {@link objects}. */
  async strays(objects: ReadonlyMap<string, number>): Promise<readonly string[]> {
    const known = new Set(objects.keys());
    return (await Promise.all(Object.values(this.#arrays).map((array) => array.strays?.(known) ?? []))).flat();
  }

  async #device(placement: Placement, readOnly: boolean): Promise<BlockDevice> {
    const { id: placementId, pool, backendRef, size, claimed } = placement;
    const backend = (await this.store.reading.backends.list()).find(({ id }) => id === placement.backendId);
    const driver = await this.#driver(backend?.name === 'there' ? 'there' : 'here');
    return this.#open(await driver.locate({ placementId, pool, backendRef, size: size ?? claimed }, call), { readOnly });
  }

  /** A driver of the test's own, past every process. */
  async #driver(name: ArrayName): Promise<AnyVolumeDriver> {
    const known = this.#raw.get(name);
    if (known) return known;
    const { plugin, config = {} } = this.#arrays[name];
    const { time } = this;
    const driver = plugin.create({
      name,
      config,
      installationId: await this.store.installationId(),
      baseDirectory: '/',
      clock: {
        now: () => time.now,
        monotonic: () => time.now,
        sleep: (ms) => time.sleep(ms),
        timer: (ms, fn) => time.schedule(ms, fn),
      },
      random: this.#random,
      log: silentLog,
      exec: this.#exec,
    });
    await driver.check(call);
    this.#raw.set(name, driver);
    return driver;
  }
}
