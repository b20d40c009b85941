import { type BlockStorage, type Log, type Placement, type Repositories, ScoriaError, type Store } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import capabilitiesFilter from '@scoria/scheduler-weighers/capabilities-filter';
import capacityFilter from '@scoria/scheduler-weighers/capacity-filter';
import { createSqliteStore } from '@scoria/store-sql';
import { FaultInjection } from './fault-injection.ts';
import { ModelledTarget } from './modelled-target.ts';
import { spacing } from './content-oracle.ts';
import type { Plan } from './plan.ts';
import { SeededRandom } from './seeded-random.ts';
import { SharedBus } from './shared-bus.ts';
import { SimulatedProcess } from './simulated-process.ts';
import { trackedOpener } from './tracked-device.ts';
import { VirtualTime } from './virtual-time.ts';

/** Bytes of the smallest volume. */
export const unit = spacing;
/** Units of each array: few, so that they are fought for. */
export const unitsOfArray = 14;

/** A place where a process runs, is killed and started again. */
export interface Seat {
  readonly host: string;
  readonly roles: readonly ('scheduler' | 'volume')[];
  readonly serves: readonly string[];
  process: SimulatedProcess | null;
  storage: BlockStorage | null;
}

/** Takes a guard of the production code away, to see that the simulation misses it. */
export interface Sabotage {
  /** Leaves nothing to the reconciler, which would mend what the missing guard does: what undoes fails in passing only. */
  readonly gentle?: boolean;
  /** Changes what every process sees of the store. */
  repositories?(repositories: Repositories): Repositories;
}

/** A cluster in one process: two schedulers, two volume services, three arrays, a target, a store, and a bus that cannot be relied on. */
export class World {
  readonly time = new VirtualTime(Date.UTC(2026, 10, 22));
  readonly random: SeededRandom;
  readonly faults: FaultInjection;
  readonly store: Store;
  readonly target: ModelledTarget;
  readonly arrays: Readonly<Record<string, MemoryBackend>>;
  /** What is wrong, in the order of its being seen. */
  readonly findings: string[] = [];
  readonly seats: readonly Seat[];
  /** Whether two volume services share the work on the same arrays. */
  readonly twins: boolean;
  readonly #plugin;
  readonly #bus: SharedBus;
  readonly #sabotage: Sabotage;
  #started = 0;

  constructor({ seed, twins }: Plan, sabotage: Sabotage = {}) {
    this.#sabotage = sabotage;
    this.twins = twins;
    const volume1 = { host: 'volume-1', roles: ['volume'], serves: ['a', 'b'], process: null, storage: null } as const;
    this.seats = [
      { host: 'scheduler-1', roles: ['scheduler'], serves: [], process: null, storage: null },
      { host: 'scheduler-2', roles: ['scheduler'], serves: [], process: null, storage: null },
      { ...volume1 },
      { host: 'volume-2', roles: ['volume', 'scheduler'], serves: ['c'], process: null, storage: null },
      ...(twins ? [{ ...volume1 }] : []),
    ];
    this.random = new SeededRandom(seed ^ 0x5bd1e995);
    this.faults = new FaultInjection(seed, this.time);
    this.faults.gentle = sabotage.gentle ?? false;
    this.store = createSqliteStore({ path: ':memory:', random: this.random });
    const pools = [{ name: 'pool', total: unitsOfArray * unit, thin: false, maxOverSubscription: 1, reserved: 0 }];
    this.arrays = Object.fromEntries(
      ['a', 'b', 'c'].map((name) => [name, new MemoryBackend({ backendId: this.random.uuid(), pools })]),
    );
    this.#plugin = memoryDriver({
      backend: (name) => {
        const backend = this.arrays[name];
        if (!backend) throw new Error(`There is no array ${name}`);
        return backend;
      },
    });
    const open = this.#plugin.devices['memory'];
    if (!open) throw new Error('The memory driver opens nothing');
    this.target = new ModelledTarget(this.time, trackedOpener(open, this.time.activity));
    const carrying = new SeededRandom(seed ^ 0x2545f491);
    this.#bus = new SharedBus((deliver) => {
      if (this.faults.active && carrying.chance(0.2)) return;
      const copies = this.faults.active && carrying.chance(0.15) ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        this.time.schedule(carrying.chance(0.6) ? 1 : carrying.below(3_000), deliver);
      }
    });
  }

  /** Notes something that must not be. */
  find(what: string): void {
    this.findings.push(what);
  }

  async start(): Promise<void> {
    await this.store.open();
    for (const seat of this.seats) await this.time.drive(this.occupy(seat));
  }

  async close(): Promise<void> {
    for (const seat of this.seats) seat.process?.kill();
    await this.store.close();
  }

  /** Starts a process in a seat. */
  async occupy(seat: Seat): Promise<void> {
    const name = `${seat.host}.${(this.#started += 1)}`;
    const process = new SimulatedProcess(
      {
        time: this.time,
        random: this.random,
        bus: this.#bus,
        store: this.store,
        backends: Object.fromEntries(Object.keys(this.arrays).map((array) => [array, { plugin: this.#plugin }])),
        target: this.target,
        filters: [{ plugin: capacityFilter }, { plugin: capabilitiesFilter }],
        log: this.#log(name),
      },
      {
        name,
        settings: { host: seat.host },
        worker: { roles: seat.roles, lease: 20_000 },
        serves: seat.serves.length > 0 ? seat.serves : ['a'],
      },
    );
    process.probe = {
      ...this.faults.probe(name, () => process.dead),
      // A process whose store fails before it has started says so, and is started again by whoever runs it.
      transaction: () => (seat.process === process && seat.storage ? this.faults.fate(name) : 'once'),
      ...(this.#sabotage.repositories && { repositories: this.#sabotage.repositories }),
    };
    seat.process = process;
    try {
      const storage = await process.start();
      if (seat.process === process) seat.storage = storage;
    } catch (error) {
      this.find(`${name} could not be started: ${String(error)}`);
    }
  }

  /** Kills the process of a seat; another one takes it after `ms`. */
  kill(seat: Seat, ms: number): void {
    if (!seat.process || seat.process.dead) return;
    seat.process.kill();
    seat.storage = null;
    this.time.schedule(ms, () => void this.occupy(seat));
  }

  /** What a placement's object holds, read past everybody. */
  read(placement: Placement): Uint8Array | null {
    for (const array of Object.values(this.arrays)) {
      const object = array.objects.get(placement.id);
      if (!object) continue;
      const image = new Uint8Array(object.size);
      object.read(image, 0);
      return image;
    }
    return null;
  }

  /** What a volume holds that is nobody's; `null` when no array has one of that name. */
  readForeign(reference: string): Uint8Array | null {
    const object = Object.values(this.arrays).flatMap(({ foreign }) => foreign.get(reference) ?? [])[0];
    if (!object) return null;
    const image = new Uint8Array(object.size);
    object.read(image, 0);
    return image;
  }

  /** What is on all arrays, by placement. */
  objects(): ReadonlyMap<string, number> {
    const all = Object.values(this.arrays).flatMap((array) => [...array.objects.values()]);
    return new Map(all.map(({ placementId, size }) => [placementId, size]));
  }

  #log(name: string): Log {
    const look = (fields: Readonly<Record<string, unknown>>, message: string) => {
      const error = fields['err'] instanceof Error ? ScoriaError.from(fields['err']) : null;
      if (error?.code === 'internal') this.find(`${name}: ${message}: ${error.message}`);
    };
    return { debug: () => {}, info: () => {}, warn: look, error: look };
  }
}
