import type { BlockRange } from './block-range.ts';
import { outOfRange, rangeOf } from './block-range.ts';
import type { ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import { maxTransferLength } from './inquiry.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { SenseError, senseFromError, senseOf, type Sense } from './sense.ts';

const fuaBit = 0x08;
/** RDPROTECT or WRPROTECT; there is no protection information here. */
const protectBits = 0xe0;
/** Bytes that VERIFY reads at a time. */
const verifyStep = 1_048_576;

/** What is wrong with a transfer, else `null`. */
function transferFault(unit: LogicalUnit, cdb: Buffer, range: BlockRange): Sense | null {
  if (cdb[0]! >> 5 !== 0 && (cdb[1]! & protectBits) !== 0) return senseOf.invalidFieldInCdb;
  const fault = outOfRange(unit.device, range);
  if (fault !== null) return fault;
  return range.blocks * unit.device.blockSize > maxTransferLength ? senseOf.invalidFieldInCdb : null;
}

function read(unit: LogicalUnit, command: ScsiCommand): void {
  const range = rangeOf(command.cdb);
  const fault = transferFault(unit, command.cdb, range);
  if (fault !== null) return command.check(fault);
  const { device, statistics } = unit;
  const length = range.blocks * device.blockSize;
  if (length === 0) return command.good();
  const into = command.allocate(length);
  device.read(into, range.lba * device.blockSize).then(
    () => {
      statistics.reads++;
      statistics.readBytes += length;
      command.good(into);
    },
    (error: unknown) => command.check(senseFromError(error, true)),
  );
}

function write(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, dataOut } = command;
  const range = rangeOf(cdb);
  const fault = transferFault(unit, cdb, range);
  if (fault !== null) return command.check(fault);
  const { device, statistics } = unit;
  // An initiator that announced less than the CDB asks for has the whole blocks of it written.
  const length = Math.floor(Math.min(dataOut.length, range.blocks * device.blockSize) / device.blockSize) * device.blockSize;
  if (length === 0) return command.good();
  const offset = range.lba * device.blockSize;
  const fua = cdb[0]! >> 5 !== 0 && (cdb[1]! & fuaBit) !== 0;
  const data = dataOut.length === length ? dataOut : dataOut.subarray(0, length);
  unit.change(
    command,
    { offset, length },
    () => unit.device.write(data, offset, fua ? { fua } : undefined),
    () => {
      statistics.writes++;
      statistics.writtenBytes += length;
      command.good();
    },
  );
}

function synchronizeCache(unit: LogicalUnit, command: ScsiCommand): void {
  const range = rangeOf(command.cdb);
  const fault = range.lba === 0 && range.blocks === 0 ? null : outOfRange(unit.device, range);
  if (fault !== null) return command.check(fault);
  unit.device.flush().then(
    () => command.good(),
    (error: unknown) => command.check(senseFromError(error, false)),
  );
}

/** BYTCHK of a VERIFY: 0 reads only, 1 compares with as much data, 3 compares each block with one (SBC-3, 5.33). */
const byteCheckOf = (cdb: Buffer): number => (cdb[1]! >> 1) & 3;

function verify(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const range = rangeOf(cdb);
  const check = byteCheckOf(cdb);
  if (check === 2 || (cdb[1]! & protectBits) !== 0) return command.check(senseOf.invalidFieldInCdb);
  const fault = outOfRange(unit.device, range);
  if (fault !== null) return command.check(fault);
  const length = range.blocks * unit.device.blockSize;
  if (check === 1 && length > maxTransferLength) return command.check(senseOf.invalidFieldInCdb);
  if (check !== 0 && command.announced !== verifyLength(unit, cdb)) return command.check(senseOf.invalidFieldInCdb);
  compareMedium(unit, command, range, check).then(
    () => command.good(),
    (error: unknown) => command.check(error instanceof SenseError ? error.sense : senseFromError(error, true)),
  );
}

async function compareMedium(unit: LogicalUnit, command: ScsiCommand, range: BlockRange, check: number): Promise<void> {
  const { blockSize } = unit.device;
  const length = range.blocks * blockSize;
  const buffer = Buffer.allocUnsafe(Math.min(length, verifyStep));
  for (let at = 0; at < length && !command.aborted; at += verifyStep) {
    const part = buffer.subarray(0, Math.min(verifyStep, length - at));
    await unit.device.read(part, range.lba * blockSize + at);
    if (check === 1) throwIfDifferent(part, command.dataOut.subarray(at, at + part.length), at);
    for (let block = 0; check === 3 && block < part.length; block += blockSize) {
      throwIfDifferent(part.subarray(block, block + blockSize), command.dataOut, at + block);
    }
  }
}

function throwIfDifferent(found: Buffer, expected: Buffer, at: number): void {
  if (found.equals(expected)) return;
  let index = 0;
  while (index < found.length && found[index] === expected[index]) index++;
  throw new SenseError(senseOf.miscompare(at + index));
}

function compareAndWrite(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, dataOut } = command;
  const { device } = unit;
  const range = { lba: rangeOf(cdb).lba, blocks: cdb[13]! };
  if ((cdb[1]! & protectBits) !== 0) return command.check(senseOf.invalidFieldInCdb);
  const fault = outOfRange(device, range);
  if (fault !== null) return command.check(fault);
  const length = range.blocks * device.blockSize;
  // What is compared and what is written lie behind each other, so a wrong length would write the wrong bytes.
  if (command.announced !== 2 * length) return command.check(senseOf.invalidFieldInCdb);
  if (length === 0) return command.good();
  const offset = range.lba * device.blockSize;
  const fua = (cdb[1]! & fuaBit) !== 0;
  unit.change(command, { offset, length, exclusive: true }, async () => {
    const found = Buffer.allocUnsafe(length);
    await unit.device.read(found, offset);
    throwIfDifferent(found, dataOut.subarray(0, length), 0);
    if (command.aborted) throw new SenseError(senseOf.aborted);
    await unit.device.write(dataOut.subarray(length, 2 * length), offset, { fua });
  });
}

function readCapacity10(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  if ((cdb[8]! & 1) === 0 && cdb.readUInt32BE(2) !== 0) return command.check(senseOf.invalidFieldInCdb);
  const data = Buffer.alloc(8);
  data.writeUInt32BE(Math.min(unit.device.size / unit.device.blockSize - 1, 0xffffffff), 0);
  data.writeUInt32BE(unit.device.blockSize, 4);
  command.good(data);
}

function readCapacity16(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const { device } = unit;
  if ((cdb[14]! & 1) === 0 && (cdb.readUInt32BE(2) !== 0 || cdb.readUInt32BE(6) !== 0)) {
    return command.check(senseOf.invalidFieldInCdb);
  }
  const data = Buffer.alloc(32);
  data.writeBigUInt64BE(BigInt(device.size / device.blockSize - 1), 0);
  data.writeUInt32BE(device.blockSize, 8);
  // Physical blocks of 4 KiB, as a power of two of the logical one.
  data[13] = device.blockSize === 512 ? 3 : 0;
  // LBPME and LBPRZ: thin provisioned, unmapped blocks read as zeroes.
  data[14] = 0xc0;
  command.good(data.subarray(0, Math.min(data.length, cdb.readUInt32BE(10))));
}

const transferLength = (unit: LogicalUnit, cdb: Buffer): number => {
  const length = rangeOf(cdb).blocks * unit.device.blockSize;
  return length > maxTransferLength ? 0 : length;
};

const verifyLength = (unit: LogicalUnit, cdb: Buffer): number => {
  const check = byteCheckOf(cdb);
  return check === 1 ? transferLength(unit, cdb) : check === 3 ? unit.device.blockSize : 0;
};

/** Commands that move or check the content of the medium (SBC-3, 5). */
export const blockCommands: readonly CommandDefinition[] = [
  { opcode: 0x08, usage: usageOf('08 1f ff ff ff 04'), run: read },
  { opcode: 0x28, usage: usageOf('28 18 ff ff ff ff 00 ff ff 04'), run: read },
  { opcode: 0xa8, usage: usageOf('a8 18 ff ff ff ff ff ff ff ff 00 04'), run: read },
  { opcode: 0x88, usage: usageOf('88 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'), run: read },
  { opcode: 0x0a, usage: usageOf('0a 1f ff ff ff 04'), writes: true, dataOut: transferLength, run: write },
  { opcode: 0x2a, usage: usageOf('2a 18 ff ff ff ff 00 ff ff 04'), writes: true, dataOut: transferLength, run: write },
  { opcode: 0xaa, usage: usageOf('aa 18 ff ff ff ff ff ff ff ff 00 04'), writes: true, dataOut: transferLength, run: write },
  {
    opcode: 0x8a,
    usage: usageOf('8a 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
    writes: true,
    dataOut: transferLength,
    run: write,
  },
  { opcode: 0x35, usage: usageOf('35 02 ff ff ff ff 00 ff ff 04'), run: synchronizeCache },
  { opcode: 0x91, usage: usageOf('91 02 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'), run: synchronizeCache },
  { opcode: 0x2f, usage: usageOf('2f 16 ff ff ff ff 00 ff ff 04'), dataOut: verifyLength, run: verify },
  { opcode: 0x8f, usage: usageOf('8f 16 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'), dataOut: verifyLength, run: verify },
  {
    opcode: 0x89,
    usage: usageOf('89 18 ff ff ff ff ff ff ff ff 00 00 00 ff 00 04'),
    writes: true,
    dataOut: (unit, cdb) => 2 * cdb[13]! * unit.device.blockSize,
    run: compareAndWrite,
  },
  { opcode: 0x25, usage: usageOf('25 00 ff ff ff ff 00 00 01 04'), run: readCapacity10 },
  {
    opcode: 0x9e,
    serviceAction: 0x10,
    usage: usageOf('9e 10 ff ff ff ff ff ff ff ff ff ff ff ff 01 04'),
    run: readCapacity16,
  },
];
