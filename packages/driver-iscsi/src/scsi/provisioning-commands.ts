import { outOfRange, rangeOf, type BlockRange } from './block-range.ts';
import type { ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import { maxProvisioningLength, maxUnmapDescriptors } from './inquiry.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { SenseError, senseFromError, senseOf } from './sense.ts';

/** Bytes of a repeated pattern that are written at a time. */
const patternStep = 1_048_576;
/** Most descriptors in an answer to GET LBA STATUS. */
const maxStatusDescriptors = 64;

/** Byte 1 of WRITE SAME (SBC-3, 5.43). */
const writeSameBit = { noData: 0x01, unmap: 0x08, refused: 0xf6 } as const;

function unmap(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, dataOut } = command;
  const { device } = unit;
  if ((cdb[1]! & 1) !== 0) return command.check(senseOf.invalidFieldInCdb);
  const listLength = cdb.readUInt16BE(7);
  if (listLength === 0) return command.good();
  if (dataOut.length < 8) return command.check(senseOf.parameterListLengthError);
  const listed = Math.min(dataOut.readUInt16BE(2), dataOut.length - 8, listLength - 8);
  const count = Math.floor(listed / 16);
  if (count > maxUnmapDescriptors) return command.check(senseOf.invalidFieldInParameterList);
  const ranges: BlockRange[] = [];
  let total = 0;
  for (let index = 0; index < count; index++) {
    const at = 8 + 16 * index;
    const range = {
      lba: dataOut.readUInt32BE(at) * 2 ** 32 + dataOut.readUInt32BE(at + 4),
      blocks: dataOut.readUInt32BE(at + 8),
    };
    if (range.blocks === 0) continue;
    const fault = outOfRange(device, range);
    if (fault !== null) return command.check(fault);
    total += range.blocks * device.blockSize;
    ranges.push(range);
  }
  if (total > maxProvisioningLength) return command.check(senseOf.invalidFieldInParameterList);
  const next = (): void => {
    const range = ranges.shift();
    if (range === undefined) return command.good();
    if (command.aborted) return command.check(senseOf.aborted);
    const offset = range.lba * device.blockSize;
    const length = range.blocks * device.blockSize;
    unit.change(command, { offset, length }, () => unit.device.discard(offset, length), next);
  };
  next();
}

function writeSame(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, dataOut } = command;
  const { device } = unit;
  const range = rangeOf(cdb);
  const flags = cdb[1]!;
  const noData = cdb[0] === 0x93 && (flags & writeSameBit.noData) !== 0;
  if ((flags & writeSameBit.refused) !== 0 || (cdb[0] === 0x41 && (flags & 1) !== 0) || range.blocks === 0) {
    return command.check(senseOf.invalidFieldInCdb);
  }
  const fault = outOfRange(device, range);
  if (fault !== null) return command.check(fault);
  const offset = range.lba * device.blockSize;
  const length = range.blocks * device.blockSize;
  if (length > maxProvisioningLength) return command.check(senseOf.invalidFieldInCdb);
  if (command.announced !== (noData ? 0 : device.blockSize)) return command.check(senseOf.invalidFieldInCdb);
  const pattern = dataOut.subarray(0, device.blockSize);
  if (noData || isZero(pattern)) {
    const work =
      (flags & writeSameBit.unmap) !== 0
        ? () => unit.device.discard(offset, length)
        : () => unit.device.writeZeroes(offset, length);
    return unit.change(command, { offset, length }, work);
  }
  unit.change(command, { offset, length }, async () => {
    const repeated = Buffer.allocUnsafe(Math.min(patternStep, length)).fill(pattern);
    for (let at = 0; at < length; at += repeated.length) {
      if (command.aborted) throw new SenseError(senseOf.aborted);
      await unit.device.write(repeated.subarray(0, Math.min(repeated.length, length - at)), offset + at);
    }
  });
}

const isZero = (data: Buffer): boolean => data[0] === 0 && data.subarray(1).equals(data.subarray(0, -1));

function getLbaStatus(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const { lba } = rangeOf(cdb);
  const allocationLength = cdb.readUInt32BE(10);
  const fault = outOfRange(unit.device, { lba, blocks: 0 });
  if (fault !== null) return command.check(fault);
  const room = Math.max(1, Math.min(maxStatusDescriptors, Math.floor((allocationLength - 8) / 16)));
  provisioningStatus(unit, lba, room).then(
    (descriptors) => {
      const data = Buffer.alloc(8 + 16 * descriptors.length);
      data.writeUInt32BE(data.length - 4, 0);
      for (const [index, { range, mapped }] of descriptors.entries()) {
        data.writeBigUInt64BE(BigInt(range.lba), 8 + 16 * index);
        data.writeUInt32BE(range.blocks, 16 + 16 * index);
        data[20 + 16 * index] = mapped ? 0 : 1;
      }
      command.good(data.subarray(0, Math.min(data.length, allocationLength)));
    },
    (error: unknown) => command.check(senseFromError(error, true)),
  );
}

interface ProvisioningRange {
  readonly range: BlockRange;
  readonly mapped: boolean;
}

/** Runs of mapped and unmapped blocks from `lba` on, `room` at most. */
async function provisioningStatus(unit: LogicalUnit, lba: number, room: number): Promise<ProvisioningRange[]> {
  const { size, blockSize } = unit.device;
  const found: ProvisioningRange[] = [];
  const add = (from: number, to: number, mapped: boolean): void => {
    if (to > from && found.length < room) {
      found.push({ range: { lba: from / blockSize, blocks: Math.min((to - from) / blockSize, 0xffffffff) }, mapped });
    }
  };
  let at = lba * blockSize;
  for await (const extent of unit.allocatedExtents(at, size - at)) {
    add(at, extent.offset, false);
    add(extent.offset, extent.offset + extent.length, true);
    at = extent.offset + extent.length;
    if (found.length >= room) break;
  }
  add(at, size, false);
  return found;
}

const oneBlock = (unit: LogicalUnit, cdb: Buffer): number =>
  cdb[0] === 0x93 && (cdb[1]! & writeSameBit.noData) !== 0 ? 0 : unit.device.blockSize;

/** What is deallocated moves nothing, as with UNMAP. */
const writeSameLength = (unit: LogicalUnit, cdb: Buffer): number => {
  if ((cdb[1]! & writeSameBit.unmap) !== 0) return 0;
  return Math.min(rangeOf(cdb).blocks * unit.device.blockSize, maxProvisioningLength);
};

/** Commands about which blocks have storage behind them (SBC-3, 4.7). */
export const provisioningCommands: readonly CommandDefinition[] = [
  {
    opcode: 0x42,
    usage: usageOf('42 00 00 00 00 00 00 ff ff 04'),
    reservation: 'exclusive',
    writes: true,
    dataOut: (_unit, cdb) => cdb.readUInt16BE(7),
    run: unmap,
  },
  {
    opcode: 0x41,
    usage: usageOf('41 08 ff ff ff ff 00 ff ff 04'),
    reservation: 'exclusive',
    writes: true,
    moves: writeSameLength,
    dataOut: oneBlock,
    run: writeSame,
  },
  {
    opcode: 0x93,
    usage: usageOf('93 09 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
    reservation: 'exclusive',
    writes: true,
    moves: writeSameLength,
    dataOut: oneBlock,
    run: writeSame,
  },
  {
    opcode: 0x9e,
    serviceAction: 0x12,
    usage: usageOf('9e 12 ff ff ff ff ff ff ff ff ff ff ff ff 00 04'),
    reservation: 'read',
    run: getLbaStatus,
  },
];
