import { constants } from 'node:os';
import { errnoError } from './device-error.ts';

/** From linux/fs.h and linux/falloc.h. */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const FALLOC_FL_KEEP_SIZE = 0x01;
const FALLOC_FL_PUNCH_HOLE = 0x02;
const FALLOC_FL_ZERO_RANGE = 0x10;
const BLKDISCARD = 0x1277;

type Call = (...args: number[]) => number | bigint;
interface NativeCalls {
  readonly lseek: Call & { async(...args: [number, number, number, Done]): void };
  readonly fallocate: Call & { async(...args: [number, number, number, number, Done]): void };
  readonly ioctl: { async(...args: [number, number, BigUint64Array, Done]): void };
  errno(): number;
}
type Done = (error: Error | null, result: number | bigint) => void;

let loading: Promise<NativeCalls | undefined> | undefined;

/** The C library's calls; loaded on first use because it takes some 10 ms; `undefined` where they cannot be had. */
function nativeCalls(): Promise<NativeCalls | undefined> {
  loading ??= (async () => {
    if (process.platform !== 'linux') return undefined;
    try {
      const { default: koffi } = await import('koffi');
      const library = koffi.load(null);
      return {
        lseek: library.func('int64_t lseek(int fd, int64_t offset, int whence)'),
        fallocate: library.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
        ioctl: library.func('int ioctl(int fd, unsigned long request, void *range)'),
        errno: () => koffi.errno(),
      };
    } catch {
      return undefined;
    }
  })();
  return loading;
}

/** These say that the file system cannot do it, not that something is wrong. A block device of an old kernel gives ENODEV. */
const unsupported: ReadonlySet<number> = new Set([
  constants.errno.EOPNOTSUPP,
  constants.errno.ENOSYS,
  constants.errno.EINVAL,
  constants.errno.ENODEV,
]);

async function fallocate(fd: number, mode: number, offset: number, length: number): Promise<boolean> {
  const calls = await nativeCalls();
  if (!calls) return false;
  const errno = await new Promise<number>((resolve, reject) => {
    calls.fallocate.async(fd, mode, offset, length, (error, result) => {
      if (error) reject(error);
      else resolve(Number(result) === 0 ? 0 : calls.errno());
    });
  });
  if (errno === 0) return true;
  if (errno === constants.errno.EINTR) return fallocate(fd, mode, offset, length);
  if (unsupported.has(errno)) return false;
  throw errnoError(errno, 'fallocate');
}

/**
 * Frees the space of a range of an open file, which then reads as zeroes (fallocate(2), PUNCH_HOLE).
 *
 * @returns `false` where the storage cannot; nothing is changed then.
 * @throws an error with the `code` of errno(3).
 */
export function punchHole(fd: number, offset: number, length: number): Promise<boolean> {
  return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

/**
 * Frees the space of a range of an open block device node (BLKDISCARD of ioctl_blk). What the range then reads as is the
 * device's affair.
 *
 * @returns `false` where the device cannot; nothing is changed then.
 * @throws an error with the `code` of errno(3).
 */
export async function discardRange(fd: number, offset: number, length: number): Promise<boolean> {
  const calls = await nativeCalls();
  if (!calls) return false;
  const range = new BigUint64Array([BigInt(offset), BigInt(length)]);
  const errno = await new Promise<number>((resolve, reject) => {
    calls.ioctl.async(fd, BLKDISCARD, range, (error, result) => {
      if (error) reject(error);
      else resolve(Number(result) === 0 ? 0 : calls.errno());
    });
  });
  if (errno === 0) return true;
  if (errno === constants.errno.EINTR) return discardRange(fd, offset, length);
  if (unsupported.has(errno)) return false;
  throw errnoError(errno, 'ioctl');
}

/** Makes a range read as zeroes without writing them all where the storage can (ZERO_RANGE). Results as {@link punchHole}. */
export function zeroRange(fd: number, offset: number, length: number): Promise<boolean> {
  return fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
}

/** Reserves space for a range, so that later writes cannot run out of it; grows the file if needed. Results as {@link punchHole}. */
export function reserveSpace(fd: number, offset: number, length: number): Promise<boolean> {
  return fallocate(fd, 0, offset, length);
}

/** A run of bytes that may hold data: from `start` up to, not including, `end`. */
export interface DataRun {
  readonly start: number;
  readonly end: number;
}

/** How many look-ups are made on the calling thread for each that goes through the pool: they take about a microsecond. */
const lookupsPerPoolCall = 64;

/**
 * The runs of an open file that may hold data, ascending (lseek(2), SEEK_DATA and SEEK_HOLE). Where the storage cannot
 * tell, one run: everything.
 *
 * @param end - where to stop looking; runs may reach beyond it.
 */
export async function* dataRuns(fd: number, start: number, end: number): AsyncGenerator<DataRun> {
  const calls = await nativeCalls();
  if (!calls) return yield { start, end };
  let made = 0;
  const seek = async (offset: number, whence: number): Promise<number> => {
    const failed = () => {
      const errno = calls.errno();
      if (errno === constants.errno.ENXIO) return Infinity;
      if (unsupported.has(errno)) return Number.NaN;
      throw errnoError(errno, 'lseek');
    };
    if (made++ % lookupsPerPoolCall !== 0) {
      const at = Number(calls.lseek(fd, offset, whence));
      return at < 0 ? failed() : at;
    }
    return new Promise((resolve, reject) => {
      calls.lseek.async(fd, offset, whence, (error, result) => {
        if (error) return reject(error);
        const at = Number(result);
        try {
          resolve(at < 0 ? failed() : at);
        } catch (thrown) {
          reject(thrown);
        }
      });
    });
  };
  for (let at = start; at < end;) {
    const data = await seek(at, SEEK_DATA);
    if (Number.isNaN(data)) return yield { start: at, end };
    if (data >= end) return;
    const hole = await seek(data, SEEK_HOLE);
    if (!(hole < end)) return yield { start: data, end };
    // The data may have been punched between the two calls.
    if (hole > data) yield { start: data, end: hole };
    at = Math.max(hole, data + 1);
  }
}
