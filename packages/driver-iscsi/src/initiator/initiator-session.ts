import { ScoriaError, withDeadline, type Clock, type Log } from '@scoria/core/device';
import {
  asyncEvent,
  flag,
  logoutReason,
  makeHeader,
  opcodeOf,
  requestOpcode,
  reservedTag,
  responseOpcode,
  taskFunction,
  taskResponse,
  taskTagOf,
} from '../protocol/pdu.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { senseOf } from '../scsi/sense.ts';
import { firstRequestTag, ImmediateRequests } from './immediate-requests.ts';
import type { ConnectionReceiver, InitiatorConnection } from './initiator-connection.ts';
import type { LoggedIn } from './login-dialogue.ts';
import { sendData, unsolicitedLength } from './data-out.ts';
import { parseSense } from './sense-data.ts';
import { scsiStatus } from './scsi-status.ts';
import type { InitiatorParameters } from './operational-offer.ts';
import { SequenceNumbers } from './sequence-numbers.ts';
import { SessionCommand, type CommandReply } from './session-command.ts';

/** How a session behaves. Times in ms. */
export interface SessionTimes {
  /** Silence after which the target is pinged; after three times that it is taken for gone. */
  readonly pingInterval: number;
  /** Time of a command before the target is asked to abort it. */
  readonly commandDeadline: number;
  /** Time for the answer to a task management or logout request. */
  readonly answerDeadline: number;
}

/** What a session needs of its surroundings. */
export interface SessionContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly times: SessionTimes;
  /** Commands that are on their way at once, at most. */
  readonly queueDepth: number;
  /** Told once that the session is over. `wait` is how long the target wants to be left alone, ms. */
  onLost(error: ScoriaError, wait: number): void;
}

/** Intervals of silence after which the target is taken for gone. */
const silenceLimit = 3;

/** Full feature phase of a normal session with one connection (RFC 7143, 4.2 and 11), seen from the initiator. */
export class InitiatorSession implements ConnectionReceiver {
  readonly #connection: InitiatorConnection;
  readonly #parameters: InitiatorParameters;
  readonly #context: SessionContext;
  readonly #lun: Buffer;
  /** Commands that were sent, by their task tags, oldest first. */
  readonly #sent = new Map<number, SessionCommand>();
  readonly #waiting: SessionCommand[] = [];
  readonly #numbers: SequenceNumbers;
  readonly #requests: ImmediateRequests;
  #lastTag = 0;
  #silence = 0;
  /** No command is begun any more. */
  #leaving = false;
  /** Ends the wait for the commands on their way, where the target asked for a logout. */
  #departure: Disposable | null = null;
  #departing = false;
  #over = false;
  #wait = 0;
  #timer: Disposable;

  /** @param lun - of all commands. */
  constructor(connection: InitiatorConnection, outcome: LoggedIn, lun: number, context: SessionContext) {
    this.#connection = connection;
    this.#parameters = outcome.parameters;
    this.#context = context;
    this.#numbers = new SequenceNumbers(outcome);
    this.#requests = new ImmediateRequests(connection, this.#numbers);
    this.#lun = encodeLun(lun);
    this.#timer = this.#nextTick();
  }

  /** What was agreed on at login. */
  get parameters(): Readonly<InitiatorParameters> {
    return this.#parameters;
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#over;
  }

  get portal(): string {
    return this.#connection.portal;
  }

  /** Takes a command, to be sent when the target's window and the queue depth allow it. */
  submit(command: SessionCommand): void {
    if (this.#over) return command.lose(this.#ended());
    command.queuedAt = this.#context.clock.monotonic();
    this.#waiting.push(command);
    this.#pump();
  }

  /** Carries out one command on this session alone. Rejects with `transport-failed` when the session ends first. */
  execute(cdb: Buffer, dataIn: Buffer | null, dataOut: Buffer | null): Promise<CommandReply> {
    return new Promise((resolve, reject) => {
      this.submit(new SessionCommand(this.#context.clock.monotonic(), cdb, dataIn, dataOut, resolve, reject));
    });
  }

  /** Logs out (RFC 7143, 11.14) and ends the connection, whatever the target says. Commands must have ended before. */
  async logout(): Promise<void> {
    if (this.#over) return;
    this.#leaving = true;
    try {
      const { clock, times } = this.#context;
      await withDeadline(clock, times.answerDeadline, 'The logout', () =>
        this.#requests.ask(requestOpcode.logout, logoutReason.closeSession),
      );
    } catch (error) {
      this.#context.log.debug({ portal: this.portal, error: ScoriaError.from(error).message }, 'iSCSI logout failed');
    } finally {
      this.end();
    }
  }

  /** Ends the session at once, without a word to the target or the owner. Commands are lost. */
  end(): void {
    if (this.#over) return;
    this.#connection.close();
    this.#finish(this.#ended());
  }

  place(bhs: Buffer, length: number): Buffer | null {
    if (opcodeOf(bhs) !== responseOpcode.dataIn) return null;
    return this.#dataPlace(this.#commandOf(bhs), bhs, length);
  }

  pdu(bhs: Buffer, data: Buffer): void {
    this.#numbers.takeWindow(bhs);
    switch (opcodeOf(bhs)) {
      case responseOpcode.dataIn:
        this.#dataIn(bhs, data);
        break;
      case responseOpcode.scsiResponse:
        this.#scsiResponse(bhs, data);
        break;
      case responseOpcode.r2t:
        this.#readyToTransfer(bhs);
        break;
      case responseOpcode.nopIn:
        this.#nopIn(bhs);
        break;
      case responseOpcode.taskManagement:
      case responseOpcode.logout:
        this.#numbers.takeStatus(bhs);
        this.#requests.answered(bhs);
        break;
      case responseOpcode.asyncMessage:
        this.#numbers.takeStatus(bhs);
        this.#asyncMessage(bhs);
        break;
      case responseOpcode.reject:
        // At error recovery level 0 a request that was not taken costs the session (RFC 7143, 7.1.1); a new one repeats it.
        throw new ProtocolError(`a request was rejected with reason ${bhs[2]!.toString(16)}`);
      default:
        throw new ProtocolError(`a PDU of opcode ${opcodeOf(bhs).toString(16)} is out of place`);
    }
    if (this.#waiting.length > 0) this.#pump();
  }

  lost(error: ScoriaError): void {
    if (this.#over) return;
    this.#finish(error);
    this.#context.onLost(error, this.#wait);
  }

  #ended(): ScoriaError {
    return new ScoriaError('transport-failed', `The session at iSCSI portal ${this.portal} has ended`);
  }

  #finish(error: ScoriaError): void {
    this.#over = true;
    this.#timer[Symbol.dispose]();
    this.#departure?.[Symbol.dispose]();
    const unfinished = [...this.#sent.values(), ...this.#waiting];
    this.#sent.clear();
    this.#waiting.length = 0;
    for (const command of unfinished) command.lose(error);
  }

  #pump(): void {
    const { queueDepth, clock } = this.#context;
    while (this.#waiting.length > 0 && this.#sent.size < queueDepth && this.#numbers.open && !this.#leaving) {
      const command = this.#waiting.shift();
      if (command === undefined) return;
      command.begin(this.#numbers.takeCommand(), clock.monotonic());
      this.#start(command);
    }
  }

  #start(command: SessionCommand): void {
    const tag = this.#newTag();
    const { cdb, dataIn, dataOut } = command;
    const parameters = this.#parameters;
    const unsolicited = dataOut === null ? 0 : unsolicitedLength(dataOut.length, parameters);
    const immediate = parameters.immediateData ? Math.min(unsolicited, parameters.targetMaxRecvDataSegmentLength) : 0;
    const direction = (dataIn === null ? 0 : flag.read) | (dataOut === null ? 0 : flag.write);
    // Simple task attribute (RFC 7143, 11.3.1). Final when no unsolicited data follow.
    const flags = (immediate === unsolicited ? flag.final : 0) | direction | 1;
    const bhs = makeHeader(requestOpcode.scsiCommand, flags, tag);
    this.#lun.copy(bhs, 8);
    bhs.writeUInt32BE(command.length, 20);
    bhs.writeUInt32BE(command.cmdSN, 24);
    bhs.writeUInt32BE(this.#numbers.expStatSN, 28);
    cdb.copy(bhs, 32);
    this.#sent.set(tag, command);
    command.requested = unsolicited;
    if (dataOut === null || immediate === 0) this.#connection.send(bhs);
    else this.#connection.send(bhs, dataOut.subarray(0, immediate));
    if (dataOut !== null && unsolicited > immediate) {
      sendData(this.#connection, this.#dataHeader(tag, reservedTag), dataOut, immediate, unsolicited, parameters);
    }
  }

  #dataHeader(tag: number, transferTag: number): Buffer {
    const bhs = makeHeader(requestOpcode.dataOut, 0, tag);
    this.#lun.copy(bhs, 8);
    bhs.writeUInt32BE(transferTag, 20);
    bhs.writeUInt32BE(this.#numbers.expStatSN, 28);
    return bhs;
  }

  /** A task tag that is not in use. */
  #newTag(): number {
    do this.#lastTag = (this.#lastTag + 1) % firstRequestTag;
    while (this.#sent.has(this.#lastTag));
    return this.#lastTag;
  }

  #commandOf(bhs: Buffer): SessionCommand {
    const command = this.#sent.get(taskTagOf(bhs));
    if (command === undefined) throw new ProtocolError('a PDU names a command that is not on its way');
    return command;
  }

  /** Where data go that come in order and within what was expected, as was agreed on. */
  #dataPlace(command: SessionCommand, bhs: Buffer, length: number): Buffer {
    const offset = bhs.readUInt32BE(40);
    const { dataIn, received } = command;
    if (dataIn === null || offset !== received || length > dataIn.length - received) {
      throw new ProtocolError(`${length} bytes of data at ${offset} are not those that are due`);
    }
    return dataIn.subarray(received, received + length);
  }

  #dataIn(bhs: Buffer, data: Buffer): void {
    const command = this.#commandOf(bhs);
    const room = this.#dataPlace(command, bhs, data.length);
    // Data that were spread over several chunks lie in their place already.
    if (data.buffer !== room.buffer || data.byteOffset !== room.byteOffset) data.copy(room);
    command.received += data.length;
    if ((bhs[1]! & flag.status) === 0) return;
    if ((bhs[1]! & flag.final) === 0) throw new ProtocolError('a status comes with data that are not the last');
    this.#numbers.takeStatus(bhs);
    this.#end(bhs, bhs[3]!, null);
  }

  #scsiResponse(bhs: Buffer, data: Buffer): void {
    this.#commandOf(bhs);
    this.#numbers.takeStatus(bhs);
    // Response 0 is "command completed at target", all others say that the target failed (RFC 7143, 11.4.3).
    if (bhs[2] !== 0) return this.#end(bhs, scsiStatus.checkCondition, null);
    this.#end(bhs, bhs[3]!, data);
  }

  #end(bhs: Buffer, status: number, data: Buffer | null): void {
    const tag = taskTagOf(bhs);
    const command = this.#commandOf(bhs);
    this.#sent.delete(tag);
    if (status !== scsiStatus.checkCondition) command.end(status, null);
    else command.end(status, data === null ? senseOf.aborted : parseSense(data));
    if (this.#leaving) this.#departWhenIdle();
  }

  #readyToTransfer(bhs: Buffer): void {
    const command = this.#commandOf(bhs);
    const offset = bhs.readUInt32BE(40);
    const length = bhs.readUInt32BE(44);
    const { dataOut } = command;
    const due = dataOut !== null && offset === command.requested && bhs.readUInt32BE(36) === command.r2tSN;
    if (!due || length === 0 || length > this.#parameters.maxBurstLength || length > dataOut.length - offset) {
      throw new ProtocolError(`the target asks for ${length} bytes at ${offset}, which are not due`);
    }
    command.r2tSN++;
    command.requested += length;
    const header = this.#dataHeader(taskTagOf(bhs), bhs.readUInt32BE(20));
    sendData(this.#connection, header, dataOut, offset, offset + length, this.#parameters);
  }

  #nopIn(bhs: Buffer): void {
    // A ping of the target has its own number free (RFC 7143, 11.19.2); the answer to ours takes one.
    if (taskTagOf(bhs) !== reservedTag) {
      this.#numbers.takeStatus(bhs);
      return this.#requests.answered(bhs);
    }
    if (bhs.readUInt32BE(20) === reservedTag) return;
    this.#requests.pong(bhs);
  }

  #asyncMessage(bhs: Buffer): void {
    const event = bhs[36]!;
    const { log } = this.#context;
    if (event === asyncEvent.logoutRequested) {
      log.info({ portal: this.portal, seconds: bhs.readUInt16BE(42) }, 'the iSCSI target asks for a logout');
      this.#leave();
    } else if (event === asyncEvent.connectionDropped || event === asyncEvent.connectionsDropped) {
      // Parameter2 is Time2Wait in seconds (RFC 7143, 11.9.1).
      this.#wait = bhs.readUInt16BE(40) * 1000;
      this.#connection.fail(
        new ScoriaError('transport-failed', `The target at iSCSI portal ${this.portal} drops the connection`),
      );
    }
  }

  /** Logs out as the target wants it; the commands on their way are done first, as far as they end in time. */
  #leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    const { clock, times } = this.#context;
    this.#departure = clock.timer(times.answerDeadline, () => this.#loggedOut());
    this.#departWhenIdle();
  }

  #departWhenIdle(): void {
    if (this.#departure === null || this.#departing || this.#sent.size > 0) return;
    this.#departing = true;
    void this.#requests.ask(requestOpcode.logout, logoutReason.closeSession).then(() => this.#loggedOut());
  }

  #loggedOut(): void {
    this.#connection.fail(new ScoriaError('transport-failed', `The target at iSCSI portal ${this.portal} wanted us to log out`));
  }

  #nextTick(): Disposable {
    const { clock, times } = this.#context;
    return clock.timer(times.pingInterval, () => this.#tick());
  }

  #tick(): void {
    this.#silence = this.#connection.takeHeard() ? 0 : this.#silence + 1;
    if (this.#silence >= silenceLimit) return this.#giveUp('does not answer any more');
    if (this.#silence > 0) void this.#requests.ask(requestOpcode.nopOut, 0, (bhs) => bhs.writeUInt32BE(reservedTag, 20));
    const now = this.#context.clock.monotonic();
    const { commandDeadline } = this.#context.times;
    for (const [tag, command] of this.#sent) {
      if (now - command.sentAt < commandDeadline) break;
      if (!command.aborting) this.#abort(tag, command);
    }
    const [first] = this.#waiting;
    if (first !== undefined && this.#sent.size === 0 && now - first.queuedAt >= commandDeadline) {
      return this.#giveUp('admits no command any more');
    }
    this.#timer = this.#nextTick();
  }

  #giveUp(how: string): void {
    this.#connection.fail(new ScoriaError('transport-failed', `The target at iSCSI portal ${this.portal} ${how}`));
  }

  /** Has the target abort a command that takes too long (RFC 7143, 11.5). */
  #abort(tag: number, command: SessionCommand): void {
    command.aborting = true;
    this.#context.log.warn({ portal: this.portal, opcode: command.cdb[0] }, 'an iSCSI command takes too long and is aborted');
    const limit = this.#context.clock.timer(this.#context.times.answerDeadline, () => this.#giveUp('does not abort a command'));
    const fill = (bhs: Buffer): void => {
      this.#lun.copy(bhs, 8);
      bhs.writeUInt32BE(tag, 20);
      bhs.writeUInt32BE(command.cmdSN, 32);
    };
    void this.#requests.ask(requestOpcode.taskManagement, taskFunction.abortTask, fill).then((bhs) => {
      limit[Symbol.dispose]();
      if (this.#sent.get(tag) !== command) return;
      const response = bhs[2]!;
      if (response !== taskResponse.complete && response !== taskResponse.noSuchTask) return this.#giveUp('aborts no command');
      this.#sent.delete(tag);
      command.end(scsiStatus.taskAborted, null);
      this.#pump();
    });
  }
}

/** A LUN in the single level form: peripheral below 256, else flat space (SAM-5, 4.7). */
function encodeLun(lun: number): Buffer {
  const encoded = Buffer.alloc(8);
  encoded.writeUInt16BE(lun < 256 ? lun : 0x4000 | lun);
  return encoded;
}
