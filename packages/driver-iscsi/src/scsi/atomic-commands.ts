import { fuaBit, protectBits, transferFault, transferLength } from './block-commands.ts';
import { outOfRange, rangeOf } from './block-range.ts';
import type { ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import { physicalBlockSize } from './inquiry.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { SenseError, senseOf } from './sense.ts';
import { throwIfDifferent } from './verify-commands.ts';

/** COMPARE AND WRITE (SBC-3, 5.3). */
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
    const found = await readBefore(unit, command, offset, length);
    throwIfDifferent(found, dataOut.subarray(0, length), 0);
    await unit.device.write(dataOut.subarray(length, 2 * length), offset, { fua });
  });
}

/** ORWRITE(16) (SBC-3, 5.7): sets bits of what is there. */
function orWrite(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, dataOut } = command;
  const { device } = unit;
  const range = rangeOf(cdb);
  const fault = transferFault(device, cdb, range);
  if (fault !== null) return command.check(fault);
  const length = range.blocks * device.blockSize;
  if (command.announced !== length) return command.check(senseOf.invalidFieldInCdb);
  if (length === 0) return command.good();
  const offset = range.lba * device.blockSize;
  const fua = (cdb[1]! & fuaBit) !== 0;
  unit.change(command, { offset, length, exclusive: true }, async () => {
    const result = await readBefore(unit, command, offset, length);
    for (let index = 0; index < length; index++) result[index]! |= dataOut[index]!;
    await unit.device.write(result, offset, { fua });
  });
}

/** What lies there before a command changes it. Rejects when the command was aborted meanwhile. */
async function readBefore(unit: LogicalUnit, command: ScsiCommand, offset: number, length: number): Promise<Buffer> {
  const found = Buffer.allocUnsafe(length);
  await unit.device.read(found, offset);
  if (command.aborted) throw new SenseError(senseOf.aborted);
  return found;
}

/**
 * WRITE ATOMIC(16) (SBC-4, 5.48) of physical blocks, one at a time: what storage writes as a whole, or not at all. Nothing
 * else changes the device meanwhile.
 */
function writeAtomic(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, dataOut } = command;
  const { device } = unit;
  const range = { lba: rangeOf(cdb).lba, blocks: cdb.readUInt16BE(12) };
  if ((cdb[1]! & protectBits) !== 0) return command.check(senseOf.invalidFieldInCdb);
  const fault = outOfRange(device, range);
  if (fault !== null) return command.check(fault);
  const length = range.blocks * device.blockSize;
  const offset = range.lba * device.blockSize;
  const boundary = cdb.readUInt16BE(10);
  if (length % physicalBlockSize !== 0 || length > physicalBlockSize || offset % physicalBlockSize !== 0 || boundary !== 0) {
    return command.check(senseOf.invalidFieldInCdb);
  }
  // Less would not be the whole.
  if (command.announced < length) return command.check(senseOf.invalidFieldInCdb);
  if (length === 0) return command.good();
  const fua = (cdb[1]! & fuaBit) !== 0;
  const data = dataOut.subarray(0, length);
  unit.change(command, { offset, length, exclusive: true }, () => unit.device.write(data, offset, { fua }));
}

/** Commands whose work on the medium nothing can come between. */
export const atomicCommands: readonly CommandDefinition[] = [
  {
    opcode: 0x89,
    usage: usageOf('89 18 ff ff ff ff ff ff ff ff 00 00 00 ff 00 04'),
    reservation: 'exclusive',
    writes: true,
    dataOut: (unit, cdb) => 2 * cdb[13]! * unit.device.blockSize,
    run: compareAndWrite,
  },
  {
    opcode: 0x8b,
    usage: usageOf('8b 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
    reservation: 'exclusive',
    writes: true,
    dataOut: transferLength,
    run: orWrite,
  },
  {
    opcode: 0x9c,
    usage: usageOf('9c 18 ff ff ff ff ff ff ff ff 00 00 ff ff 00 04'),
    reservation: 'exclusive',
    writes: true,
    dataOut: (unit, cdb) => Math.min(cdb.readUInt16BE(12) * unit.device.blockSize, physicalBlockSize),
    run: writeAtomic,
  },
];
