/** Length of a basic header segment, bytes (RFC 7143, 11.2.1). */
export const bhsLength = 48;

/** The value of a task tag that names no task (RFC 7143, 11.2.1.8). */
export const reservedTag = 0xffffffff;

/** Opcodes of PDUs that an initiator sends (RFC 7143, 11.2.1.2). */
export const requestOpcode = {
  nopOut: 0x00,
  scsiCommand: 0x01,
  taskManagement: 0x02,
  login: 0x03,
  text: 0x04,
  dataOut: 0x05,
  logout: 0x06,
  snack: 0x10,
} as const;

/** Opcodes of PDUs that a target sends (RFC 7143, 11.2.1.2). */
export const responseOpcode = {
  nopIn: 0x20,
  scsiResponse: 0x21,
  taskManagement: 0x22,
  login: 0x23,
  text: 0x24,
  dataIn: 0x25,
  logout: 0x26,
  r2t: 0x31,
  asyncMessage: 0x32,
  reject: 0x3f,
} as const;

/** Reasons of a Reject PDU (RFC 7143, 11.17.1). */
export const rejectReason = {
  dataDigestError: 0x02,
  snackReject: 0x03,
  protocolError: 0x04,
  commandNotSupported: 0x05,
  immediateCommandReject: 0x06,
  taskInProgress: 0x07,
  invalidPduField: 0x09,
  longOperationReject: 0x0a,
} as const;

/** Functions of a Task Management request (RFC 7143, 11.5.1). */
export const taskFunction = {
  abortTask: 1,
  abortTaskSet: 2,
  clearAca: 3,
  clearTaskSet: 4,
  logicalUnitReset: 5,
  targetWarmReset: 6,
  targetColdReset: 7,
  taskReassign: 8,
} as const;

/** Responses to a Task Management request (RFC 7143, 11.6.1). */
export const taskResponse = {
  complete: 0,
  noSuchTask: 1,
  noSuchLun: 2,
  reassignNotSupported: 4,
  notSupported: 5,
  rejected: 255,
} as const;

/** Events of an Asynchronous Message (RFC 7143, 11.9.1). */
export const asyncEvent = { logoutRequested: 1, connectionDropped: 2, connectionsDropped: 3 } as const;

/** Reasons of a Logout Request (RFC 7143, 11.14.1). */
export const logoutReason = { closeSession: 0, closeConnection: 1, removeForRecovery: 2 } as const;

/** Responses to a Logout Request (RFC 7143, 11.15.1). */
export const logoutResponse = { done: 0, noSuchConnection: 1, recoveryNotSupported: 2, failed: 3 } as const;

/** Flag bits of byte 1. */
export const flag = {
  /** Final, or Transit in login PDUs. */
  final: 0x80,
  /** Text continues in the next PDU. */
  continues: 0x40,
  /** SCSI Command: data go to the initiator. */
  read: 0x40,
  /** SCSI Command: data come from the initiator. */
  write: 0x20,
  /** Data-In: the PDU carries the SCSI status. */
  status: 0x01,
  residualOverflow: 0x04,
  residualUnderflow: 0x02,
} as const;

/** Opcode of a header. */
export const opcodeOf = (bhs: Buffer): number => bhs[0]! & 0x3f;
/** Whether the immediate-delivery bit is set. */
export const isImmediate = (bhs: Buffer): boolean => (bhs[0]! & 0x40) !== 0;
/** Length of the additional header segments, bytes. */
export const ahsLengthOf = (bhs: Buffer): number => bhs[4]! * 4;
/** Length of the data segment without padding, bytes. */
export const dataLengthOf = (bhs: Buffer): number => (bhs[5]! << 16) | (bhs[6]! << 8) | bhs[7]!;
/** Initiator task tag. */
export const taskTagOf = (bhs: Buffer): number => bhs.readUInt32BE(16);
/** Bytes that pad a segment to a multiple of four. */
export const paddingOf = (length: number): number => -length & 3;

/** Sets the data segment length of a header. */
export function setDataLength(bhs: Buffer, length: number): void {
  bhs[5] = length >>> 16;
  bhs[6] = length >>> 8;
  bhs[7] = length;
}

/** A zeroed header with its opcode, flags and initiator task tag. */
export function makeHeader(opcode: number, flags: number, taskTag: number): Buffer {
  const bhs = Buffer.allocUnsafe(bhsLength).fill(0);
  bhs[0] = opcode;
  bhs[1] = flags;
  bhs.writeUInt32BE(taskTag, 16);
  return bhs;
}

/** A header and its data segment as one buffer, padded; the header's data length is set. */
export function joinData(bhs: Buffer, data: Buffer): Buffer {
  setDataLength(bhs, data.length);
  const whole = Buffer.allocUnsafe(bhsLength + data.length + paddingOf(data.length));
  whole.set(bhs, 0);
  whole.set(data, bhsLength);
  whole.fill(0, bhsLength + data.length);
  return whole;
}

/** Compares sequence numbers in serial number arithmetic (RFC 1982, 32 bits): negative when `a` is before `b`. */
export const compareSequence = (a: number, b: number): number => (a - b) | 0;
/** The sequence number after `value`. */
export const nextSequence = (value: number, step = 1): number => (value + step) >>> 0;
