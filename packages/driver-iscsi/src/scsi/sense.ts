import { ScoriaError } from '@scoria/core/device';

/** Sense key with additional sense code and qualifier (SPC-4, 4.5). */
export interface Sense {
  readonly key: number;
  readonly asc: number;
  readonly ascq: number;
  /** Value of the INFORMATION field, where it means something. */
  readonly information?: number;
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
  logicalUnitNotSupported: condition(0x5, 0x25, 0x00),
  invalidFieldInParameterList: condition(0x5, 0x26, 0x00),
  savingNotSupported: condition(0x5, 0x39, 0x00),
  powerOn: condition(0x6, 0x29, 0x00),
  busDeviceReset: condition(0x6, 0x29, 0x03),
  nexusLoss: condition(0x6, 0x29, 0x07),
  capacityChanged: condition(0x6, 0x2a, 0x09),
  commandsCleared: condition(0x6, 0x2f, 0x00),
  writeProtected: condition(0x7, 0x27, 0x00),
  spaceAllocationFailed: condition(0x7, 0x27, 0x07),
  notReady: condition(0x2, 0x04, 0x00),
  aborted: condition(0xb, 0x00, 0x00),
  internalFailure: condition(0x4, 0x44, 0x00),
  miscompare: (offset: number): Sense => ({ key: 0xe, asc: 0x1d, ascq: 0x00, information: offset }),
} as const;

/** Fixed format sense data, 18 bytes (SPC-4, 4.5.3). */
export function formatSense({ key, asc, ascq, information }: Sense): Buffer {
  const data = Buffer.alloc(18);
  data[0] = information === undefined ? 0x70 : 0xf0;
  data[2] = key;
  if (information !== undefined) data.writeUInt32BE(information, 3);
  data[7] = 10;
  data[12] = asc;
  data[13] = ascq;
  return data;
}

/** Descriptor format sense data, 8 bytes (SPC-4, 4.5.2). */
export function formatDescriptorSense({ key, asc, ascq }: Sense): Buffer {
  return Buffer.of(0x72, key, asc, ascq, 0, 0, 0, 0);
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
