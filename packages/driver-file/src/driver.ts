import { mkdir, open, rm, statfs, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  ScoriaError,
  type BackendIdentity,
  type BackendObject,
  type CloneSupport,
  type Created,
  type CreatedCopy,
  type CreateFromSnapshotSupport,
  type DeviceLocator,
  type ListedObject,
  type ManageableObject,
  type ManageSupport,
  type PluginCall,
  type PoolReport,
  type Random,
  type RevertSupport,
  type ShrinkSupport,
  type VolumeDriver,
} from '@scoria/core';
import { fileError, reflinkDurably, statIfThere, syncDirectory, writeDurably } from './durable-file.ts';
import { ImportFolder } from './import-folder.ts';
import { createMarker, readMarker } from './marker.ts';
import { isOwnReference, isPlacementId, namesIn, ObjectFiles, referenceOf, temporaryPrefix, type Kind } from './object-files.ts';
import { canReflink } from './reflink.ts';
import { freeInPieces, growThick, reserveWhole } from './space.ts';

/** What a {@link FileDriver} is made of. */
export interface FileDriverOptions {
  /** Absolute path. */
  readonly directory: string;
  readonly pool: string;
  readonly blockSize: 512 | 4096;
  readonly provisioning: 'thin' | 'thick';
  readonly maxOverSubscription: number;
  /** Share of the file system that is never promised, 0 to 1. */
  readonly reserved: number;
  readonly installationId: string;
  readonly random: Random;
}

/**
 * Keeps each volume and snapshot as a file: `volumes/<placementId>`, `snapshots/<placementId>`. A file has its name only
 * when it is complete. Where the file system can share blocks, copies do; elsewhere core fills them. Files in `import/`
 * can become volumes.
 */
export class FileDriver
  implements VolumeDriver, CloneSupport, CreateFromSnapshotSupport, RevertSupport, ShrinkSupport, ManageSupport
{
  readonly #options: FileDriverOptions;
  readonly #files: ObjectFiles;
  readonly #imports: ImportFolder;
  /** Paths of temporary files of calls under way. */
  readonly #making = new Set<string>();
  #backendId: string | undefined;
  #reflink: Promise<boolean> | undefined;

  constructor(options: FileDriverOptions) {
    this.#options = options;
    this.#files = new ObjectFiles(options.directory);
    this.#imports = new ImportFolder(options);
  }

  async check(call: PluginCall): Promise<BackendIdentity> {
    const { directory, installationId, blockSize, random } = this.#options;
    call.signal.throwIfAborted();
    try {
      const marker = (await readMarker(directory)) ?? (await this.#adopt());
      if (marker.installationId !== installationId) {
        throw new ScoriaError('foreign-backend', `Directory ${directory} belongs to installation ${marker.installationId}`);
      }
      if (marker.blockSize !== blockSize) {
        throw new ScoriaError(
          'invalid-configuration',
          `Directory ${directory} holds volumes with blocks of ${marker.blockSize} bytes`,
          {
            remedy: `Set "blockSize" of the backend to ${marker.blockSize}, or give it an empty directory.`,
          },
        );
      }
      this.#backendId ??= marker.backendId;
      if (marker.backendId !== this.#backendId) throw this.#unmounted();
      for (const kind of ['volume', 'snapshot'] as const) {
        await mkdir(this.#files.folder(kind), { recursive: true, mode: 0o700 });
        await this.#removeLeftovers(kind);
      }
      await this.#imports.make();
      await syncDirectory(directory);
      await this.#canReflink(random);
      return { backendId: marker.backendId };
    } catch (error) {
      throw fileError('use the directory', directory, error);
    }
  }

  async pools(call: PluginCall): Promise<readonly PoolReport[]> {
    call.signal.throwIfAborted();
    const { directory, pool, provisioning, reserved, maxOverSubscription } = this.#options;
    try {
      const { blocks, bavail, bsize } = await statfs(directory);
      const thin = provisioning === 'thin';
      const figures = { total: blocks * bsize, free: bavail * bsize };
      const instantCopies = await this.#canReflink(this.#options.random);
      return [
        {
          name: pool,
          ...figures,
          thin,
          maxOverSubscription: thin ? maxOverSubscription : 1,
          reserved,
          instantCopies,
          capabilities: {},
        },
      ];
    } catch (error) {
      throw fileError('look at the file system of', directory, error);
    }
  }

  async create(request: BackendObject, call: PluginCall): Promise<Created> {
    return this.#make('volume', request, call);
  }

  async delete(volume: BackendObject, call: PluginCall): Promise<void> {
    await this.#remove('volume', volume, call);
  }

  async extend(volume: BackendObject, size: number, call: PluginCall): Promise<{ readonly size: number }> {
    return this.#resize('extend', volume, call, async (file, present) => {
      const wanted = this.#wholeBlocks(size);
      if (wanted > present) await this.#grow(file, present, wanted);
    });
  }

  async shrink(volume: BackendObject, size: number, call: PluginCall): Promise<{ readonly size: number }> {
    return this.#resize('shrink', volume, call, async (file, present) => {
      const wanted = this.#wholeBlocks(size);
      if (wanted < present) await file.truncate(wanted);
    });
  }

  async createSnapshot(snapshot: BackendObject, volume: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    return this.#copy('snapshot', snapshot, volume, call);
  }

  async deleteSnapshot(snapshot: BackendObject, call: PluginCall): Promise<void> {
    await this.#remove('snapshot', snapshot, call);
  }

  async clone(target: BackendObject, source: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    return this.#copy('volume', target, source, call);
  }

  async createFromSnapshot(target: BackendObject, snapshot: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    return this.#copy('volume', target, snapshot, call);
  }

  async revert(volume: BackendObject, snapshot: BackendObject, call: PluginCall): Promise<{ readonly done: boolean }> {
    call.signal.throwIfAborted();
    const [to, from] = [await this.#files.find(volume), await this.#files.find(snapshot)];
    if (!(await this.#canReflink(this.#options.random))) return { done: false };
    try {
      const size = (await statIfThere(to))?.size ?? volume.size;
      const temporary = this.#files.temporary('volume', volume.placementId);
      await this.#whileMaking(temporary, () => reflinkDurably(from, to, temporary, (file) => file.truncate(size)));
      return { done: true };
    } catch (error) {
      throw fileError('revert', to, error);
    }
  }

  async *listManageable(call: PluginCall): AsyncGenerator<ManageableObject> {
    yield* this.#imports.list(call);
    for await (const { kind, backendRef, pool, size, placementId } of this.list(call)) {
      if (kind === 'volume') yield { reference: backendRef, pool, size, placementId, refusal: 'It is managed already.' };
    }
  }

  async manage(target: BackendObject, reference: string, call: PluginCall): Promise<Created> {
    call.signal.throwIfAborted();
    const { placementId } = target;
    const path = this.#files.path('volume', placementId);
    const backendRef = referenceOf('volume', placementId);
    try {
      const present = await this.#present(path, 0);
      if (present !== undefined) return { backendRef, size: present };
      if (isOwnReference(reference)) throw new ScoriaError('conflict', `${reference} is managed already`);
      const thick = this.#options.provisioning === 'thick';
      const size = await this.#imports.take(reference, path, async (file, bytes) => {
        if (thick) await reserveWhole(file, bytes);
      });
      return { backendRef, size };
    } catch (error) {
      throw fileError('take over', reference, error);
    }
  }

  async unmanage(volume: BackendObject, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    const path = this.#files.path('volume', volume.placementId);
    try {
      await this.#imports.putBack(path, volume.placementId);
    } catch (error) {
      throw fileError('let go of', path, error);
    }
  }

  async *list(call: PluginCall): AsyncGenerator<ListedObject> {
    for (const kind of ['volume', 'snapshot'] as const) {
      const folder = this.#files.folder(kind);
      for await (const name of namesIn(folder)) {
        call.signal.throwIfAborted();
        if (!isPlacementId(name)) continue;
        const found = await statIfThere(join(folder, name)).catch((error: unknown) => {
          throw fileError('look at', join(folder, name), error);
        });
        if (!found?.isFile()) continue;
        const backendRef = referenceOf(kind, name);
        const { size, blocks } = found;
        // stat(2) counts in units of 512 bytes whatever the file system's block size.
        yield { placementId: name, kind, pool: this.#options.pool, backendRef, size, usedBytes: blocks * 512 };
      }
    }
  }

  async locate(object: BackendObject, call: PluginCall): Promise<DeviceLocator> {
    call.signal.throwIfAborted();
    return { kind: 'path', path: await this.#files.find(object), blockSize: this.#options.blockSize };
  }

  /** Marks a directory that has no marker yet. */
  async #adopt() {
    const { directory, random } = this.#options;
    if (this.#backendId !== undefined) throw this.#unmounted();
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const kind of ['volume', 'snapshot'] as const) {
      for await (const name of namesIn(this.#files.folder(kind))) {
        throw new ScoriaError('foreign-backend', `Directory ${directory} has no marker but holds ${referenceOf(kind, name)}`, {
          remedy: 'Restore the marker file, or point the backend at an empty directory.',
        });
      }
    }
    const marker = await createMarker(directory, this.#options, random);
    await syncDirectory(dirname(directory));
    return marker;
  }

  #unmounted(): ScoriaError {
    return new ScoriaError(
      'backend-unavailable',
      `Directory ${this.#options.directory} is not backend ${this.#backendId} any more`,
      {
        remedy: 'Mount the file system that holds the volumes.',
      },
    );
  }

  async #removeLeftovers(kind: Kind): Promise<void> {
    const folder = this.#files.folder(kind);
    for await (const name of namesIn(folder)) {
      const path = join(folder, name);
      if (name.startsWith(temporaryPrefix) && !this.#making.has(path)) await rm(path, { force: true });
    }
  }

  /** Thick volumes do not share blocks: a write to a shared block needs space that nobody reserved. */
  #canReflink(random: Random): Promise<boolean> {
    if (this.#options.provisioning === 'thick') return Promise.resolve(false);
    this.#reflink ??= (async () => {
      const name = random.uuid();
      const [from, to] = [this.#files.temporary('volume', name), this.#files.temporary('snapshot', name)];
      return this.#whileMaking(from, () => this.#whileMaking(to, () => canReflink(from, to)));
    })().catch((error: unknown) => {
      this.#reflink = undefined;
      throw error;
    });
    return this.#reflink;
  }

  /** Changes the size of a volume's file, and tells it once it is on stable storage. */
  async #resize(
    verb: 'extend' | 'shrink',
    volume: BackendObject,
    call: PluginCall,
    change: (file: FileHandle, present: number) => Promise<void>,
  ): Promise<{ readonly size: number }> {
    call.signal.throwIfAborted();
    const path = await this.#files.find(volume);
    try {
      const file = await open(path, 'r+');
      try {
        await change(file, (await file.stat()).size);
        await file.sync();
        return { size: (await file.stat()).size };
      } finally {
        await file.close();
      }
    } catch (error) {
      throw fileError(verb, path, error);
    }
  }

  async #make(kind: Kind, request: BackendObject, call: PluginCall): Promise<Created> {
    call.signal.throwIfAborted();
    const path = this.#files.path(kind, request.placementId);
    const size = this.#wholeBlocks(request.size);
    try {
      const present = await this.#present(path, size);
      if (present === undefined) {
        const temporary = this.#files.temporary(kind, request.placementId);
        await this.#whileMaking(temporary, () => writeDurably(path, temporary, (file) => this.#grow(file, 0, size)));
      }
      return { backendRef: referenceOf(kind, request.placementId), size: present ?? size };
    } catch (error) {
      throw fileError('create', path, error);
    }
  }

  async #copy(kind: Kind, target: BackendObject, source: BackendObject, call: PluginCall): Promise<CreatedCopy> {
    call.signal.throwIfAborted();
    const from = await this.#files.find(source);
    if (!(await this.#canReflink(this.#options.random))) return { ...(await this.#make(kind, target, call)), filled: false };
    const path = this.#files.path(kind, target.placementId);
    const size = this.#wholeBlocks(target.size);
    try {
      const present = await this.#present(path, size);
      if (present === undefined) {
        const temporary = this.#files.temporary(kind, target.placementId);
        await this.#whileMaking(temporary, () =>
          reflinkDurably(from, path, temporary, async (file) => {
            const { size: copied } = await file.stat();
            if (copied > size) {
              throw new ScoriaError('conflict', `${from} has ${copied} bytes; a copy of ${size} bytes cannot hold it`);
            }
            if (copied < size) await file.truncate(size);
          }),
        );
      }
      return { backendRef: referenceOf(kind, target.placementId), size: present ?? size, filled: true };
    } catch (error) {
      throw fileError('copy', from, error);
    }
  }

  /** Size of a file that an earlier call made, `undefined` when there is none. */
  async #present(path: string, size: number): Promise<number | undefined> {
    const found = await statIfThere(path);
    if (!found) return undefined;
    if (found.size < size) throw new ScoriaError('conflict', `${path} is there already with ${found.size} bytes, not ${size}`);
    // The call that made it may have ended before this.
    await syncDirectory(dirname(path));
    return found.size;
  }

  #grow(file: FileHandle, present: number, size: number): Promise<void> {
    const { directory, provisioning } = this.#options;
    return provisioning === 'thin' ? file.truncate(size) : growThick(file, directory, present, size);
  }

  async #remove(kind: Kind, object: BackendObject, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    const path = this.#files.path(kind, object.placementId);
    try {
      await rm(this.#files.temporary(kind, object.placementId), { force: true });
      await freeInPieces(path, call);
      await rm(path, { force: true });
      // Also when it is gone: the call that removed it may have ended before this.
      await syncDirectory(this.#files.folder(kind));
    } catch (error) {
      if (call.signal.aborted) throw error;
      throw fileError('delete', path, error);
    }
  }

  async #whileMaking<T>(temporary: string, work: () => Promise<T>): Promise<T> {
    this.#making.add(temporary);
    try {
      return await work();
    } finally {
      this.#making.delete(temporary);
    }
  }

  #wholeBlocks(size: number): number {
    return Math.ceil(size / this.#options.blockSize) * this.#options.blockSize;
  }
}
