import { ScoriaError, type ErrorCode } from '@scoria/core/device';
import { senseOf, type Sense } from '../scsi/sense.ts';

/**
 * Sense data of a SCSI Response's data segment, which tells their length first (RFC 7143, 11.4.7.1). A target that gives
 * none is taken to have failed.
 */
export function parseSense(segment: Buffer): Sense {
  const data = segment.length < 2 ? segment : segment.subarray(2, 2 + segment.readUInt16BE(0));
  if (data.length < 4) return senseOf.hardwareError;
  const format = (data[0] ?? 0) & 0x7f;
  // Descriptor format has its codes at other places than fixed format (SPC-4, 4.5.2 and 4.5.3).
  if (format === 0x72 || format === 0x73) return { key: (data[1] ?? 0) & 0x0f, asc: data[2] ?? 0, ascq: data[3] ?? 0 };
  return { key: (data[2] ?? 0) & 0x0f, asc: data[12] ?? 0, ascq: data[13] ?? 0 };
}

/** Sense keys (SPC-4, 4.5.6). */
export const senseKey = {
  noSense: 0x0,
  recoveredError: 0x1,
  notReady: 0x2,
  mediumError: 0x3,
  hardwareError: 0x4,
  illegalRequest: 0x5,
  unitAttention: 0x6,
  dataProtect: 0x7,
  abortedCommand: 0xb,
} as const;

/** Whether two senses say the same, whatever information they carry. */
export const isSense = (sense: Sense | null, other: Sense): boolean =>
  sense !== null && sense.key === other.key && sense.asc === other.asc && sense.ascq === other.ascq;

/** Whether a command or a field of it is not known to the logical unit. */
export const isUnsupported = (sense: Sense | null): boolean =>
  isSense(sense, senseOf.invalidOpcode) ||
  isSense(sense, senseOf.invalidFieldInCdb) ||
  isSense(sense, senseOf.invalidFieldInParameterList);

/** The code of the device error that a sense stands for: the inverse of the target's mapping. */
function codeOf({ key, asc, ascq }: Sense): ErrorCode {
  switch (key) {
    case senseKey.dataProtect:
      return asc === senseOf.spaceAllocationFailed.asc && ascq === senseOf.spaceAllocationFailed.ascq
        ? 'device-no-space'
        : 'device-not-permitted';
    case senseKey.notReady:
      return 'device-gone';
    case senseKey.illegalRequest:
      if (asc === senseOf.lbaOutOfRange.asc) return 'device-out-of-range';
      return asc === senseOf.logicalUnitNotSupported.asc ? 'device-gone' : 'device-medium-error';
    default:
      return 'device-medium-error';
  }
}

const hex = (value: number): string => value.toString(16).padStart(2, '0');

/** The error of a command that ended with a sense. */
export function senseFault(device: string, action: string, sense: Sense): ScoriaError {
  const text = `${hex(sense.key)}/${hex(sense.asc)}/${hex(sense.ascq)}`;
  return new ScoriaError(codeOf(sense), `${device}: ${action} failed with sense ${text}`, { details: { sense: text } });
}
