import { close, constants, fdatasync, fstat, open, read, readSync, stat, write, writeSync, type Stats } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ScoriaError } from '../error/scoria-error.ts';
import type { BlockDevice, Extent, WriteOptions } from './block-device.ts';
import { deviceError, rangeError } from './device-error.ts';
import type { DeviceLocator, OpenOptions } from './device-locator.ts';
import { DirectWriter } from './direct-writer.ts';
import { dataRuns, discardRange, punchHole, zeroRange } from './file-space.ts';
import { InlineIo } from './inline-io.ts';
import { systemClock, type Clock } from '../platform/clock.ts';

/** Options of {@link openPathDevice}. */
export interface PathOpenOptions extends OpenOptions {
  /**
   * `inline` (default): reads and writes run on the calling thread as long as the storage is quick (see {@link InlineIo}):
   * for a process of its own. `pool`: all in libuv's pool. Flushes are always in the pool.
   */
  readonly io?: 'inline' | 'pool';
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** The kernel moves at most 2 GiB - 4 KiB a call. */
const callLimit = 1024 * 1024 * 1024;
const zeroes = new Uint8Array(1024 * 1024);
const settled = Promise.resolve();

const openFile = promisify(open);
const statFile = promisify(stat);
const statOpen = promisify(fstat);
const closeFile = promisify(close);
const syncData = promisify(fdatasync);

/**
 * Opens a regular file or a block device node of this host, locator kind `path`.
 *
 * Errors: `device-gone` when there is nothing, `device-not-permitted`, `device-out-of-range` for what is neither file nor
 * block device.
 */
export async function openPathDevice(locator: DeviceLocator, options: PathOpenOptions): Promise<BlockDevice> {
  const { path, blockSize, zeroingDiscard = null } = locator;
  try {
    // Opening a FIFO would wait for its other end, so look first.
    const found = await statFile(path);
    if (!found.isFile() && !found.isBlockDevice()) {
      throw new ScoriaError('device-out-of-range', `${path} is neither a file nor a block device`);
    }
    const fd = await openFile(path, options.readOnly ? constants.O_RDONLY : constants.O_RDWR);
    try {
      const size = await readSize(fd, path, blockSize);
      const direct = found.isBlockDevice() && !options.readOnly ? await directWriter(found.rdev, path, blockSize) : null;
      const { readOnly } = options;
      return new PathDevice({ fd, direct, path, blockSize, zeroingDiscard, size, readOnly, inline: inlineIo(options) });
    } catch (error) {
      await closeFile(fd);
      throw error;
    }
  } catch (error) {
    throw deviceError(path, 'open', error);
  }
}

function inlineIo({ io, clock = systemClock }: PathOpenOptions): InlineIo | null {
  return io === 'pool' ? null : new InlineIo(clock);
}

/** Direct writes are whole blocks of the node, which must not be larger than ours. */
async function directWriter(rdev: number, path: string, blockSize: number): Promise<DirectWriter | null> {
  const nodeSize = Number(await readFile(join(sysfsOf(rdev), 'queue/logical_block_size'), 'ascii').catch(() => Number.NaN));
  return nodeSize <= blockSize ? DirectWriter.open(path) : null;
}

async function readSize(fd: number, path: string, blockSize: number): Promise<number> {
  const found: Stats = await statOpen(fd);
  const bytes = found.isBlockDevice() ? await blockDeviceSize(found.rdev, path) : found.size;
  return bytes - (bytes % blockSize);
}

/** Directory of a block device in sysfs. `rdev` is glibc's encoding of dev_t. */
function sysfsOf(rdev: number): string {
  const device = BigInt(rdev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return `/sys/dev/block/${major}:${minor}`;
}

/** Sysfs tells the size in sectors of 512 bytes whatever the device's own block size. */
async function blockDeviceSize(rdev: number, path: string): Promise<number> {
  const sectors = Number(await readFile(join(sysfsOf(rdev), 'size'), 'ascii'));
  if (!Number.isSafeInteger(sectors * 512)) throw new ScoriaError('device-gone', `The kernel does not tell the size of ${path}`);
  return sectors * 512;
}

/** What a {@link PathDevice} is made of. */
interface OpenedPath {
  readonly fd: number;
  /** What writes go through; `null`: the page cache. */
  readonly direct: DirectWriter | null;
  readonly path: string;
  readonly blockSize: number;
  readonly zeroingDiscard: number | null;
  readonly size: number;
  readonly readOnly: boolean;
  /** Chooses what is done on the calling thread; `null`: nothing. */
  readonly inline: InlineIo | null;
}

class PathDevice implements BlockDevice {
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #fd: number;
  readonly #direct: DirectWriter | null;
  readonly #path: string;
  readonly #inline: InlineIo | null;
  /** See the locator. */
  readonly #zeroingDiscard: number | null;
  #size: number;
  /** Pool calls under way. */
  #active = 0;
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;
  /** Writes completed, and under way in the pool. */
  #writesDone = 0;
  #writesActive = 0;
  #flushRunning: Promise<void> | undefined;
  #flushQueued: Promise<void> | undefined;
  /** A failed flush may have swallowed writes that it was not asked to cover; the next flush must fail too. */
  #inDoubt: ScoriaError | undefined;

  constructor(opened: OpenedPath) {
    this.#fd = opened.fd;
    this.#direct = opened.direct;
    this.#path = opened.path;
    this.blockSize = opened.blockSize;
    this.#size = opened.size;
    this.readOnly = opened.readOnly;
    this.#inline = opened.inline;
    this.#zeroingDiscard = opened.zeroingDiscard;
  }

  get size(): number {
    return this.#size;
  }

  read(into: Uint8Array, offset: number): Promise<void> {
    const refused = this.#refusal(offset, into.byteLength, false);
    if (refused) return Promise.reject(refused);
    const inline = this.#inline;
    if (inline?.takes(into.byteLength) !== true) return this.#inPool('read', () => this.#readInPool(into, offset));
    try {
      const begun = inline.begin();
      for (let done = 0; done < into.byteLength;) {
        const count = readSync(this.#fd, into, done, into.byteLength - done, offset + done);
        if (count === 0) return Promise.reject(this.#truncated(offset + done));
        done += count;
      }
      inline.ended(begun, into.byteLength);
      return settled;
    } catch (error) {
      return Promise.reject(deviceError(this.#path, 'read', error));
    }
  }

  write(data: Uint8Array, offset: number, options?: WriteOptions): Promise<void> {
    const refused = this.#refusal(offset, data.byteLength, true);
    if (refused) return Promise.reject(refused);
    const inline = this.#direct === null ? this.#inline : null;
    if (inline?.takes(data.byteLength) !== true) {
      return this.#changeInPool('write', options, () => this.#writeInPool(data, offset));
    }
    try {
      const begun = inline.begin();
      for (let done = 0; done < data.byteLength;) {
        done += writeSync(this.#fd, data, done, data.byteLength - done, offset + done);
      }
      inline.ended(begun, data.byteLength);
    } catch (error) {
      return Promise.reject(deviceError(this.#path, 'write', error));
    }
    this.#writesDone++;
    return options?.fua ? this.flush() : settled;
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    const refused = this.#refusal(offset, length, true);
    if (refused) return Promise.reject(refused);
    if (length === 0) return settled;
    return this.#changeInPool('write of zeroes', options, () => this.#zero(offset, length));
  }

  discard(offset: number, length: number): Promise<void> {
    const refused = this.#refusal(offset, length, true);
    if (refused) return Promise.reject(refused);
    if (length === 0) return settled;
    return this.#changeInPool('discard', undefined, () => this.#zero(offset, length));
  }

  flush(): Promise<void> {
    if (this.#closing) return Promise.reject(this.#closed());
    if (this.readOnly) return settled;
    if (!this.#flushRunning) return (this.#flushRunning = this.#sync());
    // One that has not begun covers every write completed by now, so all callers share it.
    this.#flushQueued ??= this.#syncAfter(this.#flushRunning);
    return this.#flushQueued;
  }

  async *allocatedExtents(offset: number, length: number): AsyncGenerator<Extent> {
    const refused = this.#refusal(offset, length, false);
    if (refused) throw refused;
    const end = offset + length;
    const runs = dataRuns(this.#fd, offset, end);
    let from = offset;
    for (;;) {
      const next = await this.#inPool('look-up of extents', () => runs.next());
      if (next.done) return;
      // File systems may count in smaller units than our blocks: widen, and do not tell a block twice.
      const start = Math.max(from, next.value.start - (next.value.start % this.blockSize));
      const stop = Math.min(end, Math.ceil(next.value.end / this.blockSize) * this.blockSize);
      if (stop > start) yield { offset: start, length: stop - start };
      from = Math.max(from, stop);
      if (this.#closing) throw this.#closed();
    }
  }

  refreshSize(): Promise<number> {
    if (this.#closing) return Promise.reject(this.#closed());
    return this.#inPool('size', async () => (this.#size = await readSize(this.#fd, this.#path, this.blockSize)));
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      if (this.#active > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
      await this.#direct?.close();
      await closeFile(this.#fd);
    })();
    return this.#closing;
  }

  #refusal(offset: number, length: number, change: boolean): ScoriaError | undefined {
    if (this.#closing) return this.#closed();
    if (change && this.readOnly) return new ScoriaError('device-not-permitted', `Device ${this.#path} is open for reading only`);
    return rangeError(this.#path, this, offset, length);
  }

  #closed(): ScoriaError {
    return new ScoriaError('device-gone', `Device ${this.#path} has been closed`);
  }

  #truncated(offset: number): ScoriaError {
    return new ScoriaError(
      'device-medium-error',
      `Device ${this.#path} ends at ${offset} bytes, before its size of ${this.#size}`,
    );
  }

  async #inPool<T>(action: string, work: () => Promise<T>): Promise<T> {
    this.#active++;
    try {
      return await work();
    } catch (error) {
      throw deviceError(this.#path, action, error);
    } finally {
      this.#leave();
    }
  }

  #changeInPool(action: string, options: WriteOptions | undefined, work: () => Promise<void>): Promise<void> {
    return this.#inPool(action, async () => {
      this.#writesActive++;
      try {
        await work();
        this.#writesDone++;
      } finally {
        this.#writesActive--;
      }
      if (options?.fua) await this.#flushAccepted();
    });
  }

  /** A flush that belongs to a write begun before `close`. */
  #flushAccepted(): Promise<void> {
    return this.#closing ? this.#sync() : this.flush();
  }

  #leave(): void {
    if (--this.#active === 0) this.#idle?.();
  }

  async #syncAfter(running: Promise<void>): Promise<void> {
    this.#active++;
    try {
      await running.catch(() => {});
      this.#flushQueued = undefined;
      await (this.#flushRunning = this.#sync());
    } finally {
      this.#leave();
    }
  }

  async #sync(): Promise<void> {
    this.#active++;
    const before = this.#writesDone;
    const doubt = this.#inDoubt;
    this.#inDoubt = undefined;
    try {
      await syncData(this.#fd);
    } catch (thrown) {
      // The kernel reports a failed write-back once and then takes the pages for clean (fsync(2)).
      const error = deviceError(this.#path, 'flush', thrown);
      if (this.#writesDone > before || this.#writesActive > 0) this.#inDoubt = error;
      throw error;
    } finally {
      if (!this.#flushQueued) this.#flushRunning = undefined;
      this.#leave();
    }
    if (doubt) throw doubt;
  }

  #readInPool(into: Uint8Array, offset: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const next = (done: number) => {
        if (done === into.byteLength) return resolve();
        read(this.#fd, into, done, Math.min(into.byteLength - done, callLimit), offset + done, (error, count) => {
          if (error) reject(error);
          else if (count === 0) reject(this.#truncated(offset + done));
          else next(done + count);
        });
      };
      next(0);
    });
  }

  #writeInPool(data: Uint8Array, offset: number): Promise<void> {
    if (this.#direct !== null) return this.#direct.write(data, offset);
    return new Promise((resolve, reject) => {
      const next = (done: number) => {
        if (done === data.byteLength) return resolve();
        write(this.#fd, data, done, Math.min(data.byteLength - done, callLimit), offset + done, (error, count) => {
          if (error) reject(error);
          else next(done + count);
        });
      };
      next(0);
    });
  }

  async #zero(offset: number, length: number): Promise<void> {
    if (await this.#discardUnits(offset, length)) return;
    if (await punchHole(this.#fd, offset, length)) return;
    if (await zeroRange(this.#fd, offset, length)) return;
    await this.#writeZeroBytes(offset, length);
  }

  /** Discards the whole units of a range and writes zeroes to what is left at its ends; `false`: there is no whole unit. */
  async #discardUnits(offset: number, length: number): Promise<boolean> {
    const unit = this.#zeroingDiscard;
    if (unit === null) return false;
    const start = Math.ceil(offset / unit) * unit;
    const end = Math.floor((offset + length) / unit) * unit;
    if (end <= start || !(await discardRange(this.#fd, start, end - start))) return false;
    await this.#writeZeroBytes(offset, start - offset);
    await this.#writeZeroBytes(end, offset + length - end);
    return true;
  }

  async #writeZeroBytes(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += zeroes.byteLength) {
      await this.#writeInPool(zeroes.subarray(0, Math.min(zeroes.byteLength, length - done)), offset + done);
    }
  }
}
