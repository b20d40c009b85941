/**
 * A bare Node socket server that answers iSCSI messages of the same sizes as a target does, and does nothing else: no
 * session state, no checks, no device. What a target in Node can reach at most. It prints its port, and ends with its
 * standard input.
 */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import {
  bhsLength,
  dataLengthOf,
  flag,
  paddingOf,
  requestOpcode,
  responseOpcode,
  setDataLength,
} from '../../packages/driver-iscsi/src/protocol/pdu.ts';

const blocks = 524_288;
const blockSize = 512;
const burst = 1_048_576;
const good = 0;
const content = Buffer.alloc(4 * burst);
/** Largest data segment that libiscsi and qemu take. */
const segment = 262_144;
const keys = [
  'TargetPortalGroupTag=1',
  'HeaderDigest=None',
  'DataDigest=None',
  'InitialR2T=No',
  'ImmediateData=Yes',
  `MaxRecvDataSegmentLength=${segment}`,
  `MaxBurstLength=${burst}`,
  `FirstBurstLength=${burst}`,
  'MaxOutstandingR2T=1',
  'MaxConnections=1',
  'DefaultTime2Wait=0',
  'DefaultTime2Retain=0',
  'ErrorRecoveryLevel=0',
];

/** Answers of commands that ask for something small, by operation code. */
const answers: Readonly<Record<number, Buffer>> = {
  0x12: withBytes(96, { 4: 91 }),
  0x1a: withBytes(4, { 0: 3 }),
  0x25: capacity(8),
  0x9e: capacity(32),
  0xa0: withBytes(16, { 3: 8 }),
};

function withBytes(length: number, bytes: Readonly<Record<number, number>>): Buffer {
  const buffer = Buffer.alloc(length);
  for (const [at, byte] of Object.entries(bytes)) buffer[Number(at)] = byte;
  return buffer;
}

function capacity(length: 8 | 32): Buffer {
  const buffer = Buffer.alloc(length);
  buffer.writeUInt32BE(blocks - 1, length === 8 ? 0 : 4);
  buffer.writeUInt32BE(blockSize, length === 8 ? 4 : 8);
  return buffer;
}

class BareConnection {
  readonly #socket: Socket;
  readonly #missing = new Map<number, number>();
  #rest: Buffer = Buffer.alloc(0);
  #statSN = 1;
  #expCmdSN = 1;

  constructor(socket: Socket) {
    this.#socket = socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', () => socket.destroy());
  }

  #take(chunk: Buffer): void {
    const all = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    this.#socket.cork();
    while (all.length - at >= bhsLength) {
      const header = all.subarray(at, at + bhsLength);
      const length = dataLengthOf(header);
      const whole = bhsLength + length + paddingOf(length);
      if (all.length - at < whole) break;
      this.#answer(header, length);
      at += whole;
    }
    this.#socket.uncork();
    this.#rest = all.subarray(at);
  }

  #answer(header: Buffer, length: number): void {
    const opcode = header[0]! & 0x3f;
    if (opcode === requestOpcode.login) return this.#login(header);
    if (opcode === requestOpcode.dataOut) return this.#received(header.readUInt32BE(16), length);
    if (opcode === requestOpcode.logout)
      return void this.#socket.end(this.#header(responseOpcode.logout, header.readUInt32BE(16)));
    if (opcode !== requestOpcode.scsiCommand) return;
    this.#expCmdSN = header.readUInt32BE(24) + 1;
    const tag = header.readUInt32BE(16);
    const expected = header.readUInt32BE(20);
    if ((header[1]! & flag.write) !== 0) {
      this.#missing.set(tag, expected);
      return this.#received(tag, length);
    }
    const data = answers[header[32]!]?.subarray(0, expected) ?? content.subarray(0, expected);
    if (expected === 0) return this.#status(tag);
    for (let offset = 0, number = 0; offset < data.length; offset += segment, number++) {
      const part = data.subarray(offset, offset + segment);
      const last = offset + segment >= data.length;
      const answer = this.#header(responseOpcode.dataIn, tag);
      answer[1] = last ? flag.final | flag.status | flag.residualUnderflow : 0;
      setDataLength(answer, part.length);
      answer.writeUInt32BE(number, 36);
      answer.writeUInt32BE(offset, 40);
      answer.writeUInt32BE(last ? expected - data.length : 0, 44);
      if (last && expected === data.length) answer[1] = flag.final | flag.status;
      this.#socket.write(answer);
      this.#socket.write(part);
    }
  }

  #received(tag: number, length: number): void {
    const missing = (this.#missing.get(tag) ?? 0) - length;
    this.#missing.set(tag, missing);
    if (missing > 0) return;
    this.#missing.delete(tag);
    this.#status(tag);
  }

  #status(tag: number): void {
    const answer = this.#header(responseOpcode.scsiResponse, tag);
    answer[3] = good;
    this.#socket.write(answer);
  }

  #login(header: Buffer): void {
    const stage = (header[1]! >> 2) & 3;
    const data = Buffer.from(`${(stage === 0 ? ['AuthMethod=None', 'TargetPortalGroupTag=1'] : keys).join('\0')}\0`);
    const answer = this.#header(responseOpcode.login, header.readUInt32BE(16));
    answer[1] = header[1]!;
    header.copy(answer, 8, 8, 14);
    answer.writeUInt16BE(1, 14);
    setDataLength(answer, data.length);
    this.#socket.write(Buffer.concat([answer, data, Buffer.alloc(paddingOf(data.length))]));
  }

  #header(opcode: number, tag: number): Buffer {
    const header = Buffer.alloc(bhsLength);
    header[0] = opcode;
    header[1] = flag.final;
    header.writeUInt32BE(tag, 16);
    header.writeUInt32BE(this.#statSN++, 24);
    header.writeUInt32BE(this.#expCmdSN, 28);
    header.writeUInt32BE(this.#expCmdSN + 255, 32);
    return header;
  }
}

const server = createServer((socket) => new BareConnection(socket)).listen(0, '127.0.0.1', () => {
  console.log((server.address() as AddressInfo).port);
});
process.stdin.on('end', () => process.exit(0)).resume();
