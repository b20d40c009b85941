import type { ScsiCommand } from './command.ts';
import { scsiStatus } from './command.ts';
import { usageOf, type CommandDefinition } from './command-table.ts';
import type { LogicalUnit } from './logical-unit.ts';
import {
  holds,
  reservationActions,
  type NexusName,
  type ReservationAction,
  type ReservationOutcome,
  type ReservationRequest,
  type ReservationState,
} from './reservation-state.ts';
import { nexusName } from './reservations.ts';
import { SenseError, senseOf, type Sense } from './sense.ts';
import { formatTransportId, parseTransportId } from './transport-id.ts';

/** Parameter list of all service actions but REGISTER AND MOVE, without TransportIDs (SPC-4, 6.16.3). */
const basicListLength = 24;
/** Longest parameter list that is taken, bytes. */
const maxListLength = 16_384;
/** Bits of byte 20 of a parameter list. */
const listBit = { persists: 0x01, allTargets: 0x04, initiatorPorts: 0x08 } as const;
/** Bits of byte 17 of the parameter list of REGISTER AND MOVE (SPC-4, 6.16.4). */
const moveBit = { persists: 0x01, unregister: 0x02 } as const;
/** Persistent reservation types that are supported, as REPORT CAPABILITIES has them: all six (SPC-4, table 202). */
const typeMask = 0xea01;

/** A PERSISTENT RESERVE IN by what it reports. */
const reserveIn =
  (report: (unit: LogicalUnit) => Buffer): CommandDefinition['run'] =>
  (unit, command) => {
    // Whoever reserved by RESERVE(6) included (SPC-2, 5.5.1).
    if (unit.reservations.reserver !== null) return command.end(scsiStatus.reservationConflict);
    const data = report(unit);
    command.good(data.subarray(0, Math.min(data.length, command.cdb.readUInt16BE(7))));
  };

/** PRgeneration and the length of what follows. */
function reported(unit: LogicalUnit, body: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(unit.reservations.state.generation, 0);
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

function readKeys(unit: LogicalUnit): Buffer {
  const { registrations } = unit.reservations.state;
  const keys = Buffer.alloc(8 * registrations.size);
  for (const [index, { key }] of [...registrations.values()].entries()) keys.writeBigUInt64BE(key, 8 * index);
  return reported(unit, keys);
}

function readReservation(unit: LogicalUnit): Buffer {
  const { reservation, registrations } = unit.reservations.state;
  if (reservation === null) return reported(unit, Buffer.alloc(0));
  const body = Buffer.alloc(16);
  // Of a reservation that all hold the key is zero (SPC-4, 5.13.10).
  if (reservation.holder !== null) body.writeBigUInt64BE(registrations.get(reservation.holder)?.key ?? 0n, 0);
  body[13] = reservation.type;
  return reported(unit, body);
}

function reportCapabilities({ reservations }: LogicalUnit): Buffer {
  const data = Buffer.alloc(8);
  data.writeUInt16BE(data.length, 0);
  // CRH, SIP_C and ATP_C; PTPL_C where there is a place to keep registrations.
  data[2] = 0x1c | (reservations.canPersist ? 0x01 : 0);
  // TMV and PTPL_A.
  data[3] = 0x80 | (reservations.state.persists ? 0x01 : 0);
  data.writeUInt16BE(typeMask, 4);
  return data;
}

function readFullStatus(unit: LogicalUnit): Buffer {
  const { state } = unit.reservations;
  const descriptors = [...state.registrations].map(([id, { key, initiatorPort, targetName }]) => {
    const descriptor = Buffer.alloc(24);
    const transportId = formatTransportId(initiatorPort);
    descriptor.writeBigUInt64BE(key, 0);
    if (state.reservation !== null && holds(state, id)) {
      descriptor[12] = 0x01;
      descriptor[13] = state.reservation.type;
    }
    descriptor.writeUInt16BE(unit.reservations.portOf(targetName), 18);
    descriptor.writeUInt32BE(transportId.length, 20);
    return Buffer.concat([descriptor, transportId]);
  });
  return reported(unit, Buffer.concat(descriptors));
}

/** What a service action of PERSISTENT RESERVE OUT is like, besides what it does to the state. */
interface ActionTraits {
  /** APTPL and ALL_TG_PT mean something. */
  readonly registers?: boolean;
  /** Keeps others from the volume, or changes who does. An access that may not write must not: it would stop those that may. */
  readonly excludes?: boolean;
  /** Ends the commands of those that it preempts. */
  readonly aborts?: boolean;
}

/** A PERSISTENT RESERVE OUT by what it does. */
const reserveOut =
  (action: ReservationAction, traits: ActionTraits, parse = parseList): CommandDefinition['run'] =>
  (unit, command) => {
    if (unit.reservations.reserver !== null) return command.end(scsiStatus.reservationConflict);
    if (traits.excludes === true && command.nexus.readOnly) return command.check(senseOf.writeProtected);
    const request = parse(unit, command, traits.registers === true);
    if ('asc' in request) return command.check(request);
    carryOut(unit, command, (state) => action(state, request), traits.aborts === true);
  };

function carryOut(
  unit: LogicalUnit,
  command: ScsiCommand,
  action: (state: ReservationState) => ReservationOutcome,
  aborts: boolean,
): void {
  const work = async (): Promise<ReservationOutcome> => {
    const outcome = await unit.changeReservations((state) => {
      // Nothing is decided before it is one's turn.
      if (command.aborted) throw new SenseError(senseOf.aborted);
      return action(state);
    });
    if (aborts && outcome.kind === 'done') {
      const own: object = command;
      await unit.taskSet.abort((task) => task !== own && outcome.preempted.has(unit.reservations.idOf(task.nexus)));
    }
    return outcome;
  };
  work().then(
    (outcome) => {
      if (outcome.kind === 'conflict') command.end(scsiStatus.reservationConflict);
      else if (outcome.kind === 'refused') command.check(outcome.sense);
      else command.good();
    },
    (error: unknown) => command.check(error instanceof SenseError ? error.sense : senseOf.hardwareError),
  );
}

function parseList(unit: LogicalUnit, command: ScsiCommand, registers: boolean): ReservationRequest | Sense {
  const { cdb, dataOut, nexus } = command;
  const { reservations } = unit;
  const length = cdb.readUInt32BE(5);
  if (length > maxListLength || length < basicListLength || dataOut.length < length) return senseOf.parameterListLengthError;
  const flags = dataOut[20]!;
  const specified = (flags & listBit.initiatorPorts) !== 0;
  if (!specified && length !== basicListLength) return senseOf.parameterListLengthError;
  if (specified && !registers) return senseOf.invalidFieldInParameterList;
  const initiatorPorts = specified ? parseTransportIds(dataOut.subarray(basicListLength, length)) : [];
  if (initiatorPorts === null) return senseOf.invalidFieldInParameterList;
  const persists = registers && (flags & listBit.persists) !== 0;
  if (persists && !reservations.canPersist) return senseOf.invalidFieldInParameterList;
  const all = registers && (flags & listBit.allTargets) !== 0;
  return {
    ...keysOf(command),
    persists,
    targetNames: all ? reservations.targetNames : [nexus.targetName],
    initiatorPorts,
    destination: null,
    unregister: false,
  };
}

function parseMoveList(unit: LogicalUnit, command: ScsiCommand): ReservationRequest | Sense {
  const { cdb, dataOut, nexus } = command;
  const { reservations } = unit;
  const length = cdb.readUInt32BE(5);
  if (length > maxListLength || length < basicListLength || dataOut.length < length) return senseOf.parameterListLengthError;
  if (dataOut.readUInt32BE(20) !== length - basicListLength) return senseOf.parameterListLengthError;
  const flags = dataOut[17]!;
  const targetName = reservations.targetAt(dataOut.readUInt16BE(18));
  const initiatorPort = parseTransportId(dataOut.subarray(basicListLength, length));
  const persists = (flags & moveBit.persists) !== 0;
  if (targetName === null || initiatorPort === null || (persists && !reservations.canPersist)) {
    return senseOf.invalidFieldInParameterList;
  }
  return {
    ...keysOf(command),
    persists,
    targetNames: [nexus.targetName],
    initiatorPorts: [],
    destination: { initiatorPort, targetName },
    unregister: (flags & moveBit.unregister) !== 0,
  };
}

const keysOf = ({
  cdb,
  dataOut,
  nexus,
}: ScsiCommand): { nexus: NexusName; key: bigint; actionKey: bigint; scope: number; type: number } => ({
  nexus: nexusName(nexus),
  key: dataOut.readBigUInt64BE(0),
  actionKey: dataOut.readBigUInt64BE(8),
  scope: cdb[2]! >> 4,
  type: cdb[2]! & 0x0f,
});

/** The initiator ports of a list of TransportIDs with its length in front; `null` where one is not understood. */
function parseTransportIds(list: Buffer): string[] | null {
  if (list.length < 4 || list.readUInt32BE(0) !== list.length - 4) return null;
  const ports: string[] = [];
  for (let at = 4; at < list.length;) {
    const length = at + 4 <= list.length ? 4 + list.readUInt16BE(at + 2) : 0;
    const port = length === 0 || at + length > list.length ? null : parseTransportId(list.subarray(at, at + length));
    if (port === null) return null;
    ports.push(port);
    at += length;
  }
  return ports;
}

const reserveInDefinition = (serviceAction: number, report: (unit: LogicalUnit) => Buffer): CommandDefinition => ({
  opcode: 0x5e,
  serviceAction,
  usage: usageOf(`5e ${serviceAction.toString(16).padStart(2, '0')} 00 00 00 00 00 ff ff 04`),
  reservation: 'always',
  run: reserveIn(report),
});

const reserveOutDefinition = (serviceAction: number, run: CommandDefinition['run']): CommandDefinition => ({
  opcode: 0x5f,
  serviceAction,
  usage: usageOf(`5f ${serviceAction.toString(16).padStart(2, '0')} ff 00 00 ff ff ff ff 04`),
  // Each service action says itself who may ask for it (SPC-4, table 67).
  reservation: 'always',
  dataOut: (_unit, cdb) => Math.min(cdb.readUInt32BE(5), maxListLength),
  run,
});

const { register, reserve, release, clear, preempt, registerIgnoringKey, registerAndMove } = reservationActions;

/** PERSISTENT RESERVE IN and OUT (SPC-4, 6.15 and 6.16). */
export const persistentReserveCommands: readonly CommandDefinition[] = [
  reserveInDefinition(0x00, readKeys),
  reserveInDefinition(0x01, readReservation),
  reserveInDefinition(0x02, reportCapabilities),
  reserveInDefinition(0x03, readFullStatus),
  reserveOutDefinition(0x00, reserveOut(register, { registers: true })),
  reserveOutDefinition(0x01, reserveOut(reserve, { excludes: true })),
  reserveOutDefinition(0x02, reserveOut(release, {})),
  reserveOutDefinition(0x03, reserveOut(clear, { excludes: true })),
  reserveOutDefinition(0x04, reserveOut(preempt, { excludes: true })),
  reserveOutDefinition(0x05, reserveOut(preempt, { excludes: true, aborts: true })),
  reserveOutDefinition(0x06, reserveOut(registerIgnoringKey, { registers: true })),
  reserveOutDefinition(0x07, reserveOut(registerAndMove, { registers: true, excludes: true }, parseMoveList)),
];
