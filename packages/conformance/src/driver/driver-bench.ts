import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import {
  copyDevice,
  systemRandom,
  type AnyVolumeDriver,
  type BackendObject,
  type BlockDevice,
  type CreatedCopy,
  type ListedObject,
  type PluginCall,
  type PoolReport,
} from '@scoria/core';
import type { DriverUnderTest } from './driver-under-test.ts';

/** Size of the volumes of the suite, bytes. A multiple of every usual extent size. */
export const volumeSize = 8 * 1024 * 1024;

/** A call without anything special. */
export const plainCall: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

/** A call that is aborted already. */
export function abortedCall(): PluginCall {
  return { ...plainCall, signal: AbortSignal.abort(new Error('aborted by the conformance suite')) };
}

/** The driver of one test with what the test has opened. */
export class DriverBench {
  readonly #given: DriverUnderTest;
  readonly #open = new Set<BlockDevice>();
  #driver: AnyVolumeDriver;
  #pool: PoolReport | undefined;

  constructor(given: DriverUnderTest) {
    this.#given = given;
    this.#driver = given.driver;
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

  /** A request for something that does not exist yet. */
  request(size = volumeSize): BackendObject {
    return { placementId: systemRandom.uuid(), pool: this.pool.name, backendRef: null, size };
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

  /** Starts a verb, aborts it soon after, and waits for its end, whatever that is. */
  async interrupt(start: (call: PluginCall) => Promise<unknown>): Promise<void> {
    const controller = new AbortController();
    const running = start({ ...plainCall, signal: controller.signal });
    const ended = running.then(
      () => {},
      () => {},
    );
    // A turn of the thread pool: the verb's first steps have been taken by then, the last not yet.
    await stat(tmpdir());
    controller.abort(new Error('aborted by the conformance suite'));
    await ended;
  }

  async end(): Promise<void> {
    try {
      await this.closeAll();
    } finally {
      await this.#given.cleanup();
    }
  }
}

/** An object as core gives it back after its creation was recorded. */
export function recorded(request: BackendObject, made: { readonly backendRef: string; readonly size: number }): BackendObject {
  assert(made.backendRef.length > 0 && made.backendRef.length <= 1024, 'a backendRef has 1 to 1,024 characters');
  assert(made.size >= request.size, `${request.size} bytes were asked for, only ${made.size} made`);
  return { ...request, backendRef: made.backendRef, size: made.size };
}
