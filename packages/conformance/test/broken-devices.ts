import { ScoriaError } from '@scoria/core';
import { turns, type BrokenDriver } from './broken-driver.ts';

const chunk = 64 * 1024;

/** Drivers whose volumes open as devices that do not keep their word. */
export const brokenDevices: readonly BrokenDriver[] = [
  {
    name: 'writes are not written',
    caughtBy: ['device-persists'],
    device: () => ({ write: async () => {} }),
  },
  {
    name: 'discard does nothing',
    caughtBy: ['device-holes', 'device-long-mix'],
    device: () => ({ discard: async () => {} }),
  },
  {
    name: 'only the first extent is told',
    caughtBy: ['device-holes'],
    device: (sound) => ({
      allocatedExtents: async function* (offset, length) {
        for await (const extent of sound.allocatedExtents(offset, length)) return void (yield extent);
      },
    }),
  },
  {
    name: 'a discard takes the rest of its chunk along',
    caughtBy: ['device-long-mix'],
    device: (sound) => ({
      discard: async (offset, length) => {
        const start = offset - (offset % chunk);
        await sound.discard(start, Math.min(sound.size, Math.ceil((offset + length) / chunk) * chunk) - start);
      },
    }),
  },
  {
    name: 'writes across the end are cut off without a word',
    caughtBy: ['device-range'],
    device: (sound) => ({
      write: async (data, offset) =>
        sound.write(data.subarray(0, Math.max(0, sound.size - offset)), Math.min(offset, sound.size)),
    }),
  },
  { name: 'devices are always opened for writing', caughtBy: ['device-read-only'], opensForWriting: true },
  {
    name: 'close does not wait for writes',
    caughtBy: ['device-close'],
    device: (sound) => {
      let closed = false;
      return {
        write: async (data, offset) => {
          if (closed) throw new ScoriaError('device-gone', 'closed');
          await turns(8);
          await sound.write(data, offset);
        },
        close: async () => void (closed = true),
      };
    },
  },
  {
    name: 'neighbours are read and written back without a lock',
    caughtBy: ['device-concurrent'],
    device: (sound) => ({
      write: async (data, offset) => {
        const start = offset - (offset % (2 * chunk));
        const end = Math.min(sound.size, Math.ceil((offset + data.byteLength) / (2 * chunk)) * 2 * chunk);
        const whole = new Uint8Array(end - start);
        await sound.read(whole, start);
        await turns(1);
        whole.set(data, offset - start);
        await sound.write(whole, start);
      },
    }),
  },
  {
    name: 'each opening keeps what it has read',
    caughtBy: ['device-seen-by-all'],
    device: (sound) => {
      const seen = new Map<string, Uint8Array>();
      return {
        read: async (into, offset) => {
          const key = `${offset}+${into.byteLength}`;
          const known = seen.get(key);
          if (known) return into.set(known);
          await sound.read(into, offset);
          seen.set(key, into.slice());
        },
      };
    },
  },
  {
    name: 'an open device never learns of an extend',
    caughtBy: ['extend-in-use'],
    device: (sound) => ({ refreshSize: async () => sound.size }),
  },
];
