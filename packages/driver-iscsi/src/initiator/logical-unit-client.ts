import { ScoriaError, type Clock, type Log } from '@scoria/core/device';
import { senseOf, type Sense } from '../scsi/sense.ts';
import { scsiStatus } from './scsi-status.ts';
import { isSense, senseFault, senseKey } from './sense-data.ts';
import type { CommandReply } from './session-command.ts';

/** Carries out one SCSI command. Rejects when there is no way to the logical unit. */
export type Execute = (cdb: Buffer, dataIn: Buffer | null, dataOut: Buffer | null) => Promise<CommandReply>;

/** What a client of a logical unit needs of its surroundings. */
export interface LogicalUnitContext {
  readonly clock: Clock;
  readonly log: Log;
  /** The name in messages. */
  readonly name: string;
  /** How long a logical unit may be busy, ms. */
  readonly patience: number;
}

/** A command that the logical unit ended with a sense. */
export class SenseFault extends Error {
  readonly sense: Sense;
  readonly error: ScoriaError;
  constructor(sense: Sense, error: ScoriaError) {
    super(error.message);
    this.sense = sense;
    this.error = error;
  }
}

/** The size of a logical unit and what it says of its provisioning (SBC-3, 5.16). */
export interface Capacity {
  readonly size: number;
  readonly blockSize: number;
  /** LBPME and LBPRZ: unmapped blocks exist, and read as zeroes. */
  readonly provisioned: boolean;
  readonly unmappedReadsZero: boolean;
}

/** Retries of one command after a unit attention, however long that takes, and after an abort by the target. */
const maxAttentions = 16;
const maxAborts = 8;
const pause = { first: 10, longest: 1_000 } as const;

const modeSenseLength = 192;
const pageLength = 255;

/** SCSI commands to one logical unit. What passes by itself is tried again: unit attentions, busy states, aborts. */
export class LogicalUnitClient {
  readonly #execute: Execute;
  readonly #context: LogicalUnitContext;

  constructor(execute: Execute, context: LogicalUnitContext) {
    this.#execute = execute;
    this.#context = context;
  }

  /**
   * Carries out a command and returns how many bytes came. Rejects with {@link SenseFault} or a `device-…` error.
   *
   * @param action - what it does, for the error.
   */
  async run(action: string, cdb: Buffer, dataIn: Buffer | null = null, dataOut: Buffer | null = null): Promise<number> {
    const reply = await this.#execute(cdb, dataIn, dataOut);
    if (reply.status === scsiStatus.good) return reply.received;
    return this.#again(action, cdb, dataIn, dataOut, reply);
  }

  async #again(action: string, cdb: Buffer, dataIn: Buffer | null, dataOut: Buffer | null, first: CommandReply): Promise<number> {
    const { clock, log, name, patience } = this.#context;
    const begun = clock.monotonic();
    let attentions = 0;
    let aborts = 0;
    for (let reply = first, attempt = 0; ; attempt++) {
      const { status, sense, received } = reply;
      if (status === scsiStatus.good || status === scsiStatus.conditionMet) return received;
      if (sense !== null) {
        if (sense.key === senseKey.recoveredError) return received;
        // Each new session brings one, so that their number alone says little.
        const attention =
          sense.key === senseKey.unitAttention && (attentions++ < maxAttentions || clock.monotonic() - begun < patience);
        if (attention) log.debug({ device: name, asc: sense.asc, ascq: sense.ascq }, 'SCSI unit attention');
        const aborted = sense.key === senseKey.abortedCommand && aborts++ < maxAborts;
        if (!attention && !aborted && !isSense(sense, becomingReady))
          throw new SenseFault(sense, senseFault(name, action, sense));
      } else if (status === scsiStatus.reservationConflict) {
        throw new ScoriaError('device-not-permitted', `${name}: ${action} is kept from us by a reservation of another host`);
      } else if (status === scsiStatus.taskAborted) {
        if (aborts++ >= maxAborts) throw new ScoriaError('device-gone', `${name}: ${action} is aborted again and again`);
      } else if (!busy.has(status)) {
        throw new ScoriaError('device-medium-error', `${name}: ${action} failed with SCSI status ${status.toString(16)}`);
      }
      if (sense?.key !== senseKey.unitAttention && clock.monotonic() - begun >= patience) {
        throw new ScoriaError('device-gone', `${name}: ${action} found the logical unit busy for ${patience} ms`);
      }
      // A unit attention is over once it is told, as a rule.
      if (sense?.key !== senseKey.unitAttention || attentions > maxAttentions)
        await clock.sleep(Math.min(pause.first * 2 ** attempt, pause.longest));
      reply = await this.#execute(cdb, dataIn, dataOut);
    }
  }

  /** Like {@link run}, with the plain error of a sense. */
  async mustRun(action: string, cdb: Buffer, dataIn: Buffer | null = null, dataOut: Buffer | null = null): Promise<number> {
    try {
      return await this.run(action, cdb, dataIn, dataOut);
    } catch (error) {
      throw error instanceof SenseFault ? error.error : error;
    }
  }

  /** Unit serial number without padding (SPC-4, 7.8.15). `device-gone` when there is no disk. */
  async serialNumber(): Promise<string> {
    const { name } = this.#context;
    const standard = await this.#answer('INQUIRY', inquiryCdb(null, 96), 96, 5);
    // Peripheral qualifier and device type 0: a direct access block device that is connected (SPC-4, 6.6.2).
    if (standard[0] !== 0) throw new ScoriaError('device-gone', `${name} is not there: the LUN holds no disk`);
    const page = await this.vitalProductPage(0x80);
    if (page === null) throw new ScoriaError('device-gone', `${name} cannot be verified: the target tells no serial number`);
    return page.toString('latin1', 4).replaceAll('\0', ' ').trim();
  }

  /** Takes the unit attentions that wait for this nexus, and looks whether the medium can be used. */
  async clearAttentions(): Promise<void> {
    try {
      await this.mustRun('TEST UNIT READY', Buffer.alloc(16));
    } catch (error) {
      // A reservation of another host is told to the commands that it concerns.
      if (ScoriaError.from(error).code !== 'device-not-permitted') throw error;
    }
  }

  /** A page of vital product data with its header, or `null` when the logical unit has no such page (SPC-4, 7.8). */
  async vitalProductPage(code: number): Promise<Buffer | null> {
    try {
      const page = await this.#answerOf('INQUIRY', inquiryCdb(code, pageLength), pageLength, 4);
      if (page[1] !== code) return null;
      return page.subarray(0, 4 + page.readUInt16BE(2));
    } catch (error) {
      if (error instanceof SenseFault && error.sense.key === senseKey.illegalRequest) return null;
      throw error instanceof SenseFault ? error.error : error;
    }
  }

  async readCapacity(): Promise<Capacity> {
    const { name } = this.#context;
    const cdb = serviceAction(0x10, 0);
    cdb.writeUInt32BE(32, 10);
    const answer = await this.#answer('READ CAPACITY', cdb, 32, 12);
    const blockSize = answer.readUInt32BE(8);
    const blocks = answer.readBigUInt64BE(0) + 1n;
    const size = Number(blocks) * blockSize;
    if (blockSize !== 512 && blockSize !== 4096) {
      throw new ScoriaError('device-gone', `${name} has blocks of ${blockSize} bytes; only 512 and 4096 can be used`);
    }
    if (!Number.isSafeInteger(size)) throw new ScoriaError('device-gone', `${name} claims an impossible size`);
    const flags = answer[14] ?? 0;
    return { size, blockSize, provisioned: (flags & 0x80) !== 0, unmappedReadsZero: (flags & 0x40) !== 0 };
  }

  /** Write protection and whether FUA is obeyed, of the mode parameter header (SBC-3, 6.4.1). */
  async modeFlags(): Promise<{ readonly writeProtected: boolean; readonly fua: boolean }> {
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x1a;
    cdb[1] = 0x08;
    cdb[2] = 0x3f;
    cdb[4] = modeSenseLength;
    try {
      const answer = await this.#answerOf('MODE SENSE', cdb, modeSenseLength, 4);
      return { writeProtected: (answer[2]! & 0x80) !== 0, fua: (answer[2]! & 0x10) !== 0 };
    } catch (error) {
      if (!(error instanceof SenseFault)) throw error;
      if (error.sense.key !== senseKey.illegalRequest) throw error.error;
      return { writeProtected: false, fua: false };
    }
  }

  async #answer(action: string, cdb: Buffer, room: number, least: number): Promise<Buffer> {
    try {
      return await this.#answerOf(action, cdb, room, least);
    } catch (error) {
      throw error instanceof SenseFault ? error.error : error;
    }
  }

  async #answerOf(action: string, cdb: Buffer, room: number, least: number): Promise<Buffer> {
    const data = Buffer.alloc(room);
    const received = await this.run(action, cdb, data);
    if (received < least) throw new ScoriaError('device-gone', `${this.#context.name}: the answer to ${action} is too short`);
    return data.subarray(0, received);
  }
}

/** Not ready, in process of becoming ready (SPC-4, annex F). */
const becomingReady: Sense = { ...senseOf.notReady, ascq: 0x01 };

const busy: ReadonlySet<number> = new Set([scsiStatus.busy, scsiStatus.taskSetFull, scsiStatus.acaActive]);

function inquiryCdb(page: number | null, room: number): Buffer {
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x12;
  if (page !== null) {
    cdb[1] = 0x01;
    cdb[2] = page;
  }
  cdb.writeUInt16BE(room, 3);
  return cdb;
}

/** A CDB of SERVICE ACTION IN(16) (SPC-4, 4.2.5.4). */
export function serviceAction(action: number, lba: number): Buffer {
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x9e;
  cdb[1] = action;
  cdb.writeBigUInt64BE(BigInt(lba), 2);
  return cdb;
}
