import { ScoriaError } from '@scoria/core/device';

/** Sense key with additional sense code and qualifier (SPC-4, 4.5). */
export interface Sense {
  readonly key: number;
  readonly asc: number;
  readonly ascq: number;
  /** Value of the INFORMATION field, where it means something. */
  readonly information?: number;
  /** Byte of the CDB that is wrong, where it is told. */
  readonly fieldPointer?: number;
}

const condition = (key: number, asc: number, ascq: number): Sense => ({ key, asc, ascq });

/** The conditions that this logical unit reports, by their names in SPC-4, annex F. */
export const senseOf = {
  noSense: condition(0x0, 0x00, 0x00),
  mediumError: condition(0x3, 0x0c, 0x00),
  unrecoveredReadError: condition(0x3, 0x11, 0x00),
  hardwareError: condition(0x4, 0x44, 0x00),
  parameterListLengthError: condition(0x5, 0x1a, 0x00),
  invalidOpcode: condition(0x5, 0x20, 0x00),
  lbaOutOfRange: condition(0x5, 0x21, 0x00),
  invalidFieldInCdb: condition(0x5, 0x24, 0x00),
  /** The same, with the byte of the CDB that is wrong. */
  invalidFieldAt: (byte: number): Sense => ({ key: 0x5, asc: 0x24, ascq: 0x00, fieldPointer: byte }),
  logicalUnitNotSupported: condition(0x5, 0x25, 0x00),
  invalidFieldInParameterList: condition(0x5, 0x26, 0x00),
  invalidRelease: condition(0x5, 0x26, 0x04),
  savingNotSupported: condition(0x5, 0x39, 0x00),
  insufficientRegistrationResources: condition(0x5, 0x55, 0x04),
  powerOn: condition(0x6, 0x29, 0x00),
  busDeviceReset: condition(0x6, 0x29, 0x03),
  nexusLoss: condition(0x6, 0x29, 0x07),
  modeParametersChanged: condition(0x6, 0x2a, 0x01),
  reservationsPreempted: condition(0x6, 0x2a, 0x03),
  reservationsReleased: condition(0x6, 0x2a, 0x04),
  registrationsPreempted: condition(0x6, 0x2a, 0x05),
  capacityChanged: condition(0x6, 0x2a, 0x09),
  commandsCleared: condition(0x6, 0x2f, 0x00),
  writeProtected: condition(0x7, 0x27, 0x00),
  softwareWriteProtected: condition(0x7, 0x27, 0x02),
  spaceAllocationFailed: condition(0x7, 0x27, 0x07),
  notReady: condition(0x2, 0x04, 0x00),
  aborted: condition(0xb, 0x00, 0x00),
  miscompare: (offset: number): Sense => ({ key: 0xe, asc: 0x1d, ascq: 0x00, information: offset }),
} as const;

/** Fixed format sense data, 18 bytes (SPC-4, 4.5.3). Information of more than 32 bits does not fit in, and is left out. */
export function formatSense({ key, asc, ascq, information, fieldPointer }: Sense): Buffer {
  const data = Buffer.alloc(18);
  const informs = information !== undefined && information <= 0xffffffff;
  data[0] = informs ? 0xf0 : 0x70;
  data[2] = key;
  if (informs) data.writeUInt32BE(information, 3);
  data[7] = 10;
  data[12] = asc;
  data[13] = ascq;
  if (fieldPointer !== undefined) formatFieldPointer(fieldPointer).copy(data, 15);
  return data;
}

/** Sense key specific data of ILLEGAL REQUEST: SKSV, C/D and the field pointer (SPC-4, 4.5.2.4.2). */
const formatFieldPointer = (byte: number): Buffer => Buffer.of(0xc0, byte >> 8, byte & 0xff);

/** Descriptor format sense data, 8 bytes and a descriptor for what else is told (SPC-4, 4.5.2). */
export function formatDescriptorSense({ key, asc, ascq, information, fieldPointer }: Sense): Buffer {
  const descriptors: Buffer[] = [];
  if (information !== undefined) {
    const descriptor = Buffer.alloc(12);
    descriptor[1] = 10;
    descriptor[2] = 0x80;
    descriptor.writeBigUInt64BE(BigInt(information), 4);
    descriptors.push(descriptor);
  }
  if (fieldPointer !== undefined) {
    descriptors.push(Buffer.concat([Buffer.of(0x02, 6, 0, 0), formatFieldPointer(fieldPointer), Buffer.alloc(1)]));
  }
  const described = Buffer.concat(descriptors);
  return Buffer.concat([Buffer.of(0x72, key, asc, ascq, 0, 0, 0, described.length), described]);
}

/** The sense that an error of a block device becomes. */
export function senseFromError(thrown: unknown, reading: boolean): Sense {
  switch (ScoriaError.from(thrown, 'backend-failed').code) {
    case 'device-no-space':
      return senseOf.spaceAllocationFailed;
    case 'device-medium-error':
      return reading ? senseOf.unrecoveredReadError : senseOf.mediumError;
    case 'device-not-permitted':
      return senseOf.writeProtected;
    case 'device-out-of-range':
      return senseOf.lbaOutOfRange;
    case 'device-gone':
      return senseOf.notReady;
    default:
      return senseOf.hardwareError;
  }
}

/** Carries sense data out of the work of a command. */
export class SenseError extends Error {
  readonly sense: Sense;
  constructor(sense: Sense) {
    super(`sense ${sense.key.toString(16)}/${sense.asc.toString(16)}/${sense.ascq.toString(16)}`);
    this.sense = sense;
  }
}
