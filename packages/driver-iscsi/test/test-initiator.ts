import { connect, type Socket } from 'node:net';
import { chapResponse, decodeBinary } from '../src/protocol/chap.ts';
import {
  flag,
  joinData,
  makeHeader,
  opcodeOf,
  requestOpcode,
  reservedTag,
  responseOpcode,
  taskTagOf,
} from '../src/protocol/pdu.ts';
import { framePdu, type Digests } from '../src/protocol/digest.ts';
import { PduDecoder } from '../src/protocol/pdu-decoder.ts';
import { formatText, parseText } from '../src/protocol/text.ts';

/** A PDU as it came. */
export interface Received {
  readonly bhs: Buffer;
  readonly data: Buffer;
}

/** How to log in. */
export interface LoginOptions {
  readonly target?: string;
  readonly user?: string;
  readonly secret?: string;
  readonly algorithms?: string;
  readonly initiatorName?: string;
  readonly isid?: string;
  readonly sessionType?: 'Normal' | 'Discovery';
  readonly authMethod?: string;
  readonly keys?: Readonly<Record<string, string>>;
}

/** What a command came to. */
export interface CommandResult {
  readonly status: number;
  /** Sense key, code and qualifier, as `key/asc/ascq` in hexadecimal. */
  readonly sense: string | null;
  readonly data: Buffer;
  readonly underflow: number;
  readonly overflow: number;
}

/** How to send a command. */
export interface CommandOptions {
  /** Bytes that may come back. */
  readonly expect?: number;
  readonly data?: Buffer;
  /** Bytes sent with the command; the rest on request. Default: all, as far as the first burst allows. */
  readonly immediate?: number;
  readonly attribute?: number;
  readonly lun?: number;
  /** Announced instead of the real length. */
  readonly announced?: number;
}

/** Time for anything in a test, ms. */
const patience = 15_000;

/** A small iSCSI initiator over the target's own PDU code; one connection. */
export class TestInitiator {
  readonly keys = new Map<string, string>();
  cmdSN = 1;
  expStatSN = 0;
  maxCmdSN = 0;
  /** What was agreed on at the login. */
  digests: Digests = { header: false, data: false };
  readonly #socket: Socket;
  readonly #decoder: PduDecoder;
  readonly #inbox: Received[] = [];
  #wanting: ((pdu: Received | null) => void)[] = [];
  #closed = false;
  #taskTag = 0;
  readonly #commands = new Map<
    number,
    { data: Buffer; out: Buffer; settle: (result: CommandResult) => void; fail: (error: Error) => void }
  >();

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#decoder = new PduDecoder({ place: () => null, pdu: (bhs, data) => this.#receive(bhs, data) }, 0xffffff);
    socket.on('data', (chunk: Buffer) => this.#decoder.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#closed = true;
      for (const want of this.#wanting.splice(0)) want(null);
      for (const command of this.#commands.values()) command.fail(new Error('the connection is gone'));
      this.#commands.clear();
    });
  }

  static connect(port: number, host = '127.0.0.1'): Promise<TestInitiator> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host, noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => resolve(new TestInitiator(socket)));
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Settles when the target has ended the connection. */
  async ended(): Promise<void> {
    if (this.#closed) return;
    await within(new Promise<void>((resolve) => this.#socket.once('close', () => resolve())), 'the end of the connection');
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Bytes that wait to be sent. */
  get unsent(): number {
    return this.#socket.writableLength;
  }

  /** Reads nothing any more. */
  stopReading(): void {
    this.#socket.pause();
  }

  /** Sends bytes as they are. */
  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** Sends a PDU with the digests that were agreed on. */
  sendPdu(bhs: Buffer, data: Buffer = Buffer.alloc(0)): void {
    this.send(framePdu(bhs, data, this.digests));
  }

  /** The next PDU that is no answer to a command; `null` when the connection ended. */
  next(): Promise<Received | null> {
    const pdu = this.#inbox.shift();
    if (pdu !== undefined) return Promise.resolve(pdu);
    if (this.#closed) return Promise.resolve(null);
    return within(new Promise((resolve) => this.#wanting.push(resolve)), 'a PDU');
  }

  /** One login request and its answer. */
  async loginStep(stage: number, next: number | null, keys: Readonly<Record<string, string>>, isid = '000023000001') {
    const bhs = makeHeader(requestOpcode.login | 0x40, (stage << 2) | (next === null ? 0 : flag.final | next), 0);
    Buffer.from(isid, 'hex').copy(bhs, 8);
    bhs.writeUInt32BE(this.cmdSN, 24);
    bhs.writeUInt32BE(this.expStatSN, 28);
    this.send(joinData(bhs, formatText(Object.entries(keys))));
    const answer = await this.next();
    if (answer === null || opcodeOf(answer.bhs) !== responseOpcode.login) throw new Error('no login response came');
    this.expStatSN = answer.bhs.readUInt32BE(24) + 1;
    this.maxCmdSN = answer.bhs.readUInt32BE(32);
    const answered = parseText(answer.data);
    for (const [key, value] of answered) this.keys.set(key, value);
    return { status: answer.bhs.readUInt16BE(36), flags: answer.bhs[1]!, keys: answered, tsih: answer.bhs.readUInt16BE(14) };
  }

  /** A whole login; gives the status, 0 when it succeeded. */
  async login(options: LoginOptions): Promise<number> {
    const { target, user, secret = '', algorithms = '7,5', initiatorName = 'iqn.2026-11.test:host', isid } = options;
    const first = await this.loginStep(
      0,
      user === undefined ? 1 : null,
      {
        InitiatorName: initiatorName,
        SessionType: options.sessionType ?? 'Normal',
        ...(target !== undefined && { TargetName: target }),
        AuthMethod: options.authMethod ?? (user === undefined ? 'None' : 'CHAP,None'),
      },
      isid,
    );
    if (first.status !== 0) return first.status;
    if (user !== undefined) {
      const challenge = await this.loginStep(0, null, { CHAP_A: algorithms }, isid);
      if (challenge.status !== 0) return challenge.status;
      const algorithm = challenge.keys.get('CHAP_A') ?? '';
      const response = chapResponse(
        algorithm,
        Number(challenge.keys.get('CHAP_I')),
        secret,
        decodeBinary(challenge.keys.get('CHAP_C') ?? ''),
      );
      const proof = await this.loginStep(0, 1, { CHAP_N: user, CHAP_R: `0x${response.toString('hex')}` }, isid);
      if (proof.status !== 0) return proof.status;
    }
    const last = await this.loginStep(1, 3, { HeaderDigest: 'None', DataDigest: 'None', ...options.keys }, isid);
    if (last.status === 0) {
      this.digests = { header: this.keys.get('HeaderDigest') === 'CRC32C', data: this.keys.get('DataDigest') === 'CRC32C' };
      this.#decoder.digests = this.digests;
    }
    return last.status;
  }

  /** A header with the next CmdSN, or with the present one when `immediate`. */
  header(opcode: number, flags: number, immediate = false): Buffer {
    const bhs = makeHeader(opcode | (immediate ? 0x40 : 0), flags, this.#taskTag++);
    bhs.writeUInt32BE(this.cmdSN, 24);
    bhs.writeUInt32BE(this.expStatSN, 28);
    if (!immediate) this.cmdSN = (this.cmdSN + 1) >>> 0;
    return bhs;
  }

  /** Header of a WRITE(10) of so many blocks of 512 bytes, from the first of the volume on. */
  writeHeader(blocks: number): Buffer {
    const bhs = this.header(requestOpcode.scsiCommand, flag.final | flag.write);
    bhs.writeUInt32BE(512 * blocks, 20);
    Buffer.from(cdbs.write10(0, blocks)).copy(bhs, 32);
    return bhs;
  }

  /** Sends a command; the task tag is known at once, the result later. */
  begin(
    cdb: readonly number[],
    options: CommandOptions = {},
  ): { readonly taskTag: number; readonly result: Promise<CommandResult> } {
    const { expect = 0, data, attribute = 1, lun = 0 } = options;
    const immediate = Math.min(options.immediate ?? data?.length ?? 0, this.keys.get('ImmediateData') === 'No' ? 0 : 65_536);
    const flags = flag.final | attribute | (expect > 0 ? flag.read : 0) | (data === undefined ? 0 : flag.write);
    const bhs = this.header(requestOpcode.scsiCommand, flags);
    bhs[9] = lun;
    bhs.writeUInt32BE(options.announced ?? (data === undefined ? expect : data.length), 20);
    Buffer.from(cdb).copy(bhs, 32);
    const taskTag = taskTagOf(bhs);
    const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
    this.#commands.set(taskTag, { data: Buffer.alloc(expect), out: data ?? Buffer.alloc(0), settle: resolve, fail: reject });
    if (this.#closed) reject(new Error('the connection is gone'));
    this.sendPdu(bhs, data?.subarray(0, immediate));
    return { taskTag, result: within(promise, 'the end of a command') };
  }

  command(cdb: readonly number[], options: CommandOptions = {}): Promise<CommandResult> {
    return this.begin(cdb, options).result;
  }

  /** Sends a Data-Out PDU. */
  sendData(taskTag: number, transferTag: number, dataSN: number, offset: number, data: Buffer, final: boolean): void {
    const bhs = makeHeader(requestOpcode.dataOut, final ? flag.final : 0, taskTag);
    bhs.writeUInt32BE(transferTag, 20);
    bhs.writeUInt32BE(dataSN, 36);
    bhs.writeUInt32BE(offset, 40);
    this.sendPdu(bhs, data);
  }

  /** A task management request; gives the response code. */
  async manage(code: number, referenced = reservedTag): Promise<number> {
    const bhs = this.header(requestOpcode.taskManagement, flag.final | code, true);
    bhs.writeUInt32BE(referenced, 20);
    this.sendPdu(bhs);
    const answer = await this.next();
    if (answer === null || opcodeOf(answer.bhs) !== responseOpcode.taskManagement)
      throw new Error('no answer to task management');
    return answer.bhs[2]!;
  }

  #receive(bhs: Buffer, data: Buffer): void {
    const opcode = opcodeOf(bhs);
    const command = this.#commands.get(taskTagOf(bhs));
    this.maxCmdSN = bhs.readUInt32BE(32);
    if (command !== undefined && opcode === responseOpcode.r2t) {
      const offset = bhs.readUInt32BE(40);
      this.sendData(
        taskTagOf(bhs),
        bhs.readUInt32BE(20),
        0,
        offset,
        command.out.subarray(offset, offset + bhs.readUInt32BE(44)),
        true,
      );
      return;
    }
    if (command !== undefined && opcode === responseOpcode.dataIn) {
      data.copy(command.data, bhs.readUInt32BE(40));
      if ((bhs[1]! & flag.status) !== 0) this.#end(bhs, null);
      return;
    }
    if (command !== undefined && opcode === responseOpcode.scsiResponse)
      return this.#end(bhs, data.length > 0 ? data.subarray(2) : null);
    const want = this.#wanting.shift();
    if (want === undefined) this.#inbox.push({ bhs, data });
    else want({ bhs, data });
  }

  #end(bhs: Buffer, sense: Buffer | null): void {
    const command = this.#commands.get(taskTagOf(bhs));
    this.#commands.delete(taskTagOf(bhs));
    this.expStatSN = bhs.readUInt32BE(24) + 1;
    const residual = bhs.readUInt32BE(44);
    const hex = (value: number | undefined): string => (value ?? 0).toString(16).padStart(2, '0');
    const underflow = (bhs[1]! & flag.residualUnderflow) !== 0 ? residual : 0;
    command?.settle({
      status: bhs[3]!,
      sense: sense === null ? null : `${(sense[2]! & 0x0f).toString(16)}/${hex(sense[12])}/${hex(sense[13])}`,
      data: command.data.subarray(0, command.data.length - underflow),
      underflow,
      overflow: (bhs[1]! & flag.residualOverflow) !== 0 ? residual : 0,
    });
  }
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what} did not come`)), patience);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** CDBs of the commands that tests use most. */
export const cdbs = {
  testUnitReady: [0, 0, 0, 0, 0, 0],
  read10: (lba: number, blocks: number): number[] => [0x28, 0, ...int32(lba), 0, blocks >> 8, blocks & 255, 0],
  write10: (lba: number, blocks: number, flags = 0): number[] => [0x2a, flags, ...int32(lba), 0, blocks >> 8, blocks & 255, 0],
  synchronizeCache10: [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  inquiry: (page: number | null, room = 255): number[] => [0x12, page === null ? 0 : 1, page ?? 0, room >> 8, room & 255, 0],
  readCapacity16: [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0],
  compareAndWrite: (lba: number, blocks: number): number[] => [0x89, 0, 0, 0, 0, 0, ...int32(lba), 0, 0, 0, blocks, 0, 0],
  writeSame10: (lba: number, blocks: number, flags = 0): number[] => [
    0x41,
    flags,
    ...int32(lba),
    0,
    blocks >> 8,
    blocks & 255,
    0,
  ],
  unmap: (length: number): number[] => [0x42, 0, 0, 0, 0, 0, 0, length >> 8, length & 255, 0],
  getLbaStatus: (lba: number, room: number): number[] => [0x9e, 0x12, 0, 0, 0, 0, ...int32(lba), ...int32(room), 0, 0],
} as const;

const int32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
