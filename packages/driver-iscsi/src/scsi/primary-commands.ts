import type { ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import { standardInquiry, vitalProductPage } from './inquiry.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { deviceSpecificParameter, modePages } from './mode-pages.ts';
import { formatDescriptorSense, formatSense, senseOf } from './sense.ts';

/** Answers with as much of `data` as the initiator has room for. */
const answer = (command: ScsiCommand, data: Buffer, room: number): void =>
  command.good(data.subarray(0, Math.min(data.length, room)));

function inquiry(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const room = cdb.readUInt16BE(3);
  const vital = (cdb[1]! & 1) !== 0;
  if (!vital) {
    if (cdb[2] !== 0) return command.check(senseOf.invalidFieldInCdb);
    return answer(command, standardInquiry(command.lunExists), room);
  }
  if (!command.lunExists) return command.check(senseOf.logicalUnitNotSupported);
  const page = vitalProductPage(cdb[2]!, {
    volumeId: unit.volumeId,
    targetName: command.nexus.targetName,
    device: unit.device,
  });
  if (page === null) return command.check(senseOf.invalidFieldInCdb);
  answer(command, page, room);
}

function reportLuns(_unit: LogicalUnit, command: ScsiCommand): void {
  const select = command.cdb[2]!;
  const room = command.cdb.readUInt32BE(6);
  if (select > 2 || room < 16) return command.check(senseOf.invalidFieldInCdb);
  // Well known logical units only (1): there are none.
  const data = Buffer.alloc(select === 1 ? 8 : 16);
  data.writeUInt32BE(data.length - 8, 0);
  answer(command, data, room);
}

function requestSense(_unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, nexus } = command;
  const found = command.lunExists ? (nexus.unitAttentions.shift() ?? senseOf.noSense) : senseOf.logicalUnitNotSupported;
  answer(command, (cdb[1]! & 1) !== 0 ? formatDescriptorSense(found) : formatSense(found), cdb[4]!);
}

/** MODE SENSE of 6 and of 10 bytes (SPC-4, 6.11 and 6.12). */
function modeSense(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, nexus } = command;
  const short = cdb[0] === 0x1a;
  const control = cdb[2]! >> 6;
  if (control === 3) return command.check(senseOf.savingNotSupported);
  const pages = modePages(cdb[2]! & 0x3f, cdb[3]!, control === 1);
  if (pages === null) return command.check(senseOf.invalidFieldInCdb);
  const withoutDescriptor = (cdb[1]! & 0x08) !== 0;
  const long = !short && (cdb[1]! & 0x10) !== 0;
  const descriptor = withoutDescriptor ? Buffer.alloc(0) : blockDescriptor(unit, long);
  const header = Buffer.alloc(short ? 4 : 8);
  const length = header.length + descriptor.length + pages.length;
  if (short) {
    header[0] = length - 1;
    header[2] = deviceSpecificParameter(nexus.readOnly);
    header[3] = descriptor.length;
  } else {
    header.writeUInt16BE(length - 2, 0);
    header[3] = deviceSpecificParameter(nexus.readOnly);
    header[4] = long && !withoutDescriptor ? 1 : 0;
    header.writeUInt16BE(descriptor.length, 6);
  }
  answer(command, Buffer.concat([header, descriptor, pages]), short ? cdb[4]! : cdb.readUInt16BE(7));
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

/** REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35). */
function reportSupportedOpcodes(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const timeouts = (cdb[2]! & 0x80) !== 0;
  const options = cdb[2]! & 7;
  const opcode = cdb[3]!;
  const action = cdb.readUInt16BE(4);
  const room = cdb.readUInt32BE(6);
  // A timeouts descriptor without any figure: there is no nominal time.
  const timeoutsDescriptor = Buffer.alloc(12);
  timeoutsDescriptor.writeUInt16BE(10, 0);
  if (options === 0) {
    const descriptors = unit.commands.all.map(({ opcode: code, serviceAction, usage }) => {
      const descriptor = Buffer.alloc(8);
      descriptor[0] = code;
      descriptor.writeUInt16BE(serviceAction ?? 0, 2);
      descriptor[5] = (timeouts ? 2 : 0) | (serviceAction === undefined ? 0 : 1);
      descriptor.writeUInt16BE(usage.length, 6);
      return timeouts ? Buffer.concat([descriptor, timeoutsDescriptor]) : descriptor;
    });
    const header = Buffer.alloc(4);
    const list = Buffer.concat(descriptors);
    header.writeUInt32BE(list.length, 0);
    return answer(command, Buffer.concat([header, list]), room);
  }
  if (options > 3) return command.check(senseOf.invalidFieldInCdb);
  const hasActions = unit.commands.hasActions(opcode);
  // 1 asks for an opcode alone and 2 for one with a service action; 3 takes either (SPC-4, table 271).
  if ((options === 1 && hasActions) || (options === 2 && !hasActions && unit.commands.find(opcode, 0) !== undefined)) {
    return command.check(senseOf.invalidFieldInCdb);
  }
  const found = unit.commands.find(opcode, action);
  if (found === undefined) return answer(command, Buffer.of(0, 1, 0, 0), room);
  const header = Buffer.of(0, 3 | (timeouts ? 0x80 : 0), 0, found.usage.length);
  answer(command, Buffer.concat([header, found.usage, ...(timeouts ? [timeoutsDescriptor] : [])]), room);
}

/** REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4, 6.36): abort task, abort and clear task set, resets. */
function reportSupportedTaskFunctions(_unit: LogicalUnit, command: ScsiCommand): void {
  answer(command, Buffer.of(0xda, 0, 0, 0), command.cdb.readUInt32BE(6));
}

const nothingToDo = (_unit: LogicalUnit, command: ScsiCommand): void => command.good();

/** Commands of every device type (SPC-4, 6). RESERVE(6) and RELEASE(6) are not among them. */
export const primaryCommands: readonly CommandDefinition[] = [
  { opcode: 0x00, usage: usageOf('00 00 00 00 00 04'), run: nothingToDo },
  { opcode: 0x03, usage: usageOf('03 01 00 00 ff 04'), beforeAttention: true, run: requestSense },
  { opcode: 0x12, usage: usageOf('12 01 ff ff ff 04'), beforeAttention: true, run: inquiry },
  { opcode: 0x1a, usage: usageOf('1a 08 ff ff ff 04'), run: modeSense },
  { opcode: 0x5a, usage: usageOf('5a 18 ff ff 00 00 00 ff ff 04'), run: modeSense },
  { opcode: 0x1b, usage: usageOf('1b 01 00 0f f7 04'), run: nothingToDo },
  { opcode: 0x1e, usage: usageOf('1e 00 00 00 03 04'), run: nothingToDo },
  { opcode: 0xa0, usage: usageOf('a0 00 ff 00 00 00 ff ff ff ff 00 04'), beforeAttention: true, run: reportLuns },
  {
    opcode: 0xa3,
    serviceAction: 0x0c,
    usage: usageOf('a3 0c 87 ff ff ff ff ff ff ff 00 04'),
    run: reportSupportedOpcodes,
  },
  {
    opcode: 0xa3,
    serviceAction: 0x0d,
    usage: usageOf('a3 0d 00 00 00 00 ff ff ff ff 00 04'),
    run: reportSupportedTaskFunctions,
  },
];
