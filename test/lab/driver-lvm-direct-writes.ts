import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { openPathDevice, type BlockDevice, type DeviceOpener } from '@scoria/core';

/** What is needed of WebAssembly: memory that begins on a page, as O_DIRECT demands. */
declare const WebAssembly: {
  readonly Memory: new (descriptor: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};
const page = 64 * 1024;

/**
 * Opens a block device node like core does, but writes past the page cache (open(2), O_DIRECT), as the kernel's targets
 * do. The page cache writes back page by page whenever it likes, so that through it no write is whole at a given moment.
 */
export const openWithDirectWrites: DeviceOpener = async (locator, options) => {
  const device = await openPathDevice(locator, options);
  if (options.readOnly) return device;
  const file = await open(locator.path, constants.O_RDWR | constants.O_DIRECT);
  const writes = new Set<Promise<void>>();
  const write: BlockDevice['write'] = async (data, offset, writeOptions) => {
    // Refuses what is out of range or too late, and writes nothing.
    await device.write(new Uint8Array(0), offset);
    if (offset + data.byteLength > device.size || data.byteLength % device.blockSize !== 0) return device.write(data, offset);
    const pages = Math.max(1, Math.ceil(data.byteLength / page));
    const aligned = new Uint8Array(new WebAssembly.Memory({ initial: pages }).buffer, 0, data.byteLength);
    aligned.set(data);
    const writing = (async () => {
      for (let done = 0; done < aligned.byteLength;) {
        done += (await file.write(aligned, done, aligned.byteLength - done, offset + done)).bytesWritten;
      }
    })();
    writes.add(writing);
    await writing.finally(() => writes.delete(writing));
    if (writeOptions?.fua) await device.flush();
  };
  const close = async () => {
    await Promise.allSettled(writes);
    await device.close();
    await file.close();
  };
  return new Proxy(device, {
    get: (target, name) => {
      if (name === 'write') return write;
      if (name === 'close') return close;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
};
