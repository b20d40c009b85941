import type { BlockDevice } from '@scoria/core/device';
import { mirrorChunk, MirroredDevice } from './mirrored-device.ts';

/** What accompanies a wait for a mirror. */
export interface MirrorCall {
  readonly signal: AbortSignal;
  progress(done: number, total: number): void;
}

/** Chunks copied at the same time; more would leave a flush or a large write of an initiator waiting for a thread. */
const concurrency = 2;
/** Bytes discarded at a time, so that the end of the mirror is seen soon. */
const discardStep = 64 * mirrorChunk;
/** Bytes copied between two flushes of the target, so that the last one is short and the page cache stays free for others. */
const flushStep = 16 * mirrorChunk;

/** The work that makes the two devices of a mirror equal, for whoever waits for it. */
export class Mirror {
  readonly device: MirroredDevice;
  readonly #converged: Promise<void>;
  readonly #listeners = new Set<(done: number, total: number) => void>();

  /** Begins to copy. Every change of the source must go through `device` already. */
  constructor(device: MirroredDevice) {
    this.device = device;
    this.#converged = this.#run();
    // Whoever waits hears of it, and so does the signal of the device.
    this.#converged.catch(() => {});
  }

  /**
   * Waits until both devices are the same. Rejects with what broke the mirror, or with the reason of the signal; the
   * mirror goes on in that case.
   */
  async follow({ signal, progress }: MirrorCall): Promise<void> {
    signal.throwIfAborted();
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    const listener = (done: number, total: number): void => progress(done, total);
    this.#listeners.add(listener);
    try {
      progress(this.device.copiedBytes, this.device.size);
      await Promise.race([this.#converged, aborted]);
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener('abort', abort);
    }
  }

  /** Stops copying. Settles when nothing is under way to the target any more and it is closed. */
  async end(reason: unknown): Promise<void> {
    this.device.break(reason);
    await this.#converged.catch(() => {});
    await this.device.target.close();
  }

  async #run(): Promise<void> {
    const { device } = this;
    try {
      await this.#empty(device.target);
      await this.#copyAll();
      await device.complete();
      this.#tell();
    } catch (error) {
      device.break(error);
      throw device.broken.reason;
    }
  }

  async #empty(target: BlockDevice): Promise<void> {
    for (let at = 0; at < target.size; at += discardStep) {
      this.device.broken.throwIfAborted();
      await target.discard(at, Math.min(discardStep, target.size - at));
      this.#tell();
    }
  }

  async #copyAll(): Promise<void> {
    const { device } = this;
    const buffers: Buffer[] = [];
    const running = new Set<Promise<void>>();
    let unflushed = 0;
    let flushing: Promise<void> | null = null;
    const copy = async (index: number): Promise<void> => {
      const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(mirrorChunk);
      try {
        await device.copyChunk(index, buffer);
        unflushed += mirrorChunk;
        this.#tell();
      } catch (error) {
        device.break(error);
      } finally {
        buffers.push(buffer);
      }
    };
    try {
      for (let index = 0; index < device.chunks;) {
        device.broken.throwIfAborted();
        const data = await device.passHole(index);
        if (data > index) {
          index = data;
          this.#tell();
          continue;
        }
        const copying = copy(index++).finally(() => running.delete(copying));
        running.add(copying);
        if (running.size >= concurrency) await Promise.race(running);
        if (unflushed >= flushStep) {
          unflushed = 0;
          // One at a time, beside the copying.
          await flushing;
          flushing = device.target.flush().catch((error: unknown) => device.break(error));
        }
      }
    } finally {
      await Promise.all([...running, flushing]);
    }
    device.broken.throwIfAborted();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener(this.device.copiedBytes, this.device.size);
  }
}
