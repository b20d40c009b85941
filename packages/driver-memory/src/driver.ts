import {
  ScoriaError,
  type BackendIdentity,
  type BackendObject,
  type CloneSupport,
  type Created,
  type CreatedCopy,
  type CreateFromSnapshotSupport,
  type DeviceLocator,
  type Extent,
  type ExtentSupport,
  type ListedObject,
  type ManageableObject,
  type ManageSupport,
  type PluginCall,
  type PoolReport,
  type RevertSupport,
  type ShrinkSupport,
  type VolumeDriver,
} from '@scoria/core';
import { MemoryObject, type MemoryBackend, type MemoryPool } from './memory-backend.ts';

/** Kind of the locators of this driver. Their path is `<backendId>/<placementId>`. */
export const locatorKind = 'memory';

/** Keeps volumes in a {@link MemoryBackend}. Copies and reverts are instant: they share chunks until one is written. */
export class MemoryDriver
  implements VolumeDriver, CloneSupport, CreateFromSnapshotSupport, RevertSupport, ShrinkSupport, ManageSupport, ExtentSupport
{
  readonly #backend: MemoryBackend;
  readonly #installationId: string;

  constructor(backend: MemoryBackend, installationId: string) {
    this.#backend = backend;
    this.#installationId = installationId;
  }

  async check(call: PluginCall): Promise<BackendIdentity> {
    call.signal.throwIfAborted();
    this.#backend.installationId ??= this.#installationId;
    if (this.#backend.installationId !== this.#installationId) {
      throw new ScoriaError(
        'foreign-backend',
        `Memory backend ${this.#backend.backendId} belongs to installation ${this.#backend.installationId}`,
      );
    }
    return { backendId: this.#backend.backendId };
  }

  async pools(call: PluginCall): Promise<readonly PoolReport[]> {
    call.signal.throwIfAborted();
    return Array.from(this.#backend.pools.values(), ({ options, free }) => ({
      ...options,
      free,
      maxOverSubscription: options.thin ? options.maxOverSubscription : 1,
      instantCopies: true,
      capabilities: {},
    }));
  }

  async create(request: BackendObject, call: PluginCall): Promise<Created> {
    return this.#make('volume', request, call).created;
  }

  async delete(volume: BackendObject, call: PluginCall): Promise<void> {
    this.#remove('volume', volume, call);
  }

  async extend(volume: BackendObject, size: number, call: PluginCall): Promise<{ readonly size: number }> {
    call.signal.throwIfAborted();
    const object = this.#find(volume);
    const wanted = this.#wholeBlocks(size);
    if (wanted > object.size) object.grow(wanted);
    return { size: object.size };
  }

  async createSnapshot(snapshot: BackendObject, volume: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    return this.#copy('snapshot', snapshot, volume, call);
  }

  async deleteSnapshot(snapshot: BackendObject, call: PluginCall): Promise<void> {
    this.#remove('snapshot', snapshot, call);
  }

  async clone(target: BackendObject, source: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    return this.#copy('volume', target, source, call);
  }

  async createFromSnapshot(target: BackendObject, snapshot: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    return this.#copy('volume', target, snapshot, call);
  }

  async revert(volume: BackendObject, snapshot: BackendObject, call: PluginCall): Promise<{ readonly done: boolean }> {
    call.signal.throwIfAborted();
    const [to, from] = [this.#find(volume), this.#find(snapshot)];
    if (to.pool !== from.pool) return { done: false };
    to.share(from);
    return { done: true };
  }

  async shrink(volume: BackendObject, size: number, call: PluginCall): Promise<{ readonly size: number }> {
    call.signal.throwIfAborted();
    const object = this.#find(volume);
    const wanted = this.#wholeBlocks(size);
    if (wanted < object.size) object.shrink(wanted);
    return { size: object.size };
  }

  async *listManageable(call: PluginCall): AsyncGenerator<ManageableObject> {
    for (const [reference, { pool, size }] of this.#backend.foreign) {
      call.signal.throwIfAborted();
      yield { reference, pool: pool.options.name, size, placementId: null, refusal: null };
    }
    for (const { kind, placementId, pool, size } of this.#backend.objects.values()) {
      call.signal.throwIfAborted();
      if (kind !== 'volume') continue;
      yield { reference: placementId, pool: pool.options.name, size, placementId, refusal: 'It is managed already.' };
    }
  }

  async manage(target: BackendObject, reference: string, call: PluginCall): Promise<Created> {
    call.signal.throwIfAborted();
    const { objects, foreign, backendId } = this.#backend;
    const { placementId } = target;
    const done = objects.get(placementId);
    if (done) return { backendRef: placementId, size: done.size };
    if (objects.has(reference)) throw new ScoriaError('conflict', `Volume ${reference} of ${backendId} is managed already`);
    const found = foreign.get(reference);
    if (!found) throw new ScoriaError('not-found', `Memory backend ${backendId} has no volume ${reference} to take over`);
    if (found.pool.options.name !== target.pool) {
      throw new ScoriaError('not-found', `Volume ${reference} lies in pool ${found.pool.options.name}, not ${target.pool}`);
    }
    foreign.delete(reference);
    found.rename(placementId);
    objects.set(placementId, found);
    return { backendRef: placementId, size: found.size };
  }

  async unmanage(volume: BackendObject, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    const { objects, foreign } = this.#backend;
    const found = objects.get(volume.placementId);
    if (!found) return;
    objects.delete(volume.placementId);
    foreign.set(volume.placementId, found);
  }

  async *allocatedExtents(object: BackendObject, call: PluginCall): AsyncGenerator<Extent> {
    call.signal.throwIfAborted();
    const found = this.#find(object);
    yield* found.allocated(0, found.size);
  }

  async *changedExtents(from: BackendObject, to: BackendObject, call: PluginCall): AsyncGenerator<Extent> {
    call.signal.throwIfAborted();
    const [before, after] = [this.#find(from), this.#find(to)];
    if (before.origin === undefined || before.origin !== after.origin) {
      throw new ScoriaError('not-supported', `${from.placementId} and ${to.placementId} are not snapshots of one volume`);
    }
    yield* before.differing(after);
  }

  async *list(call: PluginCall): AsyncGenerator<ListedObject> {
    for (const object of this.#backend.objects.values()) {
      call.signal.throwIfAborted();
      const { kind, placementId, size, usedBytes } = object;
      yield { placementId, kind, pool: object.pool.options.name, backendRef: placementId, size, usedBytes };
    }
  }

  async locate(object: BackendObject, call: PluginCall): Promise<DeviceLocator> {
    call.signal.throwIfAborted();
    const { placementId } = this.#find(object);
    return { kind: locatorKind, path: `${this.#backend.backendId}/${placementId}`, blockSize: this.#backend.blockSize };
  }

  #pool(name: string): MemoryPool {
    const pool = this.#backend.pools.get(name);
    if (!pool) throw new ScoriaError('backend-failed', `Memory backend ${this.#backend.backendId} has no pool ${name}`);
    return pool;
  }

  #find(object: BackendObject): MemoryObject {
    const found = this.#backend.objects.get(object.backendRef ?? object.placementId);
    if (!found) {
      throw new ScoriaError('backend-object-missing', `Memory backend ${this.#backend.backendId} has no ${object.placementId}`);
    }
    return found;
  }

  #wholeBlocks(size: number): number {
    return Math.ceil(size / this.#backend.blockSize) * this.#backend.blockSize;
  }

  #make(kind: MemoryObject['kind'], request: BackendObject, call: PluginCall, source?: MemoryObject) {
    call.signal.throwIfAborted();
    const { placementId } = request;
    const size = this.#wholeBlocks(request.size);
    const found = this.#backend.objects.get(placementId);
    if (found && (found.kind !== kind || found.size < size)) {
      throw new ScoriaError('conflict', `Placement ${placementId} is a ${found.kind} of ${found.size} bytes already`);
    }
    const object =
      found ??
      new MemoryObject(
        { kind, placementId, size, origin: kind === 'snapshot' ? source?.placementId : undefined },
        this.#pool(request.pool),
      );
    const filled = source !== undefined && source.pool === object.pool;
    if (!found) {
      if (filled) object.share(source);
      this.#backend.objects.set(placementId, object);
    }
    return { created: { backendRef: placementId, size: object.size }, filled };
  }

  #copy(kind: MemoryObject['kind'], target: BackendObject, source: BackendObject, call: PluginCall): CreatedCopy {
    const { created, filled } = this.#make(kind, target, call, this.#find(source));
    return { ...created, filled };
  }

  #remove(kind: MemoryObject['kind'], object: BackendObject, call: PluginCall): void {
    call.signal.throwIfAborted();
    const found = this.#backend.objects.get(object.backendRef ?? object.placementId);
    if (!found) return;
    if (found.kind !== kind)
      throw new ScoriaError('conflict', `Placement ${found.placementId} is a ${found.kind}, not a ${kind}`);
    found.remove();
    this.#backend.objects.delete(found.placementId);
  }
}
