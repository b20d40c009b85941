import type { ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { senseOf } from './sense.ts';

/** Answers with as much of `data` as the initiator has room for. */
const answer = (command: ScsiCommand, data: Buffer, room: number): void =>
  command.good(data.subarray(0, Math.min(data.length, room)));

/** REPORTING OPTIONS (SPC-4, table 271). */
const reporting = { all: 0, opcode: 1, action: 2, either: 3 } as const;
const optionsByte = 2;
/** A command timeouts descriptor without any figure: there is no nominal time (SPC-4, 6.35.4). */
const timeoutsDescriptor = Buffer.alloc(12);
timeoutsDescriptor.writeUInt16BE(10, 0);

/** REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35). */
function reportSupportedOpcodes(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const withTimeouts = (cdb[2]! & 0x80) !== 0;
  const options = cdb[2]! & 7;
  const room = cdb.readUInt32BE(6);
  if (options > reporting.either) return command.check(senseOf.invalidFieldAt(optionsByte));
  if (options === reporting.all) return answer(command, allCommands(unit, withTimeouts), room);
  const opcode = cdb[3]!;
  const action = cdb.readUInt16BE(4);
  const hasActions = unit.commands.hasActions(opcode);
  const known = hasActions || unit.commands.find(opcode, 0) !== undefined;
  if (options === reporting.opcode && hasActions) return command.check(senseOf.invalidFieldAt(optionsByte));
  if (options === reporting.action && known && !hasActions) return command.check(senseOf.invalidFieldAt(optionsByte));
  // Where an opcode has no service actions, a service action names nothing.
  const found = options === reporting.either && !hasActions && action !== 0 ? undefined : unit.commands.find(opcode, action);
  if (found === undefined) return answer(command, Buffer.of(0, 1, 0, 0), room);
  const header = Buffer.of(0, 3 | (withTimeouts ? 0x80 : 0), 0, found.usage.length);
  answer(command, Buffer.concat([header, found.usage, ...(withTimeouts ? [timeoutsDescriptor] : [])]), room);
}

function allCommands(unit: LogicalUnit, withTimeouts: boolean): Buffer {
  const descriptors = unit.commands.all.map(({ opcode, serviceAction, usage }) => {
    const descriptor = Buffer.alloc(8);
    descriptor[0] = opcode;
    descriptor.writeUInt16BE(serviceAction ?? 0, 2);
    descriptor[5] = (withTimeouts ? 2 : 0) | (serviceAction === undefined ? 0 : 1);
    descriptor.writeUInt16BE(usage.length, 6);
    return withTimeouts ? Buffer.concat([descriptor, timeoutsDescriptor]) : descriptor;
  });
  const header = Buffer.alloc(4);
  const list = Buffer.concat(descriptors);
  header.writeUInt32BE(list.length, 0);
  return Buffer.concat([header, list]);
}

/** REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4, 6.36): abort task, abort and clear task set, resets. */
function reportSupportedTaskFunctions(_unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb } = command;
  const room = cdb.readUInt32BE(6);
  if (room < 4) return command.check(senseOf.invalidFieldInCdb);
  const extended = (cdb[2]! & 0x80) !== 0;
  const data = Buffer.alloc(extended ? 16 : 4);
  data[0] = 0xda;
  // Of the extended data no timeout is told: none has its valid bit.
  data[3] = extended ? 12 : 0;
  answer(command, data, room);
}

/** Commands that tell what can be asked for. */
export const supportedCommands: readonly CommandDefinition[] = [
  {
    opcode: 0xa3,
    serviceAction: 0x0c,
    usage: usageOf('a3 0c 87 ff ff ff ff ff ff ff 00 04'),
    reservation: 'read',
    run: reportSupportedOpcodes,
  },
  {
    opcode: 0xa3,
    serviceAction: 0x0d,
    usage: usageOf('a3 0d 80 00 00 00 ff ff ff ff 00 04'),
    reservation: 'read',
    run: reportSupportedTaskFunctions,
  },
];
