import { ScoriaError, type Random } from '@scoria/core/device';
import { parseAddress, type ListenAddress } from '../protocol/listen-address.ts';
import { flag, makeHeader, nextSequence, opcodeOf, requestOpcode, responseOpcode, taskTagOf } from '../protocol/pdu.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { formatText, parseText } from '../protocol/text.ts';
import { ChapLogin, type ChapCredentials } from './chap-login.ts';
import { OfferedNegotiation, type InitiatorParameters, type OperationalOffer } from './operational-offer.ts';

/** What a login says. */
export interface LoginSettings {
  readonly initiatorName: string;
  /** `null` for a discovery session. */
  readonly targetName: string | null;
  /** Initiator's part of the session id, 6 bytes: the same one reinstates the session (RFC 7143, 6.3.5). */
  readonly isid: Buffer;
  /** Without credentials no authentication is offered. */
  readonly credentials: ChapCredentials | null;
  /** Do not offer SHA-256 for CHAP. */
  readonly onlyMd5?: boolean;
  readonly offer: OperationalOffer;
}

/** What a login came to. */
export interface LoggedIn {
  readonly parameters: InitiatorParameters;
  /** CmdSN of the first command. */
  readonly cmdSN: number;
  readonly expStatSN: number;
  readonly maxCmdSN: number;
}

/** The next thing to do in a login. */
export type LoginStep =
  | { readonly kind: 'send'; readonly bhs: Buffer; readonly data: Buffer }
  | { readonly kind: 'redirect'; readonly address: ListenAddress }
  /** Try once more without SHA-256: some targets mean SHA-1 by its number, and call our answer malformed. */
  | { readonly kind: 'only-md5' }
  | { readonly kind: 'done'; readonly outcome: LoggedIn };

const stage = { security: 0, operational: 1, fullFeature: 3 } as const;
/** Login requests are immediate, so the first command has their CmdSN (RFC 7143, 11.12.8). */
const firstCmdSN = 1;
/** Requests of one login at most. */
const maxRounds = 24;
/** Text of one answer over all its PDUs at most, bytes. */
const maxTextLength = 65_536;

/** Status classes and details of a Login Response (RFC 7143, 11.13.5). */
const status = {
  moved: 0x0101,
  movedForGood: 0x0102,
  initiatorError: 0x0200,
  authentication: 0x0201,
  authorization: 0x0202,
} as const;

/** The words of a status, for the error. */
const statusWords: ReadonlyMap<number, string> = new Map([
  [0x0200, 'our request is wrong'],
  [0x0203, 'there is no such target'],
  [0x0204, 'the target was removed'],
  [0x0205, 'our version is not supported'],
  [0x0206, 'there are too many connections'],
  [0x0207, 'a parameter is missing'],
  [0x0209, 'sessions of this type are not supported'],
  [0x0300, 'the target failed'],
  [0x0301, 'the service is not available'],
  [0x0302, 'the target is out of resources'],
]);

/**
 * The initiator's side of one login (RFC 7143, 6.3), without any input or output. Throws `not-permitted` when the target
 * refuses who we are or fails to prove itself, `transport-failed` for any other refusal, and what the codec throws.
 */
export class LoginDialogue {
  readonly #settings: LoginSettings;
  readonly #negotiation: OfferedNegotiation;
  readonly #chap: ChapLogin | null;
  readonly #name: string;
  #phase: 'method' | 'algorithm' | 'proof' | 'operational' = 'method';
  #stage: number;
  #rounds = 0;
  #expStatSN = 0;
  #offered = false;
  #transit = false;
  #parts: Buffer[] = [];
  #length = 0;

  constructor(settings: LoginSettings, random: Random) {
    const { credentials, targetName } = settings;
    this.#settings = settings;
    this.#negotiation = new OfferedNegotiation(settings.offer);
    this.#chap = credentials === null ? null : new ChapLogin(credentials, settings.onlyMd5 ?? false, random);
    this.#stage = stage.security;
    this.#name = targetName ?? 'the discovery target';
  }

  /** The first request. */
  begin(): LoginStep {
    const { initiatorName, targetName } = this.#settings;
    const identity: [string, string][] = [
      ['InitiatorName', initiatorName],
      ['SessionType', targetName === null ? 'Discovery' : 'Normal'],
      ...(targetName === null ? [] : [['TargetName', targetName] satisfies [string, string]]),
      ['AuthMethod', this.#chap === null ? 'None' : 'CHAP'],
    ];
    if (this.#chap === null) return this.#request(identity, stage.operational);
    return this.#request(identity, null);
  }

  /** Takes a PDU of the target. */
  take(bhs: Buffer, data: Buffer): LoginStep {
    if (opcodeOf(bhs) !== responseOpcode.login)
      throw new ProtocolError('the target sent something else before the login was done');
    if (taskTagOf(bhs) !== 0) throw new ProtocolError('the target answered another login');
    this.#expStatSN = nextSequence(bhs.readUInt32BE(24));
    const code = bhs.readUInt16BE(36);
    if (code >> 8 === 1) return this.#redirect(code, data);
    if (code === status.initiatorError && this.#phase === 'proof' && this.#chap?.usesSha256) return { kind: 'only-md5' };
    if (code !== 0) throw this.#refusal(code);
    this.#length += data.length;
    if (this.#length > maxTextLength) throw new ProtocolError('the text of a login response is too long');
    this.#parts.push(data);
    // What is continued is asked for with an empty request (RFC 7143, 6.2).
    if ((bhs[1]! & flag.continues) !== 0) return this.#request([], null);
    const keys = parseText(Buffer.concat(this.#parts));
    this.#parts = [];
    this.#length = 0;
    if (((bhs[1]! >> 2) & 3) !== this.#stage) throw new ProtocolError('the target is in another stage of the login');
    const next = (bhs[1]! & flag.final) === 0 ? null : bhs[1]! & 3;
    if (next !== null && !this.#transit) throw new ProtocolError('the target leaves a stage of the login without being asked');
    return this.#stage === stage.security ? this.#security(keys, next) : this.#operational(keys, next, bhs);
  }

  #security(keys: ReadonlyMap<string, string>, next: number | null): LoginStep {
    const chap = this.#chap;
    if (chap === null) {
      if (next === null) return this.#request([], stage.operational);
      return this.#enter(next);
    }
    switch (this.#phase) {
      case 'method': {
        const method = keys.get('AuthMethod');
        if (method !== 'CHAP') throw this.#notPermitted('does not authenticate by CHAP, as its secret demands');
        this.#phase = 'algorithm';
        return this.#request(chap.offer(), null);
      }
      case 'algorithm':
        this.#phase = 'proof';
        return this.#request(chap.respond(keys), stage.operational);
      default:
        if (this.#phase === 'proof') chap.verify(keys);
        this.#phase = 'operational';
        return next === null ? this.#request([], stage.operational) : this.#enter(next);
    }
  }

  #enter(next: number): LoginStep {
    if (next !== stage.operational) throw new ProtocolError('the target skips the operational stage of the login');
    this.#stage = stage.operational;
    this.#offered = true;
    return this.#request(
      this.#settings.targetName === null ? discoveryKeys(this.#negotiation) : this.#negotiation.keys(),
      stage.fullFeature,
    );
  }

  #operational(keys: ReadonlyMap<string, string>, next: number | null, bhs: Buffer): LoginStep {
    const answers: [string, string][] = [];
    for (const [key, value] of keys) {
      const answer = this.#negotiation.take(key, value);
      if (answer !== null) answers.push([key, answer]);
    }
    if (next === null || answers.length > 0) {
      if (next !== null) throw new ProtocolError('the target ends the login with a question');
      return this.#request(answers, stage.fullFeature);
    }
    if (next !== stage.fullFeature || !this.#offered)
      throw new ProtocolError('the target goes to a stage that was not asked for');
    const maxCmdSN = bhs.readUInt32BE(32);
    const parameters = this.#negotiation.settle();
    return { kind: 'done', outcome: { parameters, cmdSN: firstCmdSN, expStatSN: this.#expStatSN, maxCmdSN } };
  }

  #request(keys: readonly (readonly [string, string])[], next: number | null): LoginStep {
    if (++this.#rounds > maxRounds) throw new ProtocolError('the login does not end');
    this.#transit = next !== null;
    const flags = (this.#stage << 2) | (next === null ? 0 : flag.final | next);
    const bhs = makeHeader(requestOpcode.login | 0x40, flags, 0);
    this.#settings.isid.copy(bhs, 8);
    bhs.writeUInt32BE(firstCmdSN, 24);
    bhs.writeUInt32BE(this.#expStatSN, 28);
    return { kind: 'send', bhs, data: formatText(keys) };
  }

  #redirect(code: number, data: Buffer): LoginStep {
    if (code !== status.moved && code !== status.movedForGood) throw this.#refusal(code);
    // An address is `host:port` or `host`, then maybe `,` and a portal group tag (RFC 7143, 13.8).
    const text = (parseText(data).get('TargetAddress') ?? '').split(',', 1)[0] ?? '';
    const address = parseAddress(text) ?? parseAddress(`${text}:3260`);
    if (address === null) throw new ProtocolError('the target sends us elsewhere without saying where');
    return { kind: 'redirect', address };
  }

  #refusal(code: number): ScoriaError {
    if (code === status.authentication || code === status.authorization) {
      return this.#notPermitted(code === status.authentication ? 'refuses our name or secret' : 'does not admit this initiator');
    }
    const words = statusWords.get(code) ?? `status ${code.toString(16)}`;
    return new ScoriaError('transport-failed', `Login to ${this.#name} was refused: ${words}`, { details: { status: code } });
  }

  #notPermitted(why: string): ScoriaError {
    return new ScoriaError('not-permitted', `iSCSI target ${this.#name} ${why}`, {
      remedy: 'Compare name and secret with those that the target was given.',
    });
  }
}

/** Of a discovery session only these keys mean anything (RFC 7143, 13). */
const discoveryKeyNames: ReadonlySet<string> = new Set([
  'HeaderDigest',
  'DataDigest',
  'MaxRecvDataSegmentLength',
  'DefaultTime2Wait',
  'DefaultTime2Retain',
  'ErrorRecoveryLevel',
]);

const discoveryKeys = (negotiation: OfferedNegotiation): readonly (readonly [string, string])[] =>
  negotiation.keys().filter(([key]) => discoveryKeyNames.has(key));
