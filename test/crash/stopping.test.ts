import { type BlockStorage, type Bus, type Clock, InProcessBus, type Store, systemClock, systemRandom } from '@scoria/core';
import { MemoryBackend } from '@scoria/driver-memory';
import { createSqliteStore } from '@scoria/store-sql';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { intercepted } from '../simulation/interception.ts';
import { caller, memoryInstance } from '../unit/instance.ts';
import { scriptedDriver, type Script, untilAborted } from '../unit/scripted-driver.ts';

const mib = 2 ** 20;
const alice = caller('alice');
const patience = 10_000;

/** A store whose transactions can be held up. */
class SlowStore implements Store {
  readonly #store = createSqliteStore({ path: ':memory:' });
  /** What the next transactions wait for. */
  held: Promise<void> = Promise.resolve();
  /** Called when a transaction is about to begin. */
  onTransaction: () => void = () => {};

  get reading() {
    return this.#store.reading;
  }
  open = () => this.#store.open();
  close = () => this.#store.close();
  installationId = () => this.#store.installationId();
  transaction: Store['transaction'] = async (work) => {
    this.onTransaction();
    await this.held;
    return this.#store.transaction(work);
  };
}

/** The machine's clock, and the timers that are still to go off. */
function watchedClock(): { readonly clock: Clock; readonly timers: ReadonlySet<unknown> } {
  const timers = new Set<unknown>();
  const clock: Clock = {
    ...systemClock,
    timer: (ms, fn) => {
      const mark = {};
      timers.add(mark);
      const timer = systemClock.timer(ms, () => {
        timers.delete(mark);
        fn();
      });
      return {
        [Symbol.dispose]: () => {
          timers.delete(mark);
          timer[Symbol.dispose]();
        },
      };
    },
  };
  return { clock, timers };
}

describe('an instance that stops', () => {
  let store: SlowStore;
  beforeEach(() => {
    store = new SlowStore();
  });
  const start = (script: Script, reportInterval: number, clock: Clock = systemClock): Promise<BlockStorage> => {
    const plugin = scriptedDriver(new MemoryBackend({ backendId: systemRandom.uuid() }), script);
    return memoryInstance({
      store,
      clock,
      plugins: { backends: { memory: { plugin } } },
      settings: { host: 'host', reportInterval },
      worker: { retryPauses: [1], sweep: 5, drain: 0 },
    });
  };

  it('begins nothing more for an operation whose step ends while it is interrupted', async () => {
    const verbs: string[] = [];
    const made = Promise.withResolvers<void>();
    const storage = await start(async (verb, _id, call) => {
      verbs.push(verb);
      if (verb === 'createFromSnapshot') {
        call.progress(1, 2);
        await made.promise;
      }
      if (verb === 'extend') await untilAborted(call);
    }, 60_000);
    const source = await storage.volumes.create(alice, { size: mib });
    await storage.operations.wait(source.operationId, patience);
    const snapshot = await storage.snapshots.create(alice, { volumeId: source.volume.id });
    await storage.operations.wait(snapshot.operationId, patience);
    await storage.volumes.create(alice, { snapshotId: snapshot.snapshot.id, size: 2 * mib });
    await vi.waitFor(() => expect(verbs).toContain('createFromSnapshot'));
    // The step ends while its progress is still being written.
    const slow = Promise.withResolvers<void>();
    const writing = Promise.withResolvers<void>();
    store.held = slow.promise;
    store.onTransaction = writing.resolve;
    await writing.promise;
    made.resolve();
    const stopped = storage.stop();
    await systemClock.sleep(20);
    store.held = Promise.resolve();
    slow.resolve();
    await stopped;
    expect(verbs).not.toContain('extend');
  });

  it('leaves no timer, whatever was under way', async () => {
    const { clock, timers } = watchedClock();
    const storage = await start(() => {}, 5, clock);
    const slow = Promise.withResolvers<void>();
    store.held = slow.promise;
    const waiting = vi.fn();
    store.onTransaction = waiting;
    await vi.waitFor(() => expect(waiting.mock.calls.length).toBeGreaterThan(1));
    const stopped = storage.stop();
    await systemClock.sleep(20);
    slow.resolve();
    await stopped;
    await systemClock.sleep(20);
    expect(timers.size).toBe(0);
  });
});

describe('events', () => {
  const storages: BlockStorage[] = [];
  afterEach(async () => {
    for (const storage of storages.splice(0)) await storage.stop();
  });

  it('reach every listener, also past one that throws', async () => {
    const storage = await memoryInstance();
    storages.push(storage);
    const heard: string[] = [];
    storage.events.subscribe(alice, () => {
      throw new Error('no');
    });
    storage.events.subscribe(alice, ({ name }) => void heard.push(name));
    const { operationId } = await storage.volumes.create(alice, { size: mib });
    await storage.operations.wait(operationId, patience);
    await vi.waitFor(() => expect(heard).toContain('operation.ended'));
    expect(heard.filter((name) => name === 'volume.changed')).toHaveLength(2);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])('are read when the call comes %i turns after the last look', async (turns) => {
    const store = createSqliteStore({ path: ':memory:' });
    const calls = new InProcessBus();
    let missing = false;
    const call = (left: number): void => (left === 0 ? calls.publish('events', {}) : queueMicrotask(() => call(left - 1)));
    const events = () =>
      intercepted(store.reading.events, async (verb, proceed) => {
        if (verb !== 'after' || !missing) return proceed();
        // It is written just now, and its call is on the way.
        missing = false;
        call(turns);
        return [];
      });
    const late: Store = {
      open: () => store.open(),
      close: () => store.close(),
      installationId: () => store.installationId(),
      transaction: (work) => store.transaction(work),
      get reading() {
        return { ...store.reading, events: events() };
      },
    };
    const bus: Bus = {
      publish: (topic, message) => {
        if (topic !== 'events') calls.publish(topic, message);
      },
      subscribe: (topic, listener) => calls.subscribe(topic, listener),
    };
    const storage = await memoryInstance({ store: late, bus });
    storages.push(storage);
    const heard: string[] = [];
    storage.events.subscribe(alice, ({ name }) => void heard.push(name));
    const { operationId } = await storage.volumes.create(alice, { size: mib });
    await vi.waitFor(async () => expect((await storage.operations.get(alice, operationId)).status).toBe('succeeded'));
    missing = true;
    call(0);
    await vi.waitFor(() => expect(heard).toContain('operation.ended'), { timeout: 1_000 });
  });
});
