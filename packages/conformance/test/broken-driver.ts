import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { startDriver, type DriverUnderTest } from '@scoria/conformance';
import {
  deviceLocatorSchema,
  ScoriaError,
  systemRandom,
  type BackendObject,
  type BlockDevice,
  type CloneSupport,
  type CreateFromSnapshotSupport,
  type ExtentSupport,
  type ManageSupport,
  type Plugin,
  type PluginCall,
  type PluginContext,
  type RevertSupport,
  type ShrinkSupport,
  type VolumeDriver,
} from '@scoria/core';
import { MemoryBackend, memoryDriver, MemoryDriver, type MemoryObject, type MemoryPoolOptions } from '@scoria/driver-memory';

/** A driver with every optional group. */
export type FullDriver = VolumeDriver &
  CloneSupport &
  CreateFromSnapshotSupport &
  RevertSupport &
  ShrinkSupport &
  ManageSupport &
  ExtentSupport;

/** What surrounds a broken driver. A new driver over the same backend gets a new one, as after a restart. */
export interface Surroundings {
  readonly backend: MemoryBackend;
  readonly context: PluginContext<unknown>;
  /** The object behind an id, straight on the backend. */
  at(object: BackendObject): MemoryObject | undefined;
}

/** A driver that breaks one line of the contract, and the checks that must say so. */
export interface BrokenDriver {
  readonly name: string;
  /** Ids; the first is the one that quotes the broken line. */
  readonly caughtBy: readonly [string, ...string[]];
  /** Over a thick pool. Default: a thin one. */
  readonly thick?: true;
  readonly pools?: readonly string[];
  readonly config?: Readonly<Record<string, string>>;
  /** Verbs that take the place of the sound ones. */
  wrap?(sound: FullDriver, surroundings: Surroundings): Partial<FullDriver>;
  /** Methods that take the place of those of each device. */
  device?(sound: BlockDevice): Partial<BlockDevice>;
  /** Devices are opened for writing whatever is asked. */
  readonly opensForWriting?: true;
}

/** A signal that is never aborted, whatever the caller does. */
export const deaf = (call: PluginCall): PluginCall => ({ ...call, signal: new AbortController().signal });

/** Lets some turns of the thread pool go by. */
export async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn++) await stat(tmpdir());
}

/** What a verb throws that finds an object missing. */
export const missing = (object: BackendObject): ScoriaError =>
  new ScoriaError('backend-object-missing', `There is no ${object.placementId}`);

/** The content of an object of a memory backend. */
export function contentOf(object: MemoryObject): Uint8Array {
  const content = new Uint8Array(object.size);
  object.read(content, 0);
  return content;
}

/** All verbs of a driver as an object of their own. */
function verbsOf(driver: FullDriver): FullDriver {
  return {
    check: (call) => driver.check(call),
    pools: (call) => driver.pools(call),
    create: (request, call) => driver.create(request, call),
    delete: (volume, call) => driver.delete(volume, call),
    extend: (volume, size, call) => driver.extend(volume, size, call),
    createSnapshot: (snapshot, volume, call) => driver.createSnapshot(snapshot, volume, call),
    deleteSnapshot: (snapshot, call) => driver.deleteSnapshot(snapshot, call),
    list: (call) => driver.list(call),
    locate: (object, call) => driver.locate(object, call),
    clone: (target, source, call) => driver.clone(target, source, call),
    createFromSnapshot: (target, snapshot, call) => driver.createFromSnapshot(target, snapshot, call),
    revert: (volume, snapshot, call) => driver.revert(volume, snapshot, call),
    shrink: (volume, size, call) => driver.shrink(volume, size, call),
    listManageable: (call) => driver.listManageable(call),
    manage: (target, reference, call) => driver.manage(target, reference, call),
    unmanage: (volume, call) => driver.unmanage(volume, call),
    allocatedExtents: (object, call) => driver.allocatedExtents(object, call),
    changedExtents: (from, to, call) => driver.changedExtents(from, to, call),
  };
}

/** All methods of a device as an object of their own. */
function methodsOf(device: BlockDevice): BlockDevice {
  return {
    get size() {
      return device.size;
    },
    blockSize: device.blockSize,
    readOnly: device.readOnly,
    read: (into, offset) => device.read(into, offset),
    write: (data, offset, options) => device.write(data, offset, options),
    writeZeroes: (offset, length, options) => device.writeZeroes(offset, length, options),
    discard: (offset, length) => device.discard(offset, length),
    flush: () => device.flush(),
    allocatedExtents: (offset, length) => device.allocatedExtents(offset, length),
    refreshSize: () => device.refreshSize(),
    close: () => device.close(),
  };
}

/** The plug-in of a broken driver over a new backend. */
export function brokenPlugin(broken: BrokenDriver): Plugin<'driver'> {
  const shape: MemoryPoolOptions = {
    name: 'pool',
    total: 2 ** 30,
    thin: !broken.thick,
    maxOverSubscription: 10,
    reserved: 0,
  };
  const pools = (broken.pools ?? [shape.name]).map((name) => ({ ...shape, name }));
  const backend = new MemoryBackend({ backendId: systemRandom.uuid(), pools });
  const sound = memoryDriver({ backend });
  const [kind, open] = Object.entries(sound.devices)[0] ?? [];
  if (kind === undefined || !open) throw new Error('driver-memory brings no opener');
  return {
    ...sound,
    config: deviceLocatorSchema.pick({}).loose(),
    create: (context) => {
      sound.create({ ...context, config: {} });
      const verbs = verbsOf(new MemoryDriver(backend, context.installationId));
      const at = (object: BackendObject) => backend.objects.get(object.placementId);
      return { ...verbs, ...broken.wrap?.(verbs, { backend, context, at }) };
    },
    devices: {
      [kind]: async (locator, options) => {
        const device = await open(locator, broken.opensForWriting ? { readOnly: false } : options);
        return broken.device
          ? Object.defineProperties(methodsOf(device), Object.getOwnPropertyDescriptors(broken.device(device)))
          : device;
      },
    },
  };
}

/** A broken driver as the suite takes it. */
export function startBroken(broken: BrokenDriver): Promise<DriverUnderTest> {
  return startDriver(brokenPlugin(broken), broken.config);
}
