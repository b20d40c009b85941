import { scsiStatus, type ScsiCommand } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { holds, isForRegistrants } from './reservation-state.ts';
import { senseOf } from './sense.ts';

/** Third party and extent reservations, which are obsolete (SPC-2, 7.21). */
const obsoleteBits = 0x1f;

/** Whether RESERVE and RELEASE do nothing, and succeed: for those that a persistent reservation is for (SPC-4, 5.13.3, as CRH says). */
function isProvidedFor({ reservations }: LogicalUnit, command: ScsiCommand): boolean {
  const { state } = reservations;
  const id = reservations.idOf(command.nexus);
  if (!state.registrations.has(id)) return false;
  if (holds(state, id)) return true;
  return state.reservation !== null && isForRegistrants(state.reservation.type);
}

function reserve(unit: LogicalUnit, command: ScsiCommand): void {
  const { reservations } = unit;
  if ((command.cdb[1]! & obsoleteBits) !== 0) return command.check(senseOf.invalidFieldInCdb);
  if (isProvidedFor(unit, command)) return command.good();
  // It would keep those from the volume that may write.
  if (command.nexus.readOnly) return command.check(senseOf.writeProtected);
  const { reserver, state } = reservations;
  // Whoever is registered, both kinds of reservation do not go together (SPC-2, 5.5.1).
  if (state.registrations.size > 0 || (reserver !== null && reserver !== command.nexus)) {
    return command.end(scsiStatus.reservationConflict);
  }
  reservations.reserve(command.nexus);
  command.good();
}

function release(unit: LogicalUnit, command: ScsiCommand): void {
  const { reservations } = unit;
  if ((command.cdb[1]! & obsoleteBits) !== 0) return command.check(senseOf.invalidFieldInCdb);
  if (isProvidedFor(unit, command)) return command.good();
  if (reservations.state.registrations.size > 0) return command.end(scsiStatus.reservationConflict);
  // Of somebody else's reservation nothing is released, and that is no error (SPC-2, 7.16).
  reservations.release(command.nexus);
  command.good();
}

/** RESERVE and RELEASE of 6 and of 10 bytes (SPC-2, 7.16, 7.17, 7.21 and 7.22), for the whole logical unit. */
export const reserveCommands: readonly CommandDefinition[] = [
  { opcode: 0x16, usage: usageOf('16 00 00 00 00 04'), reservation: 'always', run: reserve },
  { opcode: 0x17, usage: usageOf('17 00 00 00 00 04'), reservation: 'always', run: release },
  { opcode: 0x56, usage: usageOf('56 00 00 00 00 00 00 00 00 04'), reservation: 'always', run: reserve },
  { opcode: 0x57, usage: usageOf('57 00 00 00 00 00 00 00 00 04'), reservation: 'always', run: release },
];
