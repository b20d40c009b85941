import { booleanOf, defaultParameters, NegotiationError, numberIn, type SessionParameters } from '../protocol/negotiation.ts';

/** Digests that an initiator offers, in its order of preference (RFC 7143, 13.1). */
export type DigestOffer = 'None' | 'CRC32C' | 'CRC32C,None' | 'None,CRC32C';

/** What an initiator asks for at login (RFC 7143, 13). Lengths in bytes. */
export interface OperationalOffer {
  readonly headerDigest: DigestOffer;
  readonly dataDigest: DigestOffer;
  readonly initialR2T: boolean;
  readonly immediateData: boolean;
  /** Longest data segment that the initiator takes. */
  readonly maxRecvDataSegmentLength: number;
  readonly maxBurstLength: number;
  readonly firstBurstLength: number;
}

/** What is asked for where nothing else is said: few round trips, and no digests, as TCP has a checksum of its own. */
export const defaultOffer: OperationalOffer = {
  headerDigest: 'None',
  dataDigest: 'None',
  initialR2T: false,
  immediateData: true,
  maxRecvDataSegmentLength: 262_144,
  maxBurstLength: 1_048_576,
  firstBurstLength: 262_144,
};

/** What a session has agreed on, seen from the initiator. */
export interface InitiatorParameters extends SessionParameters {
  /** Longest data segment that the target takes, bytes. */
  targetMaxRecvDataSegmentLength: number;
}

const max24 = 0xffffff;
const yesNo = (value: boolean): string => (value ? 'Yes' : 'No');

/** Values by which a target says that a key means nothing to it or here; the default holds then (RFC 7143, 6.2). */
const withoutResult: ReadonlySet<string> = new Set(['Irrelevant', 'NotUnderstood']);

/** Keys that a target may say of its own accord, and that change nothing here. */
const informative: ReadonlySet<string> = new Set(['TargetAlias', 'TargetAddress', 'TargetPortalGroupTag', 'AuthMethod']);

/** The initiator's side of the operational negotiation: what it offers, and what follows from the answers. */
export class OfferedNegotiation {
  readonly #offer: OperationalOffer;
  readonly #parameters: InitiatorParameters;
  readonly #answered = new Set<string>();

  constructor(offer: OperationalOffer) {
    this.#offer = offer;
    this.#parameters = {
      ...defaultParameters(),
      initiatorMaxRecvDataSegmentLength: offer.maxRecvDataSegmentLength,
      targetMaxRecvDataSegmentLength: 8192,
    };
  }

  /** Every key of the offer. Error recovery level 0 with one connection needs neither reordering nor retention. */
  keys(): readonly (readonly [string, string])[] {
    const offer = this.#offer;
    return [
      ['HeaderDigest', offer.headerDigest],
      ['DataDigest', offer.dataDigest],
      ['InitialR2T', yesNo(offer.initialR2T)],
      ['ImmediateData', yesNo(offer.immediateData)],
      ['MaxRecvDataSegmentLength', String(offer.maxRecvDataSegmentLength)],
      ['MaxBurstLength', String(offer.maxBurstLength)],
      ['FirstBurstLength', String(Math.min(offer.firstBurstLength, offer.maxBurstLength))],
      ['MaxOutstandingR2T', '4'],
      ['MaxConnections', '1'],
      ['DefaultTime2Wait', '0'],
      ['DefaultTime2Retain', '0'],
      ['DataPDUInOrder', 'Yes'],
      ['DataSequenceInOrder', 'Yes'],
      ['ErrorRecoveryLevel', '0'],
    ];
  }

  /**
   * Takes a key of the target and returns what is to be answered, or `null`. Throws {@link NegotiationError} for a result
   * that the offer does not allow.
   */
  take(key: string, value: string): string | null {
    if (informative.has(key)) return null;
    if (this.#answered.has(key)) throw new NegotiationError(`the target answered ${key} twice`);
    this.#answered.add(key);
    if (withoutResult.has(value)) return null;
    const parameters = this.#parameters;
    const offer = this.#offer;
    switch (key) {
      case 'HeaderDigest':
        parameters.headerDigest = digestOf(key, value, offer.headerDigest);
        return null;
      case 'DataDigest':
        parameters.dataDigest = digestOf(key, value, offer.dataDigest);
        return null;
      case 'InitialR2T':
        parameters.initialR2T = booleanOf(key, value) || offer.initialR2T;
        return null;
      case 'ImmediateData':
        parameters.immediateData = booleanOf(key, value) && offer.immediateData;
        return null;
      case 'MaxRecvDataSegmentLength':
        parameters.targetMaxRecvDataSegmentLength = numberIn(key, value, 512, max24);
        return null;
      case 'MaxBurstLength':
        parameters.maxBurstLength = Math.min(numberIn(key, value, 512, max24), offer.maxBurstLength);
        return null;
      case 'FirstBurstLength':
        parameters.firstBurstLength = Math.min(numberIn(key, value, 512, max24), offer.firstBurstLength);
        return null;
      case 'MaxOutstandingR2T':
        parameters.maxOutstandingR2T = numberIn(key, value, 1, 65_535);
        return null;
      case 'DefaultTime2Wait':
        parameters.defaultTime2Wait = numberIn(key, value, 0, 3600);
        return null;
      case 'DefaultTime2Retain':
        parameters.defaultTime2Retain = numberIn(key, value, 0, 3600);
        return null;
      case 'MaxConnections':
        numberIn(key, value, 1, 1);
        return null;
      case 'ErrorRecoveryLevel':
        numberIn(key, value, 0, 0);
        return null;
      case 'DataPDUInOrder':
      case 'DataSequenceInOrder':
        if (!booleanOf(key, value)) throw new NegotiationError(`${key}=No was not offered`);
        return null;
      default:
        return 'NotUnderstood';
    }
  }

  /** The agreement, once all answers are there. */
  settle(): InitiatorParameters {
    const parameters = this.#parameters;
    for (const key of ['HeaderDigest', 'DataDigest'] as const) {
      const offered = key === 'HeaderDigest' ? this.#offer.headerDigest : this.#offer.dataDigest;
      const agreed = key === 'HeaderDigest' ? parameters.headerDigest : parameters.dataDigest;
      if (offered === 'CRC32C' && !agreed) throw new NegotiationError(`the target does without ${key}, which is demanded`);
    }
    parameters.firstBurstLength = Math.min(parameters.firstBurstLength, parameters.maxBurstLength);
    return parameters;
  }
}

function digestOf(key: string, value: string, offer: DigestOffer): boolean {
  if (!offer.split(',').includes(value)) throw new NegotiationError(`${key}=${value.slice(0, 32)} was not offered`);
  return value === 'CRC32C';
}
