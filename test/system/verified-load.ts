import { performance } from 'node:perf_hooks';
import { cdbs, TestInitiator } from '../../packages/driver-iscsi/test/test-initiator.ts';
import type { Connection } from './block-storage-api.ts';

/** Bytes of one command, and how many places of that size each lane uses in turn. */
const length = 4096;
const places = 64;
const blocks = length / 512;

/**
 * Many 4 KiB writes and reads under way at once in one iSCSI session, each read compared with what was written. Nothing is
 * tried again: whatever goes wrong is an error.
 */
export class VerifiedLoad {
  readonly #initiator: TestInitiator;
  readonly #lanes: number;
  readonly errors: string[] = [];
  /** Commands that were answered as they should be. */
  commands = 0;
  /** Longest time between two answers, and longest time of one command, ms. */
  longestPause = 0;
  slowest = 0;
  #last = performance.now();

  private constructor(initiator: TestInitiator, lanes: number) {
    this.#initiator = initiator;
    this.#lanes = lanes;
  }

  /** Logs in. `lanes` is the number of commands under way at a time. */
  static async open(
    { target_portal, target_iqn, auth_username, auth_password }: Connection,
    lanes: number,
  ): Promise<VerifiedLoad> {
    const initiator = await TestInitiator.connect(Number(target_portal.split(':').at(-1)));
    const status = await initiator.login({ target: target_iqn, user: auth_username, secret: auth_password });
    if (status !== 0) throw new Error(`The login was refused with status ${status.toString(16)}`);
    // The first command hears of the power on.
    await initiator.command(cdbs.testUnitReady);
    return new VerifiedLoad(initiator, lanes);
  }

  /** Works until the signal aborts; a lane with an error ends. */
  async run(signal: AbortSignal): Promise<void> {
    this.#last = performance.now();
    try {
      await Promise.all(Array.from({ length: this.#lanes }, (_, lane) => this.#lane(lane, signal)));
    } finally {
      this.#initiator.close();
    }
  }

  async #lane(lane: number, signal: AbortSignal): Promise<void> {
    const written = new Map<number, number>();
    try {
      for (let turn = 1; !signal.aborted; turn++) {
        const place = (turn * 37) % places;
        await this.#send(cdbs.write10(this.#block(lane, place), blocks), { data: content(lane, place, turn) });
        written.set(place, turn);
        const again = (turn * 23) % places;
        const known = written.get(again);
        const data = await this.#send(cdbs.read10(this.#block(lane, again), blocks), { expect: length });
        if (known !== undefined && !data.equals(content(lane, again, known))) {
          throw new Error(`Place ${again} of lane ${lane} holds something else than was written in turn ${known}`);
        }
      }
    } catch (error) {
      this.errors.push(String(error));
    }
  }

  #block(lane: number, place: number): number {
    return (lane * places + place) * blocks;
  }

  async #send(...command: Parameters<TestInitiator['command']>): Promise<Buffer> {
    const begin = performance.now();
    const { status, sense, data } = await this.#initiator.command(...command);
    const now = performance.now();
    if (status !== 0) throw new Error(`A command ended with status ${status} and sense ${sense}`);
    this.slowest = Math.max(this.slowest, now - begin);
    this.longestPause = Math.max(this.longestPause, now - this.#last);
    this.#last = now;
    this.commands++;
    return data;
  }
}

function content(lane: number, place: number, turn: number): Buffer {
  const data = Buffer.alloc(length, turn & 0xff);
  for (let at = 0; at < length; at += 512) {
    data.writeUInt32LE(lane, at);
    data.writeUInt32LE(place, at + 4);
    data.writeUInt32LE(turn, at + 8);
  }
  return data;
}
