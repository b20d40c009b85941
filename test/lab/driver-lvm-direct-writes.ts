import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { openPathDevice, type BlockDevice, type DeviceOpener } from '@scoria/core';

/** What is needed of WebAssembly: memory that begins on a page, as O_DIRECT demands. */
declare const WebAssembly: {
  readonly Memory: new (descriptor: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};
const page = 64 * 1024;
const slotSize = 16 * page;
const memory = new WebAssembly.Memory({ initial: 256 });
/** Memory for writes, and who waits for it. */
const slots = Array.from({ length: 16 }, (_, index): Uint8Array => new Uint8Array(memory.buffer, index * slotSize, slotSize));
const waiting: ((slot: Uint8Array) => void)[] = [];

async function withSlot(work: (slot: Uint8Array) => Promise<void>): Promise<void> {
  const slot = slots.pop() ?? (await new Promise<Uint8Array>((resolve) => waiting.push(resolve)));
  try {
    await work(slot);
  } finally {
    const next = waiting.shift();
    if (next) next(slot);
    else slots.push(slot);
  }
}

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
    const writing = withSlot(async (slot) => {
      for (let done = 0; done < data.byteLength;) {
        const piece = data.subarray(done, done + slotSize);
        slot.set(piece);
        done += (await file.write(slot, 0, piece.byteLength, offset + done)).bytesWritten;
      }
    });
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
