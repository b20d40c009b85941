/** What a session has agreed on (RFC 7143, 13). Lengths in bytes, times in seconds. */
export interface SessionParameters {
  /** Whether headers are followed by a CRC32C in full feature phase. */
  headerDigest: boolean;
  /** Whether data segments are followed by a CRC32C in full feature phase. */
  dataDigest: boolean;
  initialR2T: boolean;
  immediateData: boolean;
  /** Longest data segment that the initiator takes. */
  initiatorMaxRecvDataSegmentLength: number;
  maxBurstLength: number;
  firstBurstLength: number;
  maxOutstandingR2T: number;
  defaultTime2Wait: number;
  defaultTime2Retain: number;
}

/** Longest data segment that this target takes in full feature phase, bytes. */
export const targetMaxRecvDataSegmentLength = 262_144;
/** Longest data segment in login PDUs, bytes (RFC 7143, 13.12). */
export const loginMaxRecvDataSegmentLength = 8192;
/** Upper bounds of this target for what is negotiated by minimum, bytes. */
const maxBurstLengthLimit = 1_048_576;
const firstBurstLengthLimit = 262_144;
const maxOutstandingR2TLimit = 4;

/** The values that hold where a key is not negotiated (RFC 7143, 13). */
export function defaultParameters(): SessionParameters {
  return {
    headerDigest: false,
    dataDigest: false,
    initialR2T: true,
    immediateData: true,
    initiatorMaxRecvDataSegmentLength: 8192,
    maxBurstLength: 262_144,
    firstBurstLength: 65_536,
    maxOutstandingR2T: 1,
    defaultTime2Wait: 2,
    defaultTime2Retain: 20,
  };
}

/** A value that breaks the rules of its key; the login has to end. */
export class NegotiationError extends Error {}

/** A numerical value: decimal or `0x` hexadecimal, within bounds (RFC 7143, 6.1). Throws {@link NegotiationError}. */
export function numberIn(key: string, value: string, least: number, most: number): number {
  if (!/^([0-9]{1,10}|0[xX][0-9a-fA-F]{1,8})$/.test(value)) throw new NegotiationError(`${key} is not a number`);
  const number = Number(value);
  if (number < least || number > most) throw new NegotiationError(`${key} is not within ${least} and ${most}`);
  return number;
}

/** A boolean value (RFC 7143, 6.1). Throws {@link NegotiationError}. */
export function booleanOf(key: string, value: string): boolean {
  if (value !== 'Yes' && value !== 'No') throw new NegotiationError(`${key} is neither Yes nor No`);
  return value === 'Yes';
}

const yesNo = (value: boolean): string => (value ? 'Yes' : 'No');

const max24 = 0xffffff;

/** An operational key: takes the initiator's value, changes the parameters, gives the answer or `null` for a declaration. */
type Rule = (value: string, parameters: SessionParameters) => string | null;

/** The first value of the initiator's list that is known here is the result (RFC 7143, 6.2.1 and 13.1). */
const digest =
  (direction: 'headerDigest' | 'dataDigest'): Rule =>
  (value, parameters) => {
    const chosen = value.split(',').find((name) => name === 'None' || name === 'CRC32C');
    parameters[direction] = chosen === 'CRC32C';
    return chosen ?? 'Reject';
  };

const rules: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['HeaderDigest', digest('headerDigest')],
  ['DataDigest', digest('dataDigest')],
  ['MaxConnections', (value) => String(Math.min(numberIn('MaxConnections', value, 1, 65535), 1))],
  [
    'InitialR2T',
    (value, parameters) => {
      // The result is the OR of both sides; this target has no need of it.
      parameters.initialR2T = booleanOf('InitialR2T', value);
      return yesNo(parameters.initialR2T);
    },
  ],
  [
    'ImmediateData',
    (value, parameters) => {
      parameters.immediateData = booleanOf('ImmediateData', value);
      return yesNo(parameters.immediateData);
    },
  ],
  [
    'MaxRecvDataSegmentLength',
    (value, parameters) => {
      parameters.initiatorMaxRecvDataSegmentLength = numberIn('MaxRecvDataSegmentLength', value, 512, max24);
      return null;
    },
  ],
  [
    'MaxBurstLength',
    (value, parameters) => {
      parameters.maxBurstLength = Math.min(numberIn('MaxBurstLength', value, 512, max24), maxBurstLengthLimit);
      return String(parameters.maxBurstLength);
    },
  ],
  [
    'FirstBurstLength',
    (value, parameters) => {
      parameters.firstBurstLength = Math.min(numberIn('FirstBurstLength', value, 512, max24), firstBurstLengthLimit);
      return String(parameters.firstBurstLength);
    },
  ],
  [
    'DefaultTime2Wait',
    (value, parameters) => {
      parameters.defaultTime2Wait = numberIn('DefaultTime2Wait', value, 0, 3600);
      return String(parameters.defaultTime2Wait);
    },
  ],
  [
    'DefaultTime2Retain',
    (value, parameters) => {
      // Error recovery level 0 keeps nothing of a session that was lost.
      parameters.defaultTime2Retain = Math.min(numberIn('DefaultTime2Retain', value, 0, 3600), 0);
      return String(parameters.defaultTime2Retain);
    },
  ],
  [
    'MaxOutstandingR2T',
    (value, parameters) => {
      parameters.maxOutstandingR2T = Math.min(numberIn('MaxOutstandingR2T', value, 1, 65535), maxOutstandingR2TLimit);
      return String(parameters.maxOutstandingR2T);
    },
  ],
  ['DataPDUInOrder', (value) => yesNo(booleanOf('DataPDUInOrder', value) || true)],
  ['DataSequenceInOrder', (value) => yesNo(booleanOf('DataSequenceInOrder', value) || true)],
  ['ErrorRecoveryLevel', (value) => String(Math.min(numberIn('ErrorRecoveryLevel', value, 0, 2), 0))],
  ['iSCSIProtocolLevel', (value) => String(Math.min(numberIn('iSCSIProtocolLevel', value, 0, 31), 1))],
  ['TaskReporting', (value) => (value.split(',').includes('RFC3720') ? 'RFC3720' : 'Reject')],
  // Markers were withdrawn by RFC 7143, 13.25; older initiators still offer them.
  ['OFMarker', () => 'No'],
  ['IFMarker', () => 'No'],
  ['OFMarkInt', () => 'Irrelevant'],
  ['IFMarkInt', () => 'Irrelevant'],
  ['InitiatorAlias', () => null],
  // Keys that only a target sends, or that belong to full feature phase.
  ['TargetAlias', () => 'Reject'],
  ['TargetAddress', () => 'Reject'],
  ['TargetPortalGroupTag', () => 'Reject'],
  ['SendTargets', () => 'Reject'],
]);

/** Keys that may be sent again in full feature phase (RFC 7143, 13, "Use: ALL"). */
const fullFeatureKeys: ReadonlySet<string> = new Set(['MaxRecvDataSegmentLength', 'InitiatorAlias']);

/** Keys that mean nothing in a discovery session (RFC 7143, 13, "Irrelevant when: SessionType=Discovery"). */
const normalSessionKeys: ReadonlySet<string> = new Set([
  'MaxConnections',
  'InitialR2T',
  'ImmediateData',
  'MaxBurstLength',
  'FirstBurstLength',
  'MaxOutstandingR2T',
  'DataPDUInOrder',
  'DataSequenceInOrder',
]);

/** Values that answer an offer and never make one (RFC 7143, 6.2). */
const answers: ReadonlySet<string> = new Set(['NotUnderstood', 'Irrelevant', 'Reject']);

/** The operational side of a login: which keys came, and what follows from them. */
export class OperationalNegotiation {
  readonly parameters = defaultParameters();
  readonly #seen = new Set<string>();
  #declared = false;

  /**
   * Takes an initiator's value and returns the answer, or `null` when none is due. Throws {@link NegotiationError} for
   * a bad value and for a key that was negotiated before.
   */
  take(key: string, value: string, discovery = false): string | null {
    if (answers.has(value)) return null;
    const rule = rules.get(key);
    if (rule === undefined) return 'NotUnderstood';
    if (this.#seen.has(key)) throw new NegotiationError(`${key} was negotiated twice`);
    this.#seen.add(key);
    if (discovery && normalSessionKeys.has(key)) return 'Irrelevant';
    return rule(value, this.parameters);
  }

  /** Keys that the target says of its own accord, once. */
  declarations(): readonly (readonly [string, string])[] {
    if (this.#declared) return [];
    this.#declared = true;
    return [['MaxRecvDataSegmentLength', String(targetMaxRecvDataSegmentLength)]];
  }

  /** Brings values into line that depend on each other; called when the login is complete. */
  settle(): SessionParameters {
    this.parameters.firstBurstLength = Math.min(this.parameters.firstBurstLength, this.parameters.maxBurstLength);
    return this.parameters;
  }
}

/**
 * Takes a key in full feature phase and returns the answer, or `null` when none is due. Throws {@link NegotiationError} for
 * a bad value.
 */
export function takeInFullFeaturePhase(key: string, value: string, parameters: SessionParameters): string | null {
  if (answers.has(value)) return null;
  const rule = rules.get(key);
  if (rule === undefined) return 'NotUnderstood';
  return fullFeatureKeys.has(key) ? rule(value, parameters) : 'Reject';
}
