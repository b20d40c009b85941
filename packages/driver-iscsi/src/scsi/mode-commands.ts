import type { ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { pageControl } from './mode-parameters.ts';
import { senseOf } from './sense.ts';

/** Bits of byte 1 of MODE SENSE and MODE SELECT. */
const senseBit = { withoutDescriptor: 0x08, longLba: 0x10 } as const;
const selectBit = { save: 0x01, pageFormat: 0x10 } as const;
/** Device-specific parameter: WP and DPOFUA (SBC-3, 6.5.2). */
const deviceBit = { writeProtected: 0x80, dpoFua: 0x10 } as const;

const isShort = (cdb: Buffer): boolean => cdb[0]! >> 5 === 0;

/** MODE SENSE of 6 and of 10 bytes (SPC-4, 6.11 and 6.12). */
function modeSense(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, nexus } = command;
  const short = isShort(cdb);
  const control = cdb[2]! >> 6;
  if (control === pageControl.saved) return command.check(senseOf.savingNotSupported);
  const pages = unit.mode.sense(cdb[2]! & 0x3f, cdb[3]!, control);
  if (pages === null) return command.check(senseOf.invalidFieldInCdb);
  const withoutDescriptor = (cdb[1]! & senseBit.withoutDescriptor) !== 0;
  const long = !short && !withoutDescriptor && (cdb[1]! & senseBit.longLba) !== 0;
  const descriptor = withoutDescriptor ? Buffer.alloc(0) : blockDescriptor(unit, long);
  const header = Buffer.alloc(short ? 4 : 8);
  const length = header.length + descriptor.length + pages.length;
  const parameter = deviceBit.dpoFua | (nexus.readOnly || unit.mode.writeProtected ? deviceBit.writeProtected : 0);
  if (short) {
    header[0] = length - 1;
    header[2] = parameter;
    header[3] = descriptor.length;
  } else {
    header.writeUInt16BE(length - 2, 0);
    header[3] = parameter;
    header[4] = long ? 1 : 0;
    header.writeUInt16BE(descriptor.length, 6);
  }
  const room = short ? cdb[4]! : cdb.readUInt16BE(7);
  command.good(Buffer.concat([header, descriptor, pages]).subarray(0, Math.min(length, room)));
}

/** Block descriptor, 8 bytes or, `long`, 16 (SBC-3, 6.5.2). */
function blockDescriptor({ device }: LogicalUnit, long: boolean): Buffer {
  const blocks = device.size / device.blockSize;
  if (long) {
    const descriptor = Buffer.alloc(16);
    descriptor.writeBigUInt64BE(BigInt(blocks), 0);
    descriptor.writeUInt32BE(device.blockSize, 12);
    return descriptor;
  }
  const descriptor = Buffer.alloc(8);
  descriptor.writeUInt32BE(Math.min(blocks, 0xffffffff), 0);
  descriptor.writeUIntBE(device.blockSize, 5, 3);
  return descriptor;
}

const selectLength = (cdb: Buffer): number => (isShort(cdb) ? cdb[4]! : cdb.readUInt16BE(7));

/** MODE SELECT of 6 and of 10 bytes (SPC-4, 6.9 and 6.10). */
function modeSelect(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, dataOut, nexus } = command;
  const short = isShort(cdb);
  const length = selectLength(cdb);
  // The parameters are everybody's: who may not write must not keep others from it.
  if (nexus.readOnly) return command.check(senseOf.writeProtected);
  if ((cdb[1]! & selectBit.save) !== 0) return command.check(senseOf.invalidFieldInCdb);
  if (length === 0) return command.good();
  if ((cdb[1]! & selectBit.pageFormat) === 0) return command.check(senseOf.invalidFieldInCdb);
  const headerLength = short ? 4 : 8;
  if (dataOut.length < length || length < headerLength) return command.check(senseOf.parameterListLengthError);
  const descriptorLength = short ? dataOut[3]! : dataOut.readUInt16BE(6);
  const pagesAt = headerLength + descriptorLength;
  if (pagesAt > length) return command.check(senseOf.parameterListLengthError);
  if (descriptorLength > 0) {
    const long = !short && (dataOut[4]! & 1) !== 0;
    if (!keepsFormat(unit, dataOut.subarray(headerLength, pagesAt), long)) {
      return command.check(senseOf.invalidFieldInParameterList);
    }
  }
  const selected = unit.mode.select(dataOut.subarray(pagesAt, length));
  if (typeof selected === 'object') return command.check(selected);
  if (selected) unit.announce(senseOf.modeParametersChanged, nexus);
  command.good();
}

/** Whether a block descriptor asks for the capacity and the block size that there are. */
function keepsFormat(unit: LogicalUnit, descriptor: Buffer, long: boolean): boolean {
  const known = blockDescriptor(unit, long);
  if (descriptor.length !== known.length) return false;
  // No number of blocks leaves it as it is.
  const blocks = long ? 8 : 4;
  const asked = Buffer.from(descriptor);
  if (asked.subarray(0, blocks).every((byte) => byte === 0)) known.copy(asked, 0, 0, blocks);
  return asked.equals(known);
}

/** MODE SENSE and MODE SELECT. */
export const modeCommands: readonly CommandDefinition[] = [
  { opcode: 0x1a, usage: usageOf('1a 08 ff ff ff 04'), reservation: 'read', run: modeSense },
  { opcode: 0x5a, usage: usageOf('5a 18 ff ff 00 00 00 ff ff 04'), reservation: 'read', run: modeSense },
  {
    opcode: 0x15,
    usage: usageOf('15 11 00 00 ff 04'),
    reservation: 'exclusive',
    dataOut: (_unit, cdb) => selectLength(cdb),
    run: modeSelect,
  },
  {
    opcode: 0x55,
    usage: usageOf('55 11 00 00 00 00 00 ff ff 04'),
    reservation: 'exclusive',
    dataOut: (_unit, cdb) => selectLength(cdb),
    run: modeSelect,
  },
];
