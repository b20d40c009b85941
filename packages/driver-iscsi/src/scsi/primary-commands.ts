import type { ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import { standardInquiry, vitalProductPage } from './inquiry.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { formatDescriptorSense, formatSense, senseOf } from './sense.ts';

/** Answers with as much of `data` as the initiator has room for. */
const answer = (command: ScsiCommand, data: Buffer, room: number): void =>
  command.good(data.subarray(0, Math.min(data.length, room)));

function inquiry(unit: LogicalUnit, command: ScsiCommand): void {
  const { cdb, nexus } = command;
  const room = cdb.readUInt16BE(3);
  const vital = (cdb[1]! & 1) !== 0;
  if (!vital) {
    if (cdb[2] !== 0) return command.check(senseOf.invalidFieldInCdb);
    return answer(command, standardInquiry(command.lunExists), room);
  }
  if (!command.lunExists) return command.check(senseOf.logicalUnitNotSupported);
  const page = vitalProductPage(cdb[2]!, {
    volumeId: unit.volumeId,
    targetName: nexus.targetName,
    targetPort: unit.reservations.portOf(nexus.targetName),
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

const nothingToDo = (_unit: LogicalUnit, command: ScsiCommand): void => command.good();

/** Commands of every device type that ask who and how it is (SPC-4, 6). */
export const primaryCommands: readonly CommandDefinition[] = [
  { opcode: 0x00, usage: usageOf('00 00 00 00 00 04'), reservation: 'status', run: nothingToDo },
  { opcode: 0x03, usage: usageOf('03 01 00 00 ff 04'), reservation: 'always', beforeAttention: true, run: requestSense },
  { opcode: 0x12, usage: usageOf('12 01 ff ff ff 04'), reservation: 'always', beforeAttention: true, run: inquiry },
  {
    opcode: 0xa0,
    usage: usageOf('a0 00 ff 00 00 00 ff ff ff ff 00 04'),
    reservation: 'always',
    beforeAttention: true,
    run: reportLuns,
  },
  // PREVENT ALLOW MEDIUM REMOVAL: the medium cannot be removed.
  {
    opcode: 0x1e,
    usage: usageOf('1e 00 00 00 03 04'),
    reservation: (cdb) => ((cdb[4]! & 3) === 0 ? 'always' : 'exclusive'),
    run: nothingToDo,
  },
];
