import type { BlockDevice } from '@scoria/core/device';
import type { BlockRange } from './block-range.ts';
import { outOfRange, rangeOf } from './block-range.ts';
import type { ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import { maxTransferLength } from './inquiry.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { readFault } from './read-fault.ts';
import { senseFromError, senseOf, type Sense } from './sense.ts';

/** FUA in byte 1 of a CDB. */
export const fuaBit = 0x08;
/** RDPROTECT, WRPROTECT, VRPROTECT or ORPROTECT in byte 1 of a CDB; there is no protection information here. */
export const protectBits = 0xe0;

/** What is wrong with a transfer, else `null`. */
export function transferFault(device: BlockDevice, cdb: Buffer, range: BlockRange): Sense | null {
  if (cdb[0]! >> 5 !== 0 && (cdb[1]! & protectBits) !== 0) return senseOf.invalidFieldInCdb;
  const fault = outOfRange(device, range);
  if (fault !== null) return fault;
  return range.blocks * device.blockSize > maxTransferLength ? senseOf.invalidFieldInCdb : null;
}

/** FUA bit of a CDB of 10 bytes or more; those of 6 have none. */
const forcesAccess = (cdb: Buffer): boolean => cdb[0]! >> 5 !== 0 && (cdb[1]! & fuaBit) !== 0;

function read(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const range = rangeOf(cdb);
  const { device, statistics } = unit;
  const fault = transferFault(device, cdb, range);
  if (fault !== null) return command.check(fault);
  const length = range.blocks * device.blockSize;
  if (length === 0) return command.good();
  const into = command.allocate(length);
  const offset = range.lba * device.blockSize;
  // What is read with FUA lies on stable storage, not in a cache alone (SBC-3, 5.11).
  const reading = forcesAccess(cdb) ? device.flush().then(() => device.read(into, offset)) : device.read(into, offset);
  reading.then(
    () => {
      statistics.reads++;
      statistics.readBytes += length;
      command.good(into);
    },
    (error: unknown) => readFault(device, range, error, command),
  );
}

function write(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, dataOut } = command;
  const range = rangeOf(cdb);
  const fault = transferFault(unit.device, cdb, range);
  if (fault !== null) return command.check(fault);
  const { device, statistics } = unit;
  // An initiator that announced less than the CDB asks for has the whole blocks of it written.
  const length = Math.floor(Math.min(dataOut.length, range.blocks * device.blockSize) / device.blockSize) * device.blockSize;
  if (length === 0) return command.good();
  const offset = range.lba * device.blockSize;
  const fua = forcesAccess(cdb);
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

/** What is wrong with a range of which no blocks means all up to the end (SBC-3, 5.8 and 5.36), else `null`. */
const openRangeFault = (unit: LogicalUnit, cdb: Buffer): Sense | null => outOfRange(unit.device, rangeOf(cdb));

function synchronizeCache(unit: LogicalUnit, command: ScsiCommand): void {
  const fault = openRangeFault(unit, command.cdb);
  if (fault !== null) return command.check(fault);
  // With IMMED too the answer waits: so a failure is told, and not lost.
  unit.device.flush().then(
    () => command.good(),
    (error: unknown) => command.check(senseFromError(error, false)),
  );
}

/** PRE-FETCH: the cache is the host's, which decides by itself. GOOD says that not all may be in it (SBC-3, 5.8). */
function prefetch(unit: LogicalUnit, command: ScsiCommand): void {
  const fault = openRangeFault(unit, command.cdb);
  if (fault !== null) command.check(fault);
  else command.good();
}

/** START STOP UNIT (SBC-3, 5.25). A logical unit that others use is never stopped; its cache is made stable as for a stop. */
function startStopUnit(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const options = cdb[4]!;
  const powerCondition = options >> 4;
  const loadEject = (options & 0x02) !== 0;
  if (powerCondition !== 0 || loadEject) return command.check(senseOf.invalidFieldInCdb);
  const start = (options & 0x01) !== 0;
  const withoutFlush = (options & 0x04) !== 0;
  if (start || withoutFlush || unit.device.readOnly) return command.good();
  unit.device.flush().then(
    () => command.good(),
    (error: unknown) => command.check(senseFromError(error, false)),
  );
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

/** READ DEFECT DATA (SBC-3, 5.17 and 5.18): the storage below deals with defects, so both lists are empty. */
function readDefectData(_unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const short = cdb[0] === 0x37;
  const request = short ? cdb[2]! : cdb[1]!;
  const data = Buffer.alloc(short ? 4 : 8);
  data[1] = request & 0x1f;
  command.good(data.subarray(0, Math.min(data.length, short ? cdb.readUInt16BE(7) : cdb.readUInt32BE(6))));
}

/** Bytes of a transfer, or 0 where it is refused for its length. */
export const transferLength = (unit: LogicalUnit, cdb: Buffer): number => {
  const length = rangeOf(cdb).blocks * unit.device.blockSize;
  return length > maxTransferLength ? 0 : length;
};

const reading = (opcode: number, usage: string): CommandDefinition => ({
  opcode,
  usage: usageOf(usage),
  reservation: 'read',
  moves: transferLength,
  run: read,
});

const writing = (opcode: number, usage: string): CommandDefinition => ({
  opcode,
  usage: usageOf(usage),
  reservation: 'exclusive',
  writes: true,
  dataOut: transferLength,
  run: write,
});

/** Commands that move the content of the medium, and those about its size and cache (SBC-3, 5). */
export const blockCommands: readonly CommandDefinition[] = [
  reading(0x08, '08 1f ff ff ff 04'),
  reading(0x28, '28 18 ff ff ff ff 00 ff ff 04'),
  reading(0xa8, 'a8 18 ff ff ff ff ff ff ff ff 00 04'),
  reading(0x88, '88 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
  writing(0x0a, '0a 1f ff ff ff 04'),
  writing(0x2a, '2a 18 ff ff ff ff 00 ff ff 04'),
  writing(0xaa, 'aa 18 ff ff ff ff ff ff ff ff 00 04'),
  writing(0x8a, '8a 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
  { opcode: 0x35, usage: usageOf('35 02 ff ff ff ff 00 ff ff 04'), reservation: 'exclusive', run: synchronizeCache },
  {
    opcode: 0x91,
    usage: usageOf('91 02 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
    reservation: 'exclusive',
    run: synchronizeCache,
  },
  { opcode: 0x34, usage: usageOf('34 02 ff ff ff ff 00 ff ff 04'), reservation: 'read', run: prefetch },
  {
    opcode: 0x90,
    usage: usageOf('90 02 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
    reservation: 'read',
    run: prefetch,
  },
  {
    opcode: 0x1b,
    usage: usageOf('1b 01 00 00 f7 04'),
    reservation: (cdb) => ((cdb[4]! & 0xf1) === 0x01 ? 'always' : 'exclusive'),
    run: startStopUnit,
  },
  { opcode: 0x25, usage: usageOf('25 00 ff ff ff ff 00 00 01 04'), reservation: 'always', run: readCapacity10 },
  {
    opcode: 0x9e,
    serviceAction: 0x10,
    usage: usageOf('9e 10 ff ff ff ff ff ff ff ff ff ff ff ff 01 04'),
    reservation: 'always',
    run: readCapacity16,
  },
  { opcode: 0x37, usage: usageOf('37 00 1f 00 00 00 00 ff ff 04'), reservation: 'read', run: readDefectData },
  { opcode: 0xb7, usage: usageOf('b7 1f 00 00 00 00 ff ff ff ff 00 04'), reservation: 'read', run: readDefectData },
];
