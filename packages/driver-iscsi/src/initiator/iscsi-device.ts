import {
  rangeError,
  ScoriaError,
  type Clock,
  type Extent,
  type Log,
  type OpenOptions,
  type WriteOptions,
} from '@scoria/core/device';
import type { ConnectedDevice } from '@scoria/core';
import { LogicalUnitClient, SenseFault, serviceAction, type Capacity } from './logical-unit-client.ts';
import type { RecoveringSession } from './recovering-session.ts';
import { isUnsupported } from './sense-data.ts';

/** What a device needs of its surroundings. */
export interface DeviceContext {
  readonly clock: Clock;
  readonly log: Log;
  /** The name in messages. */
  readonly name: string;
  /** How long the logical unit may be busy, ms. */
  readonly patience: number;
}

/** What the logical unit can do, as it tells itself (SBC-3, 6.6.3 and 6.6.4). Lengths in bytes. */
interface UnitTraits {
  readonly maxTransfer: number;
  /** Longest range of one WRITE SAME; 0 when zeroes have to be written. */
  readonly maxWriteSame: number;
  /** Whether WRITE SAME may unmap, and what is unmapped reads as zeroes. */
  readonly writeSameUnmaps: boolean;
  /** Longest range of one UNMAP; 0 when there is no UNMAP, or what it leaves is anything. */
  readonly maxUnmap: number;
  readonly writeProtected: boolean;
  readonly fua: boolean;
}

/** Longest transfer of one command where the target sets no lower limit, bytes. */
const transferLimit = 4_194_304;
/** Longest range of one command without data where the target sets no limit, bytes. */
const rangeLimit = 1_073_741_824;
/** Descriptors that one GET LBA STATUS may return. */
const statusDescriptors = 256;
/** Longest range that is overwritten with zeroes at a time, bytes. */
const zeroStep = 1_048_576;

const opcode = { read16: 0x88, write16: 0x8a, writeSame16: 0x93, synchronizeCache10: 0x35, unmap: 0x42 } as const;
const fuaBit = 0x08;
const unmapBit = 0x08;

/** Provisioning status of a range that has no storage (SBC-3, 5.5.2). */
const deallocated = 1;

const zeroes = Buffer.alloc(zeroStep);

/** A logical unit that is reached over iSCSI, as a block device. Its writes are repeated when a session was lost. */
export class IscsiDevice implements ConnectedDevice {
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly path = null;
  readonly #session: RecoveringSession;
  readonly #unit: LogicalUnitClient;
  readonly #name: string;
  readonly #traits: UnitTraits;
  #size: number;
  #writesSame: boolean;
  #tellsStatus: boolean;
  #closing: Promise<void> | null = null;

  private constructor(
    session: RecoveringSession,
    unit: LogicalUnitClient,
    name: string,
    capacity: Capacity,
    traits: UnitTraits,
    { readOnly }: OpenOptions,
  ) {
    this.#session = session;
    this.#unit = unit;
    this.#name = name;
    this.#traits = traits;
    this.#size = capacity.size;
    this.blockSize = capacity.blockSize;
    this.readOnly = readOnly || traits.writeProtected;
    this.#writesSame = traits.maxWriteSame > 0;
    this.#tellsStatus = capacity.provisioned && capacity.unmappedReadsZero;
  }

  /** Asks the logical unit what it is. Rejects with a `device-…` error. */
  static async open(session: RecoveringSession, options: OpenOptions, context: DeviceContext): Promise<IscsiDevice> {
    const unit = new LogicalUnitClient(session.execute, context);
    const capacity = await unit.readCapacity();
    const traits = await traitsOf(unit, capacity);
    return new IscsiDevice(session, unit, context.name, capacity, traits, options);
  }

  get serial(): string {
    return this.#session.serial;
  }

  get size(): number {
    return this.#size;
  }

  read(into: Uint8Array, offset: number): Promise<void> {
    const refused = this.#refusal(offset, into.byteLength, false);
    if (refused !== undefined) return Promise.reject(refused);
    const data = viewOf(into);
    if (data.length <= this.#traits.maxTransfer) return this.#readOnce(data, offset);
    return this.#inParts(data.length, this.#traits.maxTransfer, (at, length) =>
      this.#readOnce(data.subarray(at, at + length), offset + at),
    );
  }

  write(data: Uint8Array, offset: number, options?: WriteOptions): Promise<void> {
    const refused = this.#refusal(offset, data.byteLength, true);
    if (refused !== undefined) return Promise.reject(refused);
    const bytes = viewOf(data);
    const fua = options?.fua === true;
    const bit = fua && this.#traits.fua ? fuaBit : 0;
    const written =
      bytes.length <= this.#traits.maxTransfer
        ? this.#writeOnce(bytes, offset, bit)
        : this.#inParts(bytes.length, this.#traits.maxTransfer, (at, length) =>
            this.#writeOnce(bytes.subarray(at, at + length), offset + at, bit),
          );
    return fua && bit === 0 ? written.then(() => this.flush()) : written;
  }

  async writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    const refused = this.#refusal(offset, length, true);
    if (refused !== undefined) throw refused;
    await this.#zero(offset, length);
    // WRITE SAME knows no FUA.
    if (options?.fua === true) await this.flush();
  }

  async discard(offset: number, length: number): Promise<void> {
    const refused = this.#refusal(offset, length, true);
    if (refused !== undefined) throw refused;
    const { writeSameUnmaps, maxUnmap } = this.#traits;
    if ((writeSameUnmaps && this.#writesSame) || maxUnmap === 0) return this.#zero(offset, length);
    await this.#inParts(length, maxUnmap, (at, part) => this.#unmap(offset + at, part));
    // UNMAP is a request that a target need not follow (SBC-3, 4.7.3.4), and what stays has its old content.
    for await (const extent of this.allocatedExtents(offset, length)) await this.#zero(extent.offset, extent.length);
  }

  async flush(): Promise<void> {
    const cdb = Buffer.alloc(16);
    // The range of 0 blocks from 0 on is the whole medium (SBC-3, 5.26).
    cdb[0] = opcode.synchronizeCache10;
    await this.#unit.mustRun('SYNCHRONIZE CACHE', cdb);
  }

  async *allocatedExtents(offset: number, length: number): AsyncIterable<Extent> {
    const refused = this.#refusal(offset, length, false);
    if (refused !== undefined) throw refused;
    const end = offset + length;
    let found: Extent | null = null;
    for (let at = offset; at < end;) {
      const runs = await this.#lbaStatus(at, end);
      for (const run of runs) {
        if (run.mapped) {
          if (found !== null && found.offset + found.length === at)
            found = { offset: found.offset, length: found.length + run.length };
          else {
            if (found !== null) yield found;
            found = { offset: at, length: run.length };
          }
        }
        at += run.length;
      }
    }
    if (found !== null) yield found;
  }

  async refreshSize(): Promise<number> {
    const { size } = await this.#unit.readCapacity();
    this.#size = size;
    return size;
  }

  close(): Promise<void> {
    this.#closing ??= this.#session.close();
    return this.#closing;
  }

  /** Fails every call from here on with `device-gone`, and logs out. */
  async drop(): Promise<void> {
    await this.#session.drop('was disconnected');
  }

  #refusal(offset: number, length: number, writing: boolean): ScoriaError | undefined {
    if (this.#closing !== null) return new ScoriaError('device-gone', `${this.#name} is closed`);
    if (writing && this.readOnly) return new ScoriaError('device-not-permitted', `${this.#name} is open for reading only`);
    return rangeError(this.#name, this, offset, length);
  }

  /** Does the parts of a long call side by side; the queue depth bounds how many are on their way. */
  async #inParts(length: number, step: number, work: (at: number, length: number) => Promise<void>): Promise<void> {
    const parts: Promise<void>[] = [];
    for (let at = 0; at < length; at += step) parts.push(work(at, Math.min(step, length - at)));
    // All have ended before the caller gets its buffer back.
    const failed = (await Promise.allSettled(parts)).find((part) => part.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #readOnce(into: Buffer, offset: number): Promise<void> {
    if (into.length === 0) return;
    const received = await this.#unit.mustRun('READ', this.#cdb(opcode.read16, 0, offset, into.length), into);
    if (received !== into.length) {
      throw new ScoriaError('device-medium-error', `${this.#name}: READ gave ${received} bytes instead of ${into.length}`);
    }
  }

  async #writeOnce(data: Buffer, offset: number, flags: number): Promise<void> {
    if (data.length === 0) return;
    await this.#unit.mustRun('WRITE', this.#cdb(opcode.write16, flags, offset, data.length), null, data);
  }

  async #zero(offset: number, length: number): Promise<void> {
    const { maxWriteSame, writeSameUnmaps } = this.#traits;
    if (this.#writesSame) {
      const block = zeroes.subarray(0, this.blockSize);
      const flags = writeSameUnmaps ? unmapBit : 0;
      try {
        return await this.#inParts(length, maxWriteSame, async (at, part) => {
          await this.#unit.run('WRITE SAME', this.#cdb(opcode.writeSame16, flags, offset + at, part), null, block);
        });
      } catch (error) {
        if (!(error instanceof SenseFault)) throw error;
        if (!isUnsupported(error.sense)) throw error.error;
        this.#writesSame = false;
      }
    }
    for (let at = 0; at < length; at += zeroStep) {
      await this.#writeOnce(zeroes.subarray(0, Math.min(zeroStep, length - at)), offset + at, 0);
    }
  }

  async #unmap(offset: number, length: number): Promise<void> {
    const list = Buffer.alloc(24);
    list.writeUInt16BE(22, 0);
    list.writeUInt16BE(16, 2);
    list.writeBigUInt64BE(BigInt(offset / this.blockSize), 8);
    list.writeUInt32BE(length / this.blockSize, 16);
    const cdb = Buffer.alloc(16);
    cdb[0] = opcode.unmap;
    cdb.writeUInt16BE(list.length, 7);
    await this.#unit.mustRun('UNMAP', cdb, null, list);
  }

  /** Runs of blocks with and without storage, from `offset` to `end` at most (GET LBA STATUS, SBC-3, 5.5). */
  async #lbaStatus(offset: number, end: number): Promise<readonly { readonly length: number; readonly mapped: boolean }[]> {
    const whole = [{ length: end - offset, mapped: true }];
    if (!this.#tellsStatus) return whole;
    const room = Buffer.alloc(8 + 16 * statusDescriptors);
    const cdb = serviceAction(0x12, offset / this.blockSize);
    cdb.writeUInt32BE(room.length, 10);
    let received: number;
    try {
      received = await this.#unit.run('GET LBA STATUS', cdb, room);
    } catch (error) {
      if (!(error instanceof SenseFault)) throw error;
      if (!isUnsupported(error.sense)) throw error.error;
      this.#tellsStatus = false;
      return whole;
    }
    const runs: { length: number; mapped: boolean }[] = [];
    let at = offset;
    for (let index = 8; index + 16 <= received && at < end; index += 16) {
      const first = Number(room.readBigUInt64BE(index)) * this.blockSize;
      const length = room.readUInt32BE(index + 8) * this.blockSize;
      // The first descriptor may begin before what was asked for; a gap cannot be.
      if (first > at || first + length <= at) break;
      const rest = Math.min(first + length, end) - at;
      runs.push({ length: rest, mapped: (room[index + 12]! & 0x0f) !== deallocated });
      at += rest;
    }
    return runs.length === 0 ? whole : runs;
  }

  /** A CDB of 16 bytes with a range of bytes as LBA and length. */
  #cdb(code: number, flags: number, offset: number, length: number): Buffer {
    const cdb = Buffer.allocUnsafe(16);
    const lba = offset / this.blockSize;
    cdb[0] = code;
    cdb[1] = flags;
    cdb.writeUInt32BE(Math.floor(lba / 2 ** 32), 2);
    cdb.writeUInt32BE(lba % 2 ** 32, 6);
    cdb.writeUInt32BE(length / this.blockSize, 10);
    cdb[14] = 0;
    cdb[15] = 0;
    return cdb;
  }
}

const viewOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

async function traitsOf(unit: LogicalUnitClient, capacity: Capacity): Promise<UnitTraits> {
  const { blockSize, provisioned, unmappedReadsZero } = capacity;
  const limits = await unit.vitalProductPage(0xb0);
  const provisioning = provisioned ? await unit.vitalProductPage(0xb2) : null;
  const flags = await unit.modeFlags();
  const word = (page: Buffer | null, at: number): number => (page !== null && page.length >= at + 4 ? page.readUInt32BE(at) : 0);
  const bounded = (blocks: number, most: number): number => Math.min(blocks === 0 ? most : blocks * blockSize, most);
  const supports = provisioning?.[5] ?? 0;
  // LBPU, LBPWS: which commands unmap. Offsets and bits of SBC-3, 6.6.4 and, for the limits, 6.6.3.
  const unmaps = unmappedReadsZero && (supports & 0x80) !== 0 && word(limits, 20) > 0 && word(limits, 24) > 0;
  return {
    maxTransfer: bounded(word(limits, 8), transferLimit),
    maxWriteSame: bounded(word(limits, 40), rangeLimit),
    writeSameUnmaps: unmappedReadsZero && (supports & 0x40) !== 0,
    maxUnmap: unmaps ? bounded(word(limits, 20), rangeLimit) : 0,
    writeProtected: flags.writeProtected,
    fua: flags.fua,
  };
}
