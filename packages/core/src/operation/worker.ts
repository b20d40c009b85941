import { ScoriaError } from '../error/scoria-error.ts';
import type { Bus } from '../bus/bus.ts';
import type { Outbox } from '../event/outbox.ts';
import type { Backends } from '../placement/backends.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { Random } from '../platform/random.ts';
import type { WorkerSettings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Store } from '../store/store.ts';
import { BackendSlots } from './backend-slots.ts';
import { Execution, LeaseLost, type Lease, Shutdown } from './execution.ts';
import type { WorkerScope } from './operation-repository.ts';
import type { OperationServices } from './services.ts';

/**
 * Finds operations that this process may work on, takes their leases and executes them. Wake-ups of the bus make it
 * quick; a sweep of the store finds what they missed and what a dead worker left behind.
 */
@wired(
  tokens.Store,
  tokens.Outbox,
  tokens.Bus,
  tokens.Clock,
  tokens.Random,
  tokens.Log,
  tokens.OperationServices,
  tokens.Backends,
  tokens.WorkerSettings,
)
export class OperationWorker {
  readonly #store: Store;
  readonly #outbox: Outbox;
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #services: OperationServices;
  readonly #backends: Backends;
  readonly #settings: WorkerSettings;
  readonly #owner: string;
  /** Every operation of which a step is under way here, also one whose lease was lost: it is not taken again before it settles. */
  readonly #running = new Map<string, { readonly lease: Lease; readonly settled: Promise<void> }>();
  readonly #waiting = new Set<string>();
  readonly #slots = new BackendSlots(() => this.#share());
  readonly #subscriptions: Disposable[] = [];
  #timer: Disposable | null = null;
  #stopped = true;

  constructor(
    store: Store,
    outbox: Outbox,
    bus: Bus,
    clock: Clock,
    random: Random,
    log: Log,
    services: OperationServices,
    backends: Backends,
    settings: WorkerSettings,
  ) {
    this.#store = store;
    this.#outbox = outbox;
    this.#bus = bus;
    this.#clock = clock;
    this.#log = log;
    this.#services = services;
    this.#backends = backends;
    this.#settings = settings;
    this.#owner = random.uuid();
  }

  async start(): Promise<void> {
    this.#stopped = false;
    if (this.#settings.alone) await this.#outbox.transaction(({ operations }) => operations.endLeases());
    this.#subscriptions.push(
      this.#bus.subscribe('operation', ({ operationId }) => this.#wake(operationId)),
      this.#bus.subscribe('cancel', ({ operationId }) => {
        const running = this.#running.get(operationId);
        if (running) running.lease.cancel();
        else this.#wake(operationId);
      }),
    );
    this.#sweep();
  }

  /**
   * Takes nothing new, gives what runs a moment to end, then interrupts it. What is interrupted goes on with the next
   * worker, where the journal ends.
   */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.[Symbol.dispose]();
    for (const subscription of this.#subscriptions.splice(0)) subscription[Symbol.dispose]();
    const all = () => Promise.all([...this.#running.values()].map(({ settled }) => settled));
    await Promise.race([all(), this.#clock.sleep(this.#settings.drain)]);
    for (const { lease } of this.#running.values()) lease.interrupt(new Shutdown());
    await all();
  }

  #wake(id: string): void {
    if (this.#stopped || this.#running.has(id)) return;
    if (this.#running.size >= this.#settings.concurrency) {
      this.#waiting.add(id);
      return;
    }
    const lease: Lease = { owner: this.#owner, cancel: () => {}, interrupt: () => {} };
    let full: string | null = null;
    const takeSlot = (backendId: string) => {
      const taken = this.#slots.take(id, backendId);
      if (!taken) full = backendId;
      return taken;
    };
    const settled = this.#execute(id, lease, takeSlot).finally(() => {
      this.#running.delete(id);
      this.#slots.release(id);
      if (full !== null) this.#slots.wait(id, full);
      for (const ready of this.#slots.ready()) this.#wake(ready);
      const next = this.#waiting.values().next();
      if (!next.done) {
        this.#waiting.delete(next.value);
        this.#wake(next.value);
      }
    });
    this.#running.set(id, { lease, settled });
  }

  async #execute(id: string, lease: Lease, takeSlot: (backendId: string) => boolean): Promise<void> {
    try {
      const execution = new Execution(id, lease, {
        outbox: this.#outbox,
        bus: this.#bus,
        clock: this.#clock,
        log: this.#log,
        services: this.#services,
        settings: this.#settings,
        scope: this.#scope(this.#backends.servedIds()),
        takeSlot,
      });
      await execution.run();
    } catch (error) {
      if (error instanceof LeaseLost || error instanceof Shutdown) return;
      // The sweep takes the operation up again.
      this.#log.error(
        { err: ScoriaError.from(error), operationId: id },
        'an operation could not be driven on; it is tried again',
      );
    }
  }

  #scope(backendIds: readonly string[]): WorkerScope {
    return { owner: this.#owner, roles: this.#settings.roles, backendIds };
  }

  /** The slots are divided evenly: however many backends hang, another one has its part. One that is alone has all. */
  #share(): number {
    return Math.max(1, Math.floor(this.#settings.concurrency / Math.max(1, this.#backends.servedIds().length)));
  }

  #sweep(): void {
    // What can only wait is not looked for: it would hide what comes after it.
    const backendIds = this.#backends.servedIds().filter((id) => this.#slots.hasRoom(id));
    this.#store.reading.operations
      .runnable(this.#scope(backendIds), this.#clock.now(), 1000)
      .then((ids) => ids.forEach((id) => this.#wake(id)))
      .catch((error: unknown) => this.#log.error({ err: error }, 'operations could not be looked for'))
      .finally(() => {
        if (!this.#stopped) this.#timer = this.#clock.timer(this.#settings.sweep, () => this.#sweep());
      });
  }
}
