import type { BufferPool } from './buffer-pool.ts';
import type { Connection } from './connection.ts';
import { CommandWindow } from './command-window.ts';
import type { DataBudget } from './data-budget.ts';
import { dataTrailer, framePdu, headerWithDigest, type Digests } from './digest.ts';
import type { SessionParameters } from './negotiation.ts';
import {
  asyncEvent,
  flag,
  isImmediate,
  joinData,
  logoutReason,
  logoutResponse,
  makeHeader,
  opcodeOf,
  rejectReason,
  requestOpcode,
  reservedTag,
  responseOpcode,
  taskTagOf,
} from './pdu.ts';
import { ProtocolError } from './protocol-error.ts';
import { ScsiTask, tagAfter } from './scsi-task.ts';
import { SessionMemory } from './session-memory.ts';
import { manageTasks } from './task-management.ts';
import type { Target } from './target-registry.ts';
import { TextExchange } from './text-exchange.ts';
import type { Nexus } from '../scsi/command.ts';
import type { Sense } from '../scsi/sense.ts';

const nothing = Buffer.alloc(0);

/** What bounds a session. */
export interface SessionLimits {
  /** Commands that the initiator may have under way; the width of the CmdSN window. */
  readonly window: number;
  /** Immediate commands under way beyond the window. */
  readonly immediate: number;
  /** Bytes of data of commands under way; more wait. */
  readonly memory: number;
  /** What one task is charged at most, bytes. */
  readonly maxTaskCost: number;
}

/** What a session is made of. */
export interface SessionOptions {
  readonly connection: Connection;
  readonly tsih: number;
  readonly connectionId: number;
  readonly initiatorName: string;
  /** Initiator part of the session identifier, 12 hexadecimal digits. */
  readonly isid: string;
  /** `null` for a discovery session. */
  readonly target: Target | null;
  readonly parameters: SessionParameters;
  readonly limits: SessionLimits;
  readonly pool: BufferPool;
  /** Shared by all sessions. */
  readonly budget: DataBudget;
  /** What a request for all targets is answered with: name and addresses. */
  readonly discover: () => readonly (readonly [string, string])[];
  /** Called once when the session has ended and nothing of it can reach the device. */
  readonly onClosed: () => void;
}

/** One session in full feature phase (RFC 7143, 4.2.2 and 4.2.3), with its one connection. */
export class Session {
  readonly tsih: number;
  readonly parameters: SessionParameters;
  readonly limits: SessionLimits;
  readonly pool: BufferPool;
  readonly nexus: Nexus;
  readonly target: Target | null;
  readonly #connection: Connection;
  readonly #options: SessionOptions;
  readonly #tasks = new Map<number, ScsiTask>();
  /** Buffers of the pool that immediate data were put into; weak, since a command may be dropped before it is one. */
  readonly #placed = new WeakSet<ArrayBufferLike>();
  readonly #window = new CommandWindow((bhs, data) => this.#handle(bhs, data));
  /** `null` where neither is agreed on, so that nothing is paid for them. */
  readonly #digests: Digests | null;
  readonly #memory: SessionMemory;
  #immediateTasks = 0;
  #transferTag = 0;
  readonly #text: TextExchange;
  #closing: Promise<void> | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#connection = options.connection;
    this.tsih = options.tsih;
    this.parameters = options.parameters;
    this.limits = options.limits;
    this.pool = options.pool;
    this.target = options.target;
    this.#memory = new SessionMemory(options.limits.memory, options.budget);
    const { headerDigest, dataDigest } = options.parameters;
    this.#digests = headerDigest || dataDigest ? { header: headerDigest, data: dataDigest } : null;
    this.#text = new TextExchange(options.parameters, options.target?.name ?? null, options.discover, () =>
      this.nextTransferTag(),
    );
    const unitAttentions: Sense[] = [];
    const nexus = {
      initiatorName: options.initiatorName,
      isid: options.isid,
      targetName: options.target?.name ?? '',
      readOnly: options.target?.readOnly ?? true,
      unitAttentions,
    };
    this.nexus = nexus;
  }

  get maxCmdSN(): number {
    return this.#window.maxCmdSN;
  }

  /** Opens the command window: the login's CmdSN is that of the first command (RFC 7143, 4.2.2.1). */
  start(cmdSN: number): void {
    this.#window.open(cmdSN, this.limits.window);
  }

  /** Where the data segment of a PDU should go; see `PduReceiver`. */
  place(bhs: Buffer, length: number): Buffer | null {
    const opcode = opcodeOf(bhs);
    if (opcode === requestOpcode.dataOut) return this.#tasks.get(taskTagOf(bhs))?.place(bhs.readUInt32BE(40), length) ?? null;
    if (opcode !== requestOpcode.scsiCommand) return null;
    const whole = this.pool.take(length);
    this.#placed.add(whole.buffer);
    return whole.subarray(0, length);
  }

  /** The whole buffer of the pool behind immediate data, if they were placed into one. The caller gives it back. */
  adopt(data: Buffer): Buffer | null {
    return this.#placed.delete(data.buffer) ? Buffer.from(data.buffer) : null;
  }

  /** Takes a PDU. Throws {@link ProtocolError}; the connection then has to end. */
  receive(bhs: Buffer, data: Buffer): void {
    const opcode = opcodeOf(bhs);
    if (opcode === requestOpcode.dataOut) {
      // Data of a task that was aborted may still be on their way.
      this.#tasks.get(taskTagOf(bhs))?.takeData(bhs, data);
      return;
    }
    if (opcode === requestOpcode.snack) return this.#reject(bhs, rejectReason.snackReject);
    if (isImmediate(bhs)) this.#handle(bhs, data);
    else this.#window.admit(bhs, data);
  }

  /**
   * Takes a PDU whose data do not match their digest (RFC 7143, 7.8): it is rejected and, unless it carries data that were
   * asked for, forgotten. Throws {@link ProtocolError}.
   */
  receiveDamaged(bhs: Buffer, data: Buffer): void {
    this.#reject(bhs, rejectReason.dataDigestError);
    if (opcodeOf(bhs) === requestOpcode.dataOut) this.#tasks.get(taskTagOf(bhs))?.takeData(bhs, data, true);
  }

  /** Takes a request that never came for received; see `CommandWindow.skip`. */
  skip(cmdSN: number, before: number): boolean {
    return this.#window.skip(cmdSN, before);
  }

  /** Queues a header with its sequence numbers; `status` when it takes a StatSN of its own. */
  send(bhs: Buffer, status: boolean, data?: Buffer): void {
    this.#stamp(bhs, status);
    if (this.#digests !== null) this.#connection.write(framePdu(bhs, data ?? nothing, this.#digests));
    else this.#connection.write(data === undefined || data.length === 0 ? bhs : joinData(bhs, data));
  }

  /** Queues the response that ends a task. */
  sendFinal(task: ScsiTask, bhs: Buffer, data?: Buffer): void {
    this.#free(task);
    this.send(bhs, true, data);
  }

  /**
   * Queues a Data-In PDU. `bytes` is its data, preceded by `header` itself if `headed`. The last one ends the task, and
   * the task is told when it has left.
   */
  sendDataIn(task: ScsiTask, header: Buffer, bytes: Buffer, headed: boolean, last: boolean): void {
    if (last) {
      this.#free(task);
      this.#stamp(header, true);
    } else {
      // StatSN is reserved where no status is carried (RFC 7143, 11.7.5).
      this.#window.stamp(header);
    }
    if (this.#digests === null) {
      if (!headed) this.#connection.write(header);
      this.#connection.write(bytes);
      this.#connection.writePadding(headed ? bytes.length - header.length : bytes.length);
    } else {
      const data = headed ? bytes.subarray(header.length) : bytes;
      this.#connection.write(this.#digests.header ? headerWithDigest(header) : header);
      this.#connection.write(data);
      this.#connection.write(dataTrailer(data, this.#digests.data));
    }
  }

  nextTransferTag(): number {
    this.#transferTag = tagAfter(this.#transferTag);
    return this.#transferTag;
  }

  /** Begins a task when there is memory for its data; later otherwise, in order. */
  charge(task: ScsiTask): void {
    this.#memory.charge(task);
  }

  /** A task is over; `bufferInUse` while its data still have to leave. */
  taskEnded(task: ScsiTask, bufferInUse: boolean): void {
    this.#free(task);
    if (!task.charged) {
      this.#memory.withdraw(task);
    } else if (bufferInUse) {
      this.#connection.whenSent({
        sent: () => {
          task.sent();
          this.#memory.discharge(task);
        },
      });
    } else {
      this.#memory.discharge(task);
    }
  }

  /** Asks the initiator for a sign of life (RFC 7143, 11.19). */
  ping(): void {
    const nop = makeHeader(responseOpcode.nopIn, flag.final, reservedTag);
    nop.writeUInt32BE(this.nextTransferTag(), 20);
    this.send(nop, false);
  }

  /** Asks the initiator to log out (RFC 7143, 11.9.1), within `seconds`. */
  requestLogout(seconds: number): void {
    this.#announce(asyncEvent.logoutRequested, 0, seconds);
  }

  /** Tells the initiator that its session is dropped (RFC 7143, 11.9.1), and ends it; see {@link close}. */
  drop(): Promise<void> {
    if (!this.ending) {
      // Time2Retain is 0: nothing of a lost session is kept.
      this.#announce(asyncEvent.connectionsDropped, this.parameters.defaultTime2Wait, 0);
      this.#connection.flush();
    }
    return this.close();
  }

  #announce(event: number, parameter2: number, parameter3: number): void {
    const message = makeHeader(responseOpcode.asyncMessage, flag.final, reservedTag);
    message[36] = event;
    message.writeUInt16BE(parameter2, 40);
    message.writeUInt16BE(parameter3, 42);
    this.send(message, true);
  }

  /** Whether the end of the session has begun. */
  get ending(): boolean {
    return this.#closing !== null;
  }

  /** The task with this tag, while it is under way. */
  task(taskTag: number): ScsiTask | undefined {
    return this.#tasks.get(taskTag);
  }

  /** Ends the session. Settles when nothing of it can reach the device any more. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#connection.destroy();
    const unit = this.target?.logicalUnit;
    if (unit !== undefined) {
      unit.loseNexus(this.nexus);
      await unit.taskSet.abort((task) => task.nexus === this.nexus);
    }
    this.#memory.close();
    this.#options.onClosed();
  }

  #stamp(bhs: Buffer, status: boolean): void {
    this.#connection.stamp(bhs, status);
    this.#window.stamp(bhs);
  }

  /** Takes a task off the list, and opens the window by one. */
  #free(task: ScsiTask): void {
    if (this.#tasks.get(task.taskTag) !== task) return;
    this.#tasks.delete(task.taskTag);
    if (task.numbered) this.#window.widen();
    else this.#immediateTasks--;
  }

  #handle(bhs: Buffer, data: Buffer): void {
    const opcode = opcodeOf(bhs);
    if (opcode === requestOpcode.scsiCommand) return this.#command(bhs, data);
    // Other requests are done at once, so they leave the window as wide as it was.
    if (!isImmediate(bhs)) this.#window.widen();
    switch (opcode) {
      case requestOpcode.nopOut:
        return this.#nop(bhs, data);
      case requestOpcode.taskManagement:
        // A discovery session is for discovery (RFC 7143, 4.3).
        return this.target === null ? this.#refuse(bhs, rejectReason.protocolError) : manageTasks(this, bhs);
      case requestOpcode.text:
        return this.#takeText(bhs, data);
      case requestOpcode.logout:
        return this.#logout(bhs);
      case requestOpcode.login:
        throw new ProtocolError('a login came within a session');
      default:
        return this.#refuse(bhs, rejectReason.commandNotSupported);
    }
  }

  #command(bhs: Buffer, data: Buffer): void {
    const taskTag = taskTagOf(bhs);
    if (this.target === null) return this.#refuse(bhs, rejectReason.protocolError);
    if (taskTag === reservedTag) return this.#refuse(bhs, rejectReason.invalidPduField);
    if (this.#tasks.has(taskTag)) return this.#refuse(bhs, rejectReason.taskInProgress);
    if (isImmediate(bhs) && this.#immediateTasks >= this.limits.immediate) {
      return this.#refuse(bhs, rejectReason.immediateCommandReject);
    }
    const unit = this.target.logicalUnit;
    const task = new ScsiTask(this, unit, bhs, data);
    this.#tasks.set(taskTag, task);
    if (!task.numbered) this.#immediateTasks++;
    unit.taskSet.add(task);
  }

  #nop(bhs: Buffer, data: Buffer): void {
    const taskTag = taskTagOf(bhs);
    // An answer to a ping of ours, or nothing that wants an answer.
    if (taskTag === reservedTag) return;
    const answer = makeHeader(responseOpcode.nopIn, flag.final, taskTag);
    bhs.copy(answer, 8, 8, 16);
    answer.writeUInt32BE(reservedTag, 20);
    this.send(answer, true, data.subarray(0, this.parameters.initiatorMaxRecvDataSegmentLength));
  }

  #takeText(bhs: Buffer, data: Buffer): void {
    const answered = this.#text.take(bhs, data);
    if (typeof answered === 'number') return this.#refuse(bhs, answered);
    const answer = makeHeader(responseOpcode.text, answered.flags, taskTagOf(bhs));
    bhs.copy(answer, 8, 8, 16);
    answer.writeUInt32BE(answered.transferTag, 20);
    this.send(answer, true, answered.data);
  }

  #logout(bhs: Buffer): void {
    const reason = bhs[1]! & 0x7f;
    // A discovery session can only be closed as a whole (RFC 7143, 4.3).
    if (reason > logoutReason.removeForRecovery || (this.target === null && reason !== logoutReason.closeSession)) {
      return this.#refuse(bhs, rejectReason.invalidPduField);
    }
    const answer = makeHeader(responseOpcode.logout, flag.final, taskTagOf(bhs));
    answer.writeUInt16BE(this.parameters.defaultTime2Wait, 40);
    // Removing a connection prepares a recovery that level 0 does not have.
    if (reason === logoutReason.removeForRecovery) answer[2] = logoutResponse.recoveryNotSupported;
    else if (reason === logoutReason.closeConnection && bhs.readUInt16BE(20) !== this.#options.connectionId) {
      answer[2] = logoutResponse.noSuchConnection;
    }
    if (answer[2] !== logoutResponse.done) return this.send(answer, true);
    // Outstanding tasks end before the answer, so that nothing is written after it.
    const unit = this.target?.logicalUnit;
    const ended = unit === undefined ? Promise.resolve([]) : unit.taskSet.abort((task) => task.nexus === this.nexus);
    void ended.then(() => {
      this.send(answer, true);
      this.#connection.finish();
    });
  }

  /** Rejects a request that was delivered; a numbered one counts as not received. */
  #refuse(bhs: Buffer, reason: number): void {
    if (!isImmediate(bhs)) this.#window.refuse(bhs.readUInt32BE(24), opcodeOf(bhs) !== requestOpcode.scsiCommand);
    this.#reject(bhs, reason);
  }

  #reject(bhs: Buffer, reason: number): void {
    const reject = makeHeader(responseOpcode.reject, flag.final, reservedTag);
    reject[2] = reason;
    this.send(reject, true, bhs);
  }
}
