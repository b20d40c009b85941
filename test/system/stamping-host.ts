import { cdbs, TestInitiator } from '../../packages/driver-iscsi/test/test-initiator.ts';
import type { Connection } from './block-storage-api.ts';

/** Bytes of one write, and blocks of 512 bytes in it. */
const size = 4096;
const sectors = size / 512;
/** Writes under way at the same time, each in a part of the volume of its own. */
const lanes = 4;
const places = 2048;

/** Bytes from the start of the volume that a {@link StampingHost} may write. */
export const stampedBytes = lanes * places * size;

/**
 * A host that writes without end in one session, stamps each block with where and when it was written, and reads blocks
 * back. An answer other than GOOD, a block with a wrong stamp or the end of the session makes it fail.
 */
export class StampingHost {
  readonly #initiator: TestInitiator;
  readonly #stamps = new Map<number, Buffer>();
  readonly #running: Promise<void>;
  #stopped = false;
  #last = performance.now();
  #longest = 0;
  writes = 0;

  private constructor(initiator: TestInitiator) {
    this.#initiator = initiator;
    this.#running = Promise.all(Array.from({ length: lanes }, (_, lane) => this.#run(lane))).then(() => {});
    this.#running.catch(() => {});
  }

  /** Logs in and begins to write. */
  static async start({ target_portal, target_iqn, auth_username, auth_password }: Connection): Promise<StampingHost> {
    const initiator = await TestInitiator.connect(Number(target_portal.split(':').at(-1)));
    const status = await initiator.login({ target: target_iqn, user: auth_username, secret: auth_password });
    if (status !== 0) throw new Error(`The login was refused with ${status.toString(16)}`);
    // The first command hears of the power on.
    await initiator.command(cdbs.testUnitReady);
    return new StampingHost(initiator);
  }

  /** The longest time without an answer since this was asked last, ms. */
  takeLongestPause(): number {
    const longest = Math.max(this.#longest, performance.now() - this.#last);
    this.#longest = 0;
    return longest;
  }

  /** Stops writing. Fails with what went wrong, if anything did. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Reads back every block that was written, after {@link stop}. */
  async verify(): Promise<void> {
    for (const [lba, stamp] of this.#stamps) await this.#expect(lba, stamp);
  }

  /** Whether the session still takes commands, and nothing has changed about the unit. */
  async isReady(): Promise<boolean> {
    return (await this.#initiator.command(cdbs.testUnitReady)).status === 0;
  }

  close(): void {
    this.#initiator.close();
  }

  async #run(lane: number): Promise<void> {
    for (let turn = 0; !this.#stopped; turn++) {
      const lba = (lane * places + ((turn * 37) % places)) * sectors;
      const stamp = Buffer.alloc(size, `${lba}:${turn}:`);
      const { status, sense } = await this.#initiator.command(cdbs.write10(lba, sectors), { data: stamp });
      if (status !== 0) throw new Error(`The write of block ${lba} ended with sense ${sense}`);
      const now = performance.now();
      this.#longest = Math.max(this.#longest, now - this.#last);
      this.#last = now;
      this.#stamps.set(lba, stamp);
      this.writes++;
      if (turn % 8 === 7) await this.#expect(lba, stamp);
    }
  }

  async #expect(lba: number, stamp: Buffer): Promise<void> {
    const { status, data } = await this.#initiator.command(cdbs.read10(lba, sectors), { expect: size });
    if (status !== 0 || !data.equals(stamp)) {
      throw new Error(`Block ${lba} holds ${data.toString('latin1', 0, 20)}, not ${stamp.toString('latin1', 0, 20)}`);
    }
  }
}
