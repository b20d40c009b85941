import { setTimeout as sleep } from 'node:timers/promises';
import { testConnector, type BlockStorageApi, type Connection } from './block-storage-api.ts';
import { qemuIo } from './iscsi-programs.ts';

const block = 64 * 1024;

/** Writes blocks to a volume through iSCSI, one run of qemu-io each, and notes what was flushed. */
export class FlushedWriter {
  readonly #connection: Connection;
  /** Byte of each block that must be there, by offset. */
  readonly #flushed = new Map<number, number>();
  /** Bytes that may be in a block instead: their writes were never answered. */
  readonly #unanswered = new Map<number, Set<number>>();
  failures = 0;
  writes = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Writes until the signal aborts. Failures are noted and tried no more. */
  async run(signal: AbortSignal): Promise<void> {
    for (let turn = 0; !signal.aborted; turn++) {
      const offset = ((turn * 37) % 512) * block;
      const byte = 1 + (turn % 255);
      const { code, stdout } = await qemuIo(this.#connection, `write -P ${byte} ${offset} ${block}`, 'flush');
      if (code === 0 && stdout.includes('wrote ')) {
        this.#flushed.set(offset, byte);
        this.#unanswered.delete(offset);
        this.writes++;
      } else {
        const possible = this.#unanswered.get(offset) ?? new Set();
        this.#unanswered.set(offset, possible.add(byte));
        this.failures++;
        await sleep(20);
      }
    }
  }

  /** Reads everything back and returns the offsets of blocks that hold something else than what was flushed. */
  async lost(connection: Connection): Promise<number[]> {
    const possible = new Map([...this.#flushed].map(([offset, byte]) => [offset, new Set([byte])]));
    for (const [offset, bytes] of this.#unanswered) possible.set(offset, new Set([...bytes, ...(possible.get(offset) ?? [0])]));
    const reads = [...possible].flatMap(([offset, bytes]) => [...bytes].map((byte) => `read -P ${byte} ${offset} ${block}`));
    const { stdout } = await qemuIo(connection, ...reads);
    const answers = stdout.match(/^read /gm)?.length ?? 0;
    if (answers !== reads.length) throw new Error(`Of ${reads.length} reads ${answers} were answered: ${stdout}`);
    const failures = [...stdout.matchAll(/Pattern verification failed at offset (\d+)/g)].map((match) => Number(match[1]));
    const lost = [...possible].filter(([offset, bytes]) => failures.filter((each) => each === offset).length === bytes.size);
    return lost.map(([offset]) => offset);
  }
}

/** Calls of the API that come without end: volumes, snapshots and clones come, are attached, detached, and go. */
export class ApiLoad {
  readonly #api: BlockStorageApi;
  readonly #source: string;
  /** Calls that were answered as they should be. */
  answered = 0;

  constructor(api: BlockStorageApi, source: string) {
    // A volume may hang on work of a dead process for as long as that one's lease lasts; others are made meanwhile.
    this.#api = api.withPatience(3_000);
    this.#source = source;
  }

  /** Works in several lanes until the signal aborts. What fails is left behind as it is. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([0, 1, 2, 3].map((lane) => this.#lane(lane, signal)));
  }

  async #lane(lane: number, signal: AbortSignal): Promise<void> {
    for (let turn = lane; !signal.aborted; turn += 4) {
      try {
        await this.#turn(turn, signal);
      } catch {
        // The service is dead just now, or it undid what it could not do.
        await sleep(20);
      }
    }
  }

  async #turn(turn: number, signal: AbortSignal): Promise<void> {
    const api = this.#api;
    const type = `file-${1 + (turn % 2)}`;
    const count = async <T>(call: Promise<T>): Promise<T> => {
      const result = await call;
      this.answered++;
      signal.throwIfAborted();
      return result;
    };
    // Some are left to what the service makes of them: nobody waits for their end.
    if (turn % 5 === 4) return void (await count(api.createVolume({ size: 1, source_volid: this.#source })));
    const volume = await count(api.newVolume({ size: 1, volume_type: type }));
    const snapshot = await count(api.newSnapshot(volume));
    const clone = await count(api.newVolume({ size: 1, snapshot_id: snapshot }));
    const initiator = `iqn.2026-11.example:load-${turn}`;
    const attached = await count(api.attach(turn % 2 ? volume : clone, { ...testConnector, initiator, host: `load-${turn}` }));
    await count(api.volumeAction(volume, 'os-extend', { new_size: 2 }));
    await count(api.detach(attached.id));
    await count(api.call(202, 'DELETE', `/snapshots/${snapshot}`));
    await count(api.call(202, 'DELETE', `/volumes/${clone}`));
  }
}
