import { scsiStatus, type Nexus, type ScsiCommand } from '../scsi/command.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { Sense } from '../scsi/sense.ts';
import type { Task } from '../scsi/task-set.ts';
import {
  bhsLength,
  flag,
  isImmediate,
  makeHeader,
  nextSequence,
  reservedTag,
  responseOpcode,
  setDataLength,
  taskTagOf,
} from './pdu.ts';
import { ProtocolError } from './protocol-error.ts';
import type { Session } from './session.ts';

/** Data that the target has asked for and not yet fully received. */
interface OutstandingR2T {
  readonly transferTag: number;
  readonly end: number;
  next: number;
  dataSN: number;
}

/** Data of the command did not match their digest (RFC 7143, 11.4.7.2, "Protocol service CRC error"). */
const protocolServiceCrcError: Sense = { key: 0xb, asc: 0x47, ascq: 0x05 };

const nothing = Buffer.alloc(0);

/** One SCSI command of a session: its data phase (RFC 7143, 4.2.5.2 and 11.7), and its way through the logical unit. */
export class ScsiTask implements ScsiCommand, Task {
  readonly taskTag: number;
  readonly cdb: Buffer;
  readonly attribute: number;
  readonly numbered: boolean;
  readonly lunExists: boolean;
  /** Bytes of session memory that the task is charged for. */
  readonly cost: number;
  /** Whether the session has charged {@link cost}. */
  charged = false;
  aborted = false;
  onAbort: (() => void) | null = null;
  readonly #session: Session;
  readonly #unit: LogicalUnit;
  readonly #lun: Buffer;
  /** Expected data transfer length, bytes. */
  readonly #expected: number;
  readonly #reads: boolean;
  readonly #writes: boolean;
  /** Bytes that the CDB asks the initiator for, and how many of them will come. */
  readonly #asked: number;
  readonly #needed: number;
  #state: 'waiting' | 'receiving' | 'executing' | 'ended' = 'waiting';
  #buffer: Buffer = nothing;
  #received = 0;
  #unsolicited = 0;
  #unsolicitedOpen = false;
  #unsolicitedDataSN = 0;
  #requested = 0;
  /** Data came damaged: the command must not be executed. */
  #damaged = false;
  #r2tSN = 0;
  readonly #outstanding: OutstandingR2T[] = [];
  /** Whole pooled buffer of a read, with room for a header in front. */
  #pooled: Buffer | null = null;
  /** Whole pooled buffer of what is written. Used again only after an execution: before, data may still come into it. */
  #pooledOut: Buffer | null = null;
  #executed = false;

  /** Takes a SCSI Command PDU with its immediate data. Throws {@link ProtocolError}. */
  constructor(session: Session, unit: LogicalUnit, bhs: Buffer, immediate: Buffer) {
    this.#session = session;
    this.#unit = unit;
    this.taskTag = taskTagOf(bhs);
    this.cdb = bhs.subarray(32, 48);
    this.attribute = bhs[1]! & 0x07;
    this.numbered = !isImmediate(bhs);
    this.#lun = bhs.subarray(8, 16);
    // LUN 0 in the peripheral and in the flat addressing method (SAM-5, 4.6).
    this.lunExists = (bhs[8]! & 0xbf) === 0 && bhs[9] === 0 && bhs.readUInt32BE(10) === 0;
    this.#expected = bhs.readUInt32BE(20);
    this.#reads = (bhs[1]! & flag.read) !== 0;
    this.#writes = (bhs[1]! & flag.write) !== 0;
    this.#asked = unit.dataOutLength(this.cdb);
    this.#needed = this.#writes ? Math.min(this.#asked, this.#expected) : 0;
    this.cost = this.#reads ? Math.min(this.#expected, session.limits.maxTaskCost) : this.#needed;
    this.#unsolicitedOpen = (bhs[1]! & flag.final) === 0;
    const { immediateData, initialR2T } = session.parameters;
    if (immediate.length > 0 && (!immediateData || !this.#writes)) throw new ProtocolError('immediate data were not agreed on');
    if (this.#unsolicitedOpen && (initialR2T || !this.#writes)) throw new ProtocolError('unsolicited data were not agreed on');
    if (immediate.length > 0) this.#takeUnsolicited(immediate, false);
    if (!this.#unsolicitedOpen) this.#requested = this.#received;
  }

  get nexus(): Nexus {
    return this.#session.nexus;
  }

  get dataOut(): Buffer {
    return this.#buffer.length === this.#received ? this.#buffer : this.#buffer.subarray(0, this.#received);
  }

  get announced(): number {
    return this.#writes ? this.#expected : 0;
  }

  /** Where the data of a Data-Out PDU belong, if that is known before it is checked. */
  place(offset: number, length: number): Buffer | null {
    if (this.#state === 'ended' || offset !== this.#received || offset + length > this.#needed) return null;
    return this.#storage().subarray(offset, offset + length);
  }

  /** The task may begin: its turn in the task set has come. */
  enable(): void {
    this.#unit.admit(this);
  }

  admitted(): void {
    this.#session.charge(this);
  }

  /** The session has memory for the task. */
  begin(): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'receiving';
    this.#proceed();
  }

  /**
   * Takes a Data-Out PDU (RFC 7143, 11.7). Throws {@link ProtocolError}. After a damaged one, or one whose DataSN tells of
   * others that did not come, the command ends with CHECK CONDITION as soon as everything that was asked for has come
   * (RFC 7143, 7.8 and 7.9).
   */
  takeData(bhs: Buffer, data: Buffer, damaged = false): void {
    this.#damaged ||= damaged;
    const transferTag = bhs.readUInt32BE(20);
    const dataSN = bhs.readUInt32BE(36);
    const offset = bhs.readUInt32BE(40);
    const final = (bhs[1]! & flag.final) !== 0;
    if (transferTag === reservedTag) {
      if (!this.#unsolicitedOpen) throw new ProtocolError('unsolicited data came that were not announced');
      if (offset !== this.#unsolicited) throw new ProtocolError('unsolicited data are out of order');
      if (dataSN !== this.#unsolicitedDataSN++) this.#damaged = true;
      this.#takeUnsolicited(data, true);
      if (final) {
        this.#unsolicitedOpen = false;
        this.#requested = this.#received;
        if (this.#state === 'receiving') this.#proceed();
      }
      return;
    }
    const r2t = this.#outstanding[0];
    if (r2t === undefined || r2t.transferTag !== transferTag) throw new ProtocolError('data came that nobody asked for');
    if (offset !== r2t.next || offset + data.length > r2t.end) throw new ProtocolError('data are not where they were asked for');
    if (dataSN !== r2t.dataSN++) this.#damaged = true;
    this.#store(data, offset);
    r2t.next += data.length;
    if (final !== (r2t.next === r2t.end)) throw new ProtocolError('a sequence of data has the wrong length');
    if (final) {
      this.#outstanding.shift();
      this.#proceed();
    }
  }

  allocate(length: number): Buffer {
    this.#pooled = this.#session.pool.take(length);
    return this.#pooled.subarray(bhsLength, bhsLength + length);
  }

  good(data: Buffer = nothing): void {
    if (!this.#end()) return;
    const room = this.#reads ? this.#expected : 0;
    const sent = Math.min(data.length, room);
    // One direction only: a command that sends data asks for none, or has no residual there.
    const difference = data.length > 0 || this.#reads ? room - data.length : (this.#writes ? this.#expected : 0) - this.#asked;
    if (sent === 0) this.#session.sendFinal(this, this.#response(scsiStatus.good, difference));
    else this.#sendData(data.length === sent ? data : data.subarray(0, sent), difference);
    this.#settle(sent > 0 && this.#pooled !== null);
  }

  check(sense: Sense): void {
    if (!this.#end()) return;
    const response = this.#response(scsiStatus.checkCondition, this.#reads ? this.#expected : 0);
    const formatted = this.#unit.formatSense(sense);
    const data = Buffer.alloc(2 + formatted.length);
    data.writeUInt16BE(formatted.length, 0);
    formatted.copy(data, 2);
    this.#session.sendFinal(this, response, data);
    this.#settle(false);
  }

  end(status: number): void {
    if (!this.#end()) return;
    this.#session.sendFinal(this, this.#response(status, 0));
    this.#settle(false);
  }

  abort(): void {
    if (this.aborted || this.#state === 'ended') return;
    this.aborted = true;
    if (this.#state === 'executing' || this.onAbort !== null) {
      this.onAbort?.();
    } else {
      this.#state = 'ended';
      this.#settle(false);
    }
  }

  /** What was sent has left; the buffer can be used again. */
  sent(): void {
    if (this.#pooled !== null) this.#session.pool.give(this.#pooled);
    this.#pooled = null;
  }

  #storage(): Buffer {
    // What the initiator does not send is never read, so the content of the buffer does not matter.
    if (this.#buffer.length < this.#needed) {
      const whole = this.#session.pool.take(this.#needed);
      this.#buffer.copy(whole);
      if (this.#pooledOut !== null) this.#session.pool.give(this.#pooledOut);
      this.#pooledOut = whole;
      this.#buffer = whole.subarray(0, this.#needed);
    }
    return this.#buffer;
  }

  #takeUnsolicited(data: Buffer, viaDataOut: boolean): void {
    const end = this.#unsolicited + data.length;
    if (end > this.#expected) throw new ProtocolError('more data came than were announced');
    if (end > this.#session.parameters.firstBurstLength) throw new ProtocolError('the first burst is too long');
    this.#unsolicited = end;
    const useful = Math.min(data.length, this.#needed - this.#received);
    if (useful <= 0) return;
    if (!viaDataOut && useful === this.#needed) {
      this.#pooledOut = this.#session.adopt(data);
      this.#buffer = data.length === useful ? data : data.subarray(0, useful);
      this.#received = useful;
    } else {
      this.#store(data.subarray(0, useful), this.#received);
    }
  }

  #store(data: Buffer, offset: number): void {
    const storage = this.#storage();
    const inPlace = data.buffer === storage.buffer && data.byteOffset === storage.byteOffset + offset;
    if (!inPlace) data.copy(storage, offset);
    this.#received = offset + data.length;
  }

  /** Asks for more data, or executes when all are there. */
  #proceed(): void {
    if (this.#state !== 'receiving' || this.#unsolicitedOpen) return;
    if (this.#damaged) {
      if (this.#outstanding.length === 0) this.check(protocolServiceCrcError);
      return;
    }
    if (this.#received === this.#needed) {
      this.#state = 'executing';
      this.#executed = true;
      this.#unit.execute(this);
      return;
    }
    const { maxOutstandingR2T, maxBurstLength } = this.#session.parameters;
    while (this.#outstanding.length < maxOutstandingR2T && this.#requested < this.#needed) {
      const length = Math.min(maxBurstLength, this.#needed - this.#requested);
      const transferTag = this.#session.nextTransferTag();
      const r2t = makeHeader(responseOpcode.r2t, flag.final, this.taskTag);
      this.#lun.copy(r2t, 8);
      r2t.writeUInt32BE(transferTag, 20);
      r2t.writeUInt32BE(this.#r2tSN++, 36);
      r2t.writeUInt32BE(this.#requested, 40);
      r2t.writeUInt32BE(length, 44);
      this.#outstanding.push({ transferTag, next: this.#requested, end: this.#requested + length, dataSN: 0 });
      this.#requested += length;
      this.#session.send(r2t, false);
    }
  }

  /** Marks the end; whether an answer is due. */
  #end(): boolean {
    if (this.#state === 'ended') return false;
    this.#state = 'ended';
    if (!this.aborted) return true;
    this.#settle(false);
    return false;
  }

  #settle(bufferInUse: boolean): void {
    if (!bufferInUse) this.sent();
    if (this.#executed && this.#pooledOut !== null) this.#session.pool.give(this.#pooledOut);
    this.#pooledOut = null;
    this.#session.taskEnded(this, bufferInUse);
    this.#unit.taskSet.remove(this);
  }

  #response(status: number, difference: number): Buffer {
    const response = makeHeader(responseOpcode.scsiResponse, flag.final | residualFlag(difference), this.taskTag);
    response[3] = status;
    response.writeUInt32BE(Math.abs(difference), 44);
    return response;
  }

  /** Data-In PDUs, the last of them with the status (RFC 7143, 11.7.3 and 4.2.5.2). */
  #sendData(data: Buffer, difference: number): void {
    const { initiatorMaxRecvDataSegmentLength: segment, maxBurstLength } = this.#session.parameters;
    const pooled = this.#pooled;
    let dataSN = 0;
    for (let at = 0; at < data.length; dataSN++) {
      const burstEnd = at - (at % maxBurstLength) + maxBurstLength;
      const length = Math.min(segment, data.length - at, burstEnd - at);
      const last = at + length === data.length;
      const final = last || at + length === burstEnd;
      const headed = at === 0 && pooled !== null;
      const header = headed ? pooled.subarray(0, bhsLength).fill(0) : Buffer.allocUnsafe(bhsLength).fill(0);
      header[0] = responseOpcode.dataIn;
      header[1] = (final ? flag.final : 0) | (last ? flag.status | residualFlag(difference) : 0);
      setDataLength(header, length);
      header.writeUInt32BE(this.taskTag, 16);
      header.writeUInt32BE(reservedTag, 20);
      header.writeUInt32BE(dataSN, 36);
      header.writeUInt32BE(at, 40);
      if (last) header.writeUInt32BE(Math.abs(difference), 44);
      this.#session.sendDataIn(
        this,
        header,
        headed ? pooled.subarray(0, bhsLength + length) : data.subarray(at, at + length),
        headed,
        last,
      );
      at += length;
    }
  }
}

const residualFlag = (difference: number): number =>
  difference === 0 ? 0 : difference > 0 ? flag.residualUnderflow : flag.residualOverflow;

/** Advances a transfer tag past the reserved value. */
export const tagAfter = (tag: number): number => (nextSequence(tag) === reservedTag ? 0 : nextSequence(tag));
