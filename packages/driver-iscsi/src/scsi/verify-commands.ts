import { outOfRange, rangeOf, type BlockRange } from './block-range.ts';
import { protectBits, transferFault, transferLength } from './block-commands.ts';
import type { ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import { maxTransferLength } from './inquiry.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { readFault } from './read-fault.ts';
import { SenseError, senseOf } from './sense.ts';

/** Bytes that VERIFY reads at a time. */
const verifyStep = 1_048_576;

/** BYTCHK: what the medium is compared with (SBC-3, 5.33). */
const byteCheck = { nothing: 0, all: 1, reserved: 2, oneBlock: 3 } as const;
const byteCheckOf = (cdb: Buffer): number => (cdb[1]! >> 1) & 3;

/** VERIFY of 10, 12 and 16 bytes (SBC-3, 5.33 to 5.35). */
function verify(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const range = rangeOf(cdb);
  const check = byteCheckOf(cdb);
  if (check === byteCheck.reserved || (cdb[1]! & protectBits) !== 0) return command.check(senseOf.invalidFieldInCdb);
  const fault = outOfRange(unit.device, range);
  if (fault !== null) return command.check(fault);
  const length = range.blocks * unit.device.blockSize;
  if (check === byteCheck.all && length > maxTransferLength) return command.check(senseOf.invalidFieldInCdb);
  if (check !== byteCheck.nothing && length > 0 && command.announced !== verifyLength(unit, cdb)) {
    return command.check(senseOf.invalidFieldInCdb);
  }
  compareMedium(unit, command, range, check).then(
    () => command.good(),
    (error: unknown) => {
      if (error instanceof SenseError) command.check(error.sense);
      else readFault(unit.device, range, error, command);
    },
  );
}

/** Reads the range and compares it as BYTCHK says. Rejects with {@link SenseError} where it differs. */
async function compareMedium(unit: LogicalUnit, command: ScsiCommand, range: BlockRange, check: number): Promise<void> {
  const { blockSize } = unit.device;
  const length = range.blocks * blockSize;
  const buffer = Buffer.allocUnsafe(Math.min(length, verifyStep));
  for (let at = 0; at < length && !command.aborted; at += verifyStep) {
    const part = buffer.subarray(0, Math.min(verifyStep, length - at));
    await unit.device.read(part, range.lba * blockSize + at);
    if (check === byteCheck.all) throwIfDifferent(part, command.dataOut.subarray(at, at + part.length), at);
    for (let block = 0; check === byteCheck.oneBlock && block < part.length; block += blockSize) {
      throwIfDifferent(part.subarray(block, block + blockSize), command.dataOut, at + block);
    }
  }
}

/** Throws the sense of a miscompare, whose information is the offset of the first byte that differs (SBC-3, 5.3). */
export function throwIfDifferent(found: Buffer, expected: Buffer, at: number): void {
  if (found.equals(expected)) return;
  let index = 0;
  while (index < found.length && found[index] === expected[index]) index++;
  throw new SenseError(senseOf.miscompare(at + index));
}

/** WRITE AND VERIFY of 10, 12 and 16 bytes (SBC-3, 5.45 to 5.47): what is verified is on stable storage. */
function writeAndVerify(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, dataOut } = command;
  const { device, statistics } = unit;
  const range = rangeOf(cdb);
  const check = byteCheckOf(cdb);
  if (check > byteCheck.all) return command.check(senseOf.invalidFieldInCdb);
  const fault = transferFault(device, cdb, range);
  if (fault !== null) return command.check(fault);
  const blocks = Math.floor(Math.min(dataOut.length / device.blockSize, range.blocks));
  if (blocks === 0) return command.good();
  const length = blocks * device.blockSize;
  const offset = range.lba * device.blockSize;
  const work = async (): Promise<void> => {
    await unit.device.write(dataOut.subarray(0, length), offset, { fua: true });
    await compareMedium(unit, command, { lba: range.lba, blocks }, check);
  };
  // Nobody else's write may come between the two.
  unit.change(command, { offset, length, exclusive: check === byteCheck.all }, work, () => {
    statistics.writes++;
    statistics.writtenBytes += length;
    command.good();
  });
}

const verifyLength = (unit: LogicalUnit, cdb: Buffer): number => {
  if (rangeOf(cdb).blocks === 0) return 0;
  const check = byteCheckOf(cdb);
  return check === byteCheck.all ? transferLength(unit, cdb) : check === byteCheck.oneBlock ? unit.device.blockSize : 0;
};

const verifying = (opcode: number, usage: string): CommandDefinition => ({
  opcode,
  usage: usageOf(usage),
  reservation: 'read',
  moves: (unit, cdb) => Math.min(rangeOf(cdb).blocks * unit.device.blockSize, unit.device.size),
  dataOut: verifyLength,
  run: verify,
});

const writingAndVerifying = (opcode: number, usage: string): CommandDefinition => ({
  opcode,
  usage: usageOf(usage),
  reservation: 'exclusive',
  writes: true,
  dataOut: transferLength,
  run: writeAndVerify,
});

/** Commands that compare the content of the medium. */
export const verifyCommands: readonly CommandDefinition[] = [
  verifying(0x2f, '2f 16 ff ff ff ff 00 ff ff 04'),
  verifying(0xaf, 'af 16 ff ff ff ff ff ff ff ff 00 04'),
  verifying(0x8f, '8f 16 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
  writingAndVerifying(0x2e, '2e 12 ff ff ff ff 00 ff ff 04'),
  writingAndVerifying(0xae, 'ae 12 ff ff ff ff ff ff ff ff 00 04'),
  writingAndVerifying(0x8e, '8e 12 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
];
