import { close, constants, open, write } from 'node:fs';
import { promisify } from 'node:util';

/** What is needed of WebAssembly: memory that begins on a page, as O_DIRECT demands. */
declare const WebAssembly: {
  readonly Memory: new (descriptor: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};
const page = 64 * 1024;
const slotPages = 16;
const slotSize = slotPages * page;
/** Writes under way at once, of all devices. */
const slotCount = 16;

const openFile = promisify(open);
const closeFile = promisify(close);

/** Memory for writes, made when it is first needed, and who waits for it. */
let free: Uint8Array[] | undefined;
const waiting: ((slot: Uint8Array) => void)[] = [];

async function withSlot<T>(work: (slot: Uint8Array) => Promise<T>): Promise<T> {
  if (free === undefined) {
    const { buffer } = new WebAssembly.Memory({ initial: slotCount * slotPages });
    free = Array.from({ length: slotCount }, (_, index) => new Uint8Array(buffer, index * slotSize, slotSize));
  }
  const slots = free;
  const slot = slots.pop() ?? (await new Promise<Uint8Array>((resolve) => waiting.push(resolve)));
  try {
    return await work(slot);
  } finally {
    const next = waiting.shift();
    if (next) next(slot);
    else slots.push(slot);
  }
}

/**
 * Writes to a block device node past the page cache (open(2), O_DIRECT), as the kernel's targets do. The kernel tells an
 * error of its write-back as EIO whatever the reason; this way a pool without space says so, at the write that it concerns.
 */
export class DirectWriter {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** `null` where the node cannot be opened like that. */
  static async open(path: string): Promise<DirectWriter | null> {
    const fd = await openFile(path, constants.O_RDWR | constants.O_DIRECT).catch(() => null);
    return fd === null ? null : new DirectWriter(fd);
  }

  /** Writes whole blocks. Rejects with the error of write(2). */
  async write(data: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < data.byteLength;) {
      const piece = data.subarray(done, done + slotSize);
      done += await withSlot((slot) => {
        slot.set(piece);
        return new Promise<number>((resolve, reject) => {
          write(this.#fd, slot, 0, piece.byteLength, offset + done, (error, count) => (error ? reject(error) : resolve(count)));
        });
      });
    }
  }

  async close(): Promise<void> {
    await closeFile(this.#fd);
  }
}
