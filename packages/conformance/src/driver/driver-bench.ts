import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import {
  copyDevice,
  systemClock,
  systemRandom,
  withDeadline,
  type AnyVolumeDriver,
  type BackendObject,
  type BlockDevice,
  type CreatedCopy,
  type ListedObject,
  type PluginCall,
  type PoolReport,
} from '@scoria/core';
import { guardedDriver } from '../guarded.ts';
import { textOf } from '../recording-log.ts';
import type { DriverUnderTest } from './driver-under-test.ts';

/** Size of the volumes of the suite, bytes. A multiple of every usual extent size. */
export const volumeSize = 8 * 1024 * 1024;

/** A call without anything special. */
export const plainCall: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

/** A call that is aborted already. */
export function abortedCall(): PluginCall {
  return { ...plainCall, signal: AbortSignal.abort(new Error('aborted by the conformance suite')) };
}

/** The driver of one check with what the check has opened. */
export class DriverBench {
  /** How long a verb may go on after its abort, milliseconds. */
  readonly soon: number;
  readonly #given: DriverUnderTest;
  readonly #open = new Set<BlockDevice>();
  readonly #requested: BackendObject[] = [];
  #driver: AnyVolumeDriver;
  #pool: PoolReport | undefined;

  constructor(given: DriverUnderTest, soon = 5_000) {
    this.#given = given;
    this.#driver = given.driver;
    this.soon = soon;
  }

  get driver(): AnyVolumeDriver {
    return this.#driver;
  }

  /** The pool that the tests use: the first. */
  get pool(): PoolReport {
    assert(this.#pool, 'the driver reports no pool');
    return this.#pool;
  }

  async start(): Promise<void> {
    await this.#driver.check(plainCall);
    this.#pool = (await this.#driver.pools(plainCall))[0];
  }

  async restart(): Promise<void> {
    await this.closeAll();
    this.#driver = await this.#given.restart();
    await this.#driver.check(plainCall);
  }

  /** A driver of another installation over the same backend. */
  async foreign(): Promise<AnyVolumeDriver> {
    return this.#given.restart(systemRandom.uuid());
  }

  /** The driver behind core's guard, as core calls it. */
  guarded(): AnyVolumeDriver {
    return guardedDriver(this.#driver);
  }

  /** Fails when a secret of the configuration stands in the log or in a text. */
  assertNoSecret(what: string, value: unknown): void {
    const text = typeof value === 'string' ? value : textOf(value);
    for (const secret of this.#given.secrets ?? []) assert(!text.includes(secret), `${what} tells a secret of the configuration`);
  }

  /** What the driver has logged. */
  get logged(): readonly string[] {
    return this.#given.log?.lines ?? [];
  }

  /** A request for something that does not exist yet. */
  request(size = volumeSize): BackendObject {
    const request = { placementId: systemRandom.uuid(), pool: this.pool.name, backendRef: null, size };
    this.#requested.push(request);
    return request;
  }

  /** Makes a volume. */
  async volume(size = volumeSize): Promise<BackendObject> {
    const request = this.request(size);
    return recorded(request, await this.#driver.create(request, plainCall));
  }

  /** Makes a snapshot, filling it the way core does where the driver does not. */
  async snapshot(volume: BackendObject): Promise<BackendObject> {
    const request = this.request(volume.size);
    return this.filled(request, await this.#driver.createSnapshot(request, volume, plainCall), volume);
  }

  /** What core does after a driver's copy. */
  async filled(request: BackendObject, made: CreatedCopy, source: BackendObject): Promise<BackendObject> {
    const copy = recorded(request, made);
    if (!made.filled) await this.copy(source, copy);
    return copy;
  }

  /** Copies through block devices. */
  async copy(source: BackendObject, target: BackendObject): Promise<void> {
    const [from, to] = [await this.open(source, true), await this.open(target)];
    await copyDevice(from, to, { signal: plainCall.signal, progress: () => {} });
    await this.close(from, to);
  }

  /** Opens an object; what a test leaves open is closed at its end. */
  async open(object: BackendObject, readOnly = false): Promise<BlockDevice> {
    const locator = await this.#driver.locate(object, plainCall);
    const opener = this.#given.devices[locator.kind];
    assert(opener, `there is no opener for locators of kind ${locator.kind}`);
    const device = await opener(locator, { readOnly });
    this.#open.add(device);
    return device;
  }

  /** Opens an object for the time of some work. */
  async using<T>(object: BackendObject, work: (device: BlockDevice) => Promise<T>): Promise<T> {
    const device = await this.open(object);
    try {
      return await work(device);
    } finally {
      await this.close(device);
    }
  }

  async close(...devices: BlockDevice[]): Promise<void> {
    for (const device of devices) {
      await device.close();
      this.#open.delete(device);
    }
  }

  async closeAll(): Promise<void> {
    await this.close(...this.#open);
  }

  async list(): Promise<ListedObject[]> {
    const found: ListedObject[] = [];
    for await (const object of this.#driver.list(plainCall)) found.push(object);
    return found;
  }

  /** What the backend lists for an object, `undefined` when it does not. */
  async listed(object: BackendObject): Promise<ListedObject | undefined> {
    const found = (await this.list()).filter(({ placementId }) => placementId === object.placementId);
    assert(found.length <= 1, `list gives ${object.placementId} ${found.length} times`);
    return found[0];
  }

  /** Present capacities of the pool that the tests use. */
  async capacities(): Promise<PoolReport> {
    const pool = (await this.#driver.pools(plainCall)).find(({ name }) => name === this.pool.name);
    assert(pool, `pool ${this.pool.name} is not reported any more`);
    return pool;
  }

  /**
   * Starts a verb, aborts it after some turns, and waits for its end, whatever that is; fails when it does not end soon.
   *
   * @param turns - of the thread pool: after the first the verb's first steps have been taken, the last not yet.
   */
  async interrupt(start: (call: PluginCall) => Promise<unknown>, turns = 1): Promise<void> {
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

  async end(): Promise<void> {
    try {
      await this.closeAll();
      if (this.#given.sweep) await this.#sweep();
    } finally {
      await this.#given.cleanup();
    }
  }

  /** Deletes what the check asked for, and nothing else, from a backend that outlives it. */
  async #sweep(): Promise<void> {
    const mine = new Map(this.#requested.map((request) => [request.placementId, request]));
    for (const kind of ['volume', 'snapshot', 'volume'] as const) {
      for (const { kind: found, placementId, backendRef, size, pool } of await this.list()) {
        if (found !== kind || !mine.has(placementId)) continue;
        const object = { placementId, backendRef, size, pool };
        await (kind === 'volume' ? this.#driver.delete(object, plainCall) : this.#driver.deleteSnapshot(object, plainCall)).catch(
          () => {},
        );
      }
    }
  }
}

/** An object as core gives it back after its creation was recorded. */
export function recorded(request: BackendObject, made: { readonly backendRef: string; readonly size: number }): BackendObject {
  assert(made.backendRef.length > 0 && made.backendRef.length <= 1024, 'a backendRef has 1 to 1,024 characters');
  assert(made.size >= request.size, `${request.size} bytes were asked for, only ${made.size} made`);
  return { ...request, backendRef: made.backendRef, size: made.size };
}
