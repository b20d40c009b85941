import {
  type AnyVolumeDriver,
  type BlockDevice,
  type BlockStorage,
  type BlockStorageOptions,
  type Bus,
  type Clock,
  type Command,
  type CommandResult,
  createBlockStorage,
  definePlugin,
  type DeviceOpener,
  type Exec,
  type Log,
  noExec,
  openPathDevice,
  type Plugin,
  type Random,
  type Repositories,
  type Settings,
  silentLog,
  type Store,
  type Transport,
  type WorkerSettings,
} from '@scoria/core';
import { z } from 'zod';
import { FillingDisk } from './filling-disk.ts';
import { type Around, intercepted, interceptedMembers } from './interception.ts';
import type { Activity, VirtualTime } from './virtual-time.ts';

/** A step of an operation, as a transaction journals it: `name/step event`. */
export type JournaledStep = string;

/** What is told of a process's doings, and may interfere. */
export interface Probe {
  /** Stands around each verb of driver, transport and open devices, and each program that is run to its end. */
  verb?(name: string, proceed: (args?: readonly unknown[]) => Promise<unknown>, args: readonly unknown[]): Promise<unknown>;
  /**
   * What becomes of a transaction. `twice`: it is undone and run again, as a store may. A number: the disk is full at that
   * call of a repository, counted from 0, or at the commit when there are fewer. Default: `once`.
   */
  transaction?(): 'once' | 'twice' | number;
  /** Called before a transaction commits, which {@link SimulatedProcess.kill} prevents, and after it has. */
  commit?(moment: 'before' | 'after', steps: readonly JournaledStep[]): void;
  /** Changes repositories, to take a guard away. */
  repositories?(repositories: Repositories): Repositories;
}

/** What outlives processes, and what they share. */
export interface Surroundings {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly bus: Bus;
  /** Open; processes neither open nor close it. */
  readonly store: Store;
  readonly backends: Readonly<Record<string, { readonly plugin: Plugin<'driver'>; readonly config?: unknown }>>;
  readonly target: Transport;
  readonly filters?: BlockStorageOptions['plugins']['filters'];
  readonly log?: Log;
  /** Runs programs. Default: there are none. */
  readonly exec?: Exec;
}

/** What one process does of its own. */
export interface ProcessOptions {
  readonly name: string;
  readonly settings?: Partial<Settings>;
  readonly worker?: Partial<WorkerSettings>;
  /** Backends that it serves. Default: all. */
  readonly serves?: readonly string[];
}

class Killed extends Error {}
/** Ends the first run of a transaction that is to be run again. */
class Undone extends Error {}

const journaled = z.tuple([z.array(z.object({ operationId: z.string(), step: z.string(), event: z.string() }))]);
const never = new Promise<never>(() => {});
/** What a process does to the devices that it has open, besides reading. */
const deviceVerbs: ReadonlySet<string> = new Set(['write', 'writeZeroes', 'discard', 'flush']);

/** Verbs of a driver that give a stream. */
const driverStreams: ReadonlySet<string> = new Set(['list', 'listManageable', 'allocatedExtents', 'changedExtents']);

/** What a program is known by: `lvm lvcreate`. */
const programOf = ({ program, args }: Command): string => [program, ...args.slice(0, 1)].join(' ');

/** Tracks each step of a stream. */
async function* streamed(stream: unknown, activity: Activity): AsyncGenerator<unknown> {
  if (typeof stream !== 'object' || stream === null || !(Symbol.asyncIterator in stream)) throw new Error('This is no stream');
  const source = stream as AsyncIterable<unknown>;
  const iterator = source[Symbol.asyncIterator]();
  for (;;) {
    const next = await activity.track(() => iterator.next());
    if (next.done) return;
    yield next.value;
  }
}

/**
 * A process that runs the production code between interceptable edges: store, clock, bus, driver, transport. Once it is
 * killed nothing of it has an effect any more: its promises never settle, its transactions roll back, its timers and
 * listeners do not fire. While it is paused all that waits.
 */
export class SimulatedProcess {
  readonly name: string;
  /** Added to the wall clock of this process, milliseconds. */
  skew = 0;
  probe: Probe;
  readonly #surroundings: Surroundings;
  readonly #options: ProcessOptions;
  #state: 'live' | 'paused' | 'dead' = 'live';
  #deferred: (() => void)[] = [];
  readonly #devices = new Set<BlockDevice>();

  constructor(surroundings: Surroundings, options: ProcessOptions, probe: Probe = {}) {
    this.name = options.name;
    this.#surroundings = surroundings;
    this.#options = options;
    this.probe = probe;
  }

  get dead(): boolean {
    return this.#state === 'dead';
  }

  /** Ends the process where it stands. */
  kill(): void {
    this.#state = 'dead';
    this.#deferred = [];
    const { activity } = this.#surroundings.time;
    for (const device of this.#devices) void activity.track(() => device.close()).catch(() => {});
    this.#devices.clear();
  }

  /** Stops the process from noticing anything, as a stopped virtual machine does. */
  pause(): void {
    if (this.#state === 'live') this.#state = 'paused';
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'live';
    for (const fn of this.#deferred.splice(0)) fn();
  }

  /** Starts the production code in this process. */
  start(): Promise<BlockStorage> {
    const { random, backends, target, filters, log = silentLog, exec = noExec } = this.#surroundings;
    const { settings, worker, serves = Object.keys(backends) } = this.#options;
    const transport = definePlugin({
      name: 'modelled',
      kind: 'transport',
      api: '^1.0',
      config: z.strictObject({}),
      create: () => this.#transport(target),
    });
    const served = Object.entries(backends).filter(([name]) => serves.includes(name));
    return createBlockStorage({
      store: this.#store(),
      plugins: {
        backends: Object.fromEntries(
          served.map(([name, { plugin, config }]) => [name, { plugin: this.#driver(plugin), config, transport: 'target' }]),
        ),
        transports: { target: { plugin: transport } },
        filters,
      },
      accessKey: new Uint8Array(32),
      baseDirectory: '/',
      settings: { host: 'host', ...settings },
      ...(worker && { worker }),
      bus: this.#bus(),
      clock: this.clock(),
      random,
      log,
      exec: this.#exec(exec),
    });
  }

  /** Settles with `work` as long as the process lives. */
  through<T>(work: () => Promise<T>): Promise<T> {
    if (this.dead) return never;
    return new Promise((resolve, reject) => {
      work().then(
        (value) => this.#deliver(() => resolve(value)),
        (error: unknown) => this.#deliver(() => reject(error)),
      );
    });
  }

  /** The clock as this process sees it. */
  clock(): Clock {
    const { time } = this.#surroundings;
    const timer = (ms: number, fn: () => void) => {
      const over = { yes: false };
      const scheduled = time.schedule(ms, () => this.#deliver(() => over.yes || fn()));
      return {
        [Symbol.dispose]: () => {
          over.yes = true;
          scheduled[Symbol.dispose]();
        },
      };
    };
    return {
      now: () => time.now + this.skew,
      monotonic: () => time.now,
      timer,
      sleep: (ms, signal) =>
        new Promise<void>((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason);
          const onAbort = () => {
            waiting[Symbol.dispose]();
            reject(signal?.reason);
          };
          const waiting = timer(ms, () => {
            signal?.removeEventListener('abort', onAbort);
            resolve();
          });
          signal?.addEventListener('abort', onAbort, { once: true });
        }),
    };
  }

  #deliver(fn: () => void): void {
    if (this.#state === 'live') fn();
    else if (this.#state === 'paused') this.#deferred.push(fn);
  }

  #bus(): Bus {
    const { bus } = this.#surroundings;
    return {
      publish: (topic, message) => {
        if (!this.dead) bus.publish(topic, message);
      },
      subscribe: (topic, listener) => bus.subscribe(topic, (message) => this.#deliver(() => listener(message))),
    };
  }

  #store(): Store {
    const { store, time } = this.#surroundings;
    const { activity } = time;
    const changed = (repositories: Repositories) => this.probe.repositories?.(repositories) ?? repositories;
    return {
      open: async () => {},
      close: async () => {},
      installationId: () => store.installationId(),
      reading: interceptedMembers(changed(store.reading), (_verb, proceed) =>
        this.through(() => activity.track(() => proceed())),
      ),
      transaction: (work) =>
        this.through(async () => {
          const fate = this.probe.transaction?.() ?? 'once';
          const steps: JournaledStep[] = [];
          const attempt = (undone: boolean) =>
            store.transaction(async (repositories) => {
              if (this.dead) throw new Killed();
              steps.length = 0;
              const disk = new FillingDisk(typeof fate === 'number' ? fate : Infinity);
              const value = await work(disk.under(this.#observed(changed(repositories), steps)));
              if (undone) throw new Undone();
              if (typeof fate === 'number') disk.fill();
              this.probe.commit?.('before', steps);
              if (this.dead) throw new Killed();
              return value;
            });
          if (fate === 'twice') {
            await activity.track(() =>
              attempt(true).catch((error: unknown) => {
                if (!(error instanceof Undone)) throw error;
              }),
            );
          }
          const result = await activity.track(() => attempt(false));
          this.probe.commit?.('after', steps);
          return result;
        }),
    };
  }

  /** Notes which steps a transaction writes of. */
  #observed(repositories: Repositories, steps: JournaledStep[]): Repositories {
    const operations = intercepted(repositories.operations, async (verb, proceed, args) => {
      if (verb === 'appendJournal') {
        const [entries] = journaled.parse(args);
        for (const { operationId, step, event } of entries) {
          const { name } = await repositories.operations.get('every-project', operationId);
          steps.push(`${name}/${step} ${event}`);
        }
      }
      return proceed();
    });
    return { ...repositories, operations };
  }

  /** Work of a target goes on in virtual time; that of drivers and devices holds it up. */
  #around(prefix: 'driver.' | 'device.' | 'transport.'): Around {
    const { activity } = this.#surroundings.time;
    return (verb, proceed, args) =>
      this.through(async () => {
        const call = async (others = args) => (prefix === 'transport.' ? proceed(others) : activity.track(() => proceed(others)));
        return this.probe.verb ? this.probe.verb(`${prefix}${verb}`, call, args) : call();
      });
  }

  /** Programs of a dead process fail, so that whoever called them comes to an end; what they did is done. */
  #exec(exec: Exec): Exec {
    const refuseDead = () => {
      if (this.dead) throw new Killed();
    };
    return {
      run: async (command) => {
        refuseDead();
        let result: CommandResult | undefined;
        const proceed = async () => (result = await exec.run(command));
        await (this.probe.verb?.(`program.${programOf(command)}`, proceed, [command]) ?? proceed());
        refuseDead();
        if (!result) throw new Error(`${programOf(command)} was not run`);
        return result;
      },
      lines: async function* (command) {
        for await (const line of exec.lines(command)) {
          refuseDead();
          yield line;
        }
      },
    };
  }

  #driver(plugin: Plugin<'driver'>): Plugin<'driver'> {
    return definePlugin({
      name: plugin.name,
      kind: 'driver',
      api: plugin.api,
      config: plugin.config,
      capabilities: plugin.capabilities,
      locates: plugin.locates,
      devices: Object.fromEntries(
        Object.entries({ path: openPathDevice, ...plugin.devices }).map(([kind, open]) => [kind, this.#opener(open)]),
      ),
      create: (context) => {
        const driver: AnyVolumeDriver = plugin.create(context);
        const around = this.#around('driver.');
        return intercepted(driver, (verb, proceed, args) =>
          driverStreams.has(verb) ? streamed(proceed(), this.#surroundings.time.activity) : around(verb, proceed, args),
        );
      },
    });
  }

  #opener(open: DeviceOpener): DeviceOpener {
    const { activity } = this.#surroundings.time;
    const around = this.#around('device.');
    return (locator, options) =>
      this.through(async (): Promise<BlockDevice> => {
        const device = await activity.track(() => open(locator, options));
        this.#devices.add(device);
        return intercepted(device, (verb, proceed, args) => {
          if (verb === 'close') this.#devices.delete(device);
          if (verb === 'allocatedExtents') return streamed(proceed(), activity);
          return deviceVerbs.has(verb) ? around(verb, proceed, args) : this.through(() => activity.track(() => proceed()));
        });
      });
  }

  #transport(target: Transport): Transport {
    const around = this.#around('transport.');
    return intercepted(target, (verb, proceed, args) => (verb === 'connectionInfo' ? proceed() : around(verb, proceed, args)));
  }
}
