import type { Random } from '@scoria/core/device';
import { ChapAuthenticator, ChapError, type ChapSecret } from './chap.ts';
import { NegotiationError, OperationalNegotiation, type SessionParameters } from './negotiation.ts';
import { flag } from './pdu.ts';
import type { Target, TargetRegistry } from './target-registry.ts';
import { parseText, TextFormatError } from './text.ts';

/** Portal group tag of every target here. */
export const portalGroupTag = 1;

/** Stages of a login (RFC 7143, 11.12.3). */
export const loginStage = { security: 0, operational: 1, fullFeature: 3 } as const;

/** Login status, class in the high byte and detail in the low one (RFC 7143, 11.13.5). */
export const loginStatus = {
  targetMovedTemporarily: 0x0101,
  initiatorError: 0x0200,
  authenticationFailure: 0x0201,
  authorizationFailure: 0x0202,
  notFound: 0x0203,
  unsupportedVersion: 0x0205,
  tooManyConnections: 0x0206,
  missingParameter: 0x0207,
  sessionTypeNotSupported: 0x0209,
  noSuchSession: 0x020a,
  invalidDuringLogin: 0x020b,
  targetError: 0x0300,
  serviceUnavailable: 0x0301,
  outOfResources: 0x0302,
} as const;

/** Most login requests of one login, and most bytes of text in it. */
const maxRequests = 32;
const maxTextLength = 65_536;
/** Longest iSCSI name, bytes (RFC 7143, 4.2.7.2). */
const maxNameLength = 223;

/** Who logged in to what. */
export interface LoginResult {
  readonly initiatorName: string;
  /** Initiator part of the session identifier, 12 hexadecimal digits. */
  readonly isid: string;
  readonly connectionId: number;
  /** `null` in a discovery session. */
  readonly target: Target | null;
  /** Name proved by CHAP, which is an access id; `null` in a discovery session without authentication. */
  readonly chapName: string | null;
  readonly parameters: SessionParameters;
}

/** Whether a login tells who it is, and does more than to ask whether anybody is here. */
export const isProved = ({ target, chapName }: LoginResult): boolean => target !== null || chapName !== null;

/** How initiators are let in. */
export interface LoginPolicy {
  /**
   * `chap`: a normal session needs the access's name and secret. `initiator-name`: it needs the initiator name that the
   * access is bound to, which proves nothing.
   */
  readonly authentication: 'chap' | 'initiator-name';
  /** What the target proves itself by to an initiator that asks for it. */
  readonly mutualChap?: ChapSecret | undefined;
  /** Address that every normal login is sent to instead. */
  readonly redirect?: string | undefined;
  /** Whether there is a session with this TSIH. */
  readonly hasSession?: (tsih: number) => boolean;
}

/** What to answer to a login request. */
export type LoginAnswer =
  | { readonly kind: 'continue'; readonly flags: number; readonly keys: readonly (readonly [string, string])[] }
  | {
      readonly kind: 'finish';
      readonly flags: number;
      readonly keys: readonly (readonly [string, string])[];
      readonly result: LoginResult;
    }
  /** `reason` is for the log. */
  | {
      readonly kind: 'refuse';
      readonly status: number;
      readonly keys: readonly (readonly [string, string])[];
      readonly reason: string;
    };

class Refusal extends Error {
  readonly status: number;
  readonly keys: readonly (readonly [string, string])[];
  constructor(status: number, reason: string, keys: readonly (readonly [string, string])[] = []) {
    super(reason);
    this.status = status;
    this.keys = keys;
  }
}

/** Whether two iSCSI names are the same; letter case means nothing (RFC 7143, 4.2.7.1). */
export const sameName = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase();

/**
 * The login phase of one connection (RFC 7143, 6.3 and 11.12) as a state machine without I/O.
 *
 * By default a normal session needs CHAP with the access's own name and secret. A discovery session may do without: it
 * then sees no target at all, so that names of accesses are told only to those who can use them.
 */
export class LoginNegotiator {
  readonly #registry: TargetRegistry;
  readonly #random: Random;
  readonly #policy: LoginPolicy;
  readonly #operational = new OperationalNegotiation();
  #requests = 0;
  #textLength = 0;
  #pending: Buffer[] = [];
  #stage: number = loginStage.security;
  #first: { readonly isid: string; readonly taskTag: number; readonly connectionId: number } | null = null;
  #initiatorName = '';
  #target: Target | null = null;
  #discovery = false;
  #authentication: 'none' | 'chap-chosen' | 'challenged' | 'done' = 'none';
  #chap: ChapAuthenticator | null = null;
  #chapName: string | null = null;

  constructor(registry: TargetRegistry, random: Random, policy: LoginPolicy) {
    this.#registry = registry;
    this.#random = random;
    this.#policy = policy;
  }

  /** Takes one login request. */
  answer(bhs: Buffer, data: Buffer): LoginAnswer {
    try {
      return this.#answer(bhs, data);
    } catch (error) {
      if (error instanceof Refusal) {
        return { kind: 'refuse', status: error.status, keys: error.keys, reason: error.message };
      }
      if (error instanceof ChapError) {
        return { kind: 'refuse', status: loginStatus.authenticationFailure, keys: [], reason: `CHAP: ${error.message}` };
      }
      if (error instanceof NegotiationError || error instanceof TextFormatError) {
        return { kind: 'refuse', status: loginStatus.initiatorError, keys: [], reason: error.message };
      }
      throw error;
    }
  }

  #answer(bhs: Buffer, data: Buffer): LoginAnswer {
    if (++this.#requests > maxRequests) throw new Refusal(loginStatus.initiatorError, 'the login takes too many requests');
    if (bhs[3]! > 0) throw new Refusal(loginStatus.unsupportedVersion, 'the initiator speaks no version 0');
    const isid = bhs.toString('hex', 8, 14);
    const taskTag = bhs.readUInt32BE(16);
    const connectionId = bhs.readUInt16BE(20);
    if (this.#first === null) {
      const tsih = bhs.readUInt16BE(14);
      if (tsih !== 0) {
        const status = this.#policy.hasSession?.(tsih) ? loginStatus.tooManyConnections : loginStatus.noSuchSession;
        throw new Refusal(status, 'a session here has one connection, and no other can join it');
      }
      this.#first = { isid, taskTag, connectionId };
      this.#stage = (bhs[1]! >> 2) & 3;
    } else if (this.#first.isid !== isid || this.#first.taskTag !== taskTag || this.#first.connectionId !== connectionId) {
      throw new Refusal(loginStatus.invalidDuringLogin, 'ISID, task tag or connection id changed during the login');
    }
    const transit = (bhs[1]! & flag.final) !== 0;
    const continues = (bhs[1]! & flag.continues) !== 0;
    const current = (bhs[1]! >> 2) & 3;
    const next = bhs[1]! & 3;
    if (current !== this.#stage || (current !== loginStage.security && current !== loginStage.operational)) {
      throw new Refusal(loginStatus.invalidDuringLogin, `the request is of stage ${current}, not ${this.#stage}`);
    }
    if (transit && (continues || next <= current || next === 2)) {
      throw new Refusal(loginStatus.invalidDuringLogin, `no transit from stage ${current} to ${next}`);
    }
    this.#textLength += data.length;
    if (this.#textLength > maxTextLength) throw new Refusal(loginStatus.initiatorError, 'the login has too much text');
    this.#pending.push(data);
    if (continues) return { kind: 'continue', flags: current << 2, keys: [] };
    const keys = parseText(this.#pending.length === 1 ? data : Buffer.concat(this.#pending));
    this.#pending = [];

    const reply: (readonly [string, string])[] = [];
    if (this.#initiatorName === '') this.#identify(keys, reply);
    if (current === loginStage.security) this.#authenticate(keys, reply);
    this.#negotiate(keys, reply, current);

    if (!this.#authenticated() && (current !== loginStage.security || (transit && this.#authentication === 'none'))) {
      throw new Refusal(loginStatus.authenticationFailure, 'the initiator skips authentication');
    }
    if (!transit || !this.#authenticated()) return { kind: 'continue', flags: current << 2, keys: reply };
    this.#stage = next;
    const flags = flag.final | (current << 2) | next;
    if (next !== loginStage.fullFeature) return { kind: 'continue', flags, keys: reply };
    const result: LoginResult = {
      initiatorName: this.#initiatorName,
      isid,
      connectionId,
      target: this.#target,
      chapName: this.#chapName,
      parameters: this.#operational.settle(),
    };
    return { kind: 'finish', flags, keys: reply, result };
  }

  #authenticated(): boolean {
    return this.#authentication === 'done' || (this.#needsNoProof && this.#authentication === 'none');
  }

  get #needsNoProof(): boolean {
    return this.#discovery || this.#policy.authentication === 'initiator-name';
  }

  /** The keys that say who logs in to what; they come with the first request (RFC 7143, 6.3). */
  #identify(keys: ReadonlyMap<string, string>, reply: (readonly [string, string])[]): void {
    const initiatorName = keys.get('InitiatorName');
    if (initiatorName === undefined) throw new Refusal(loginStatus.missingParameter, 'InitiatorName is missing');
    if (!/^[^\s\p{Cc}]+$/u.test(initiatorName) || Buffer.byteLength(initiatorName) > maxNameLength) {
      throw new Refusal(loginStatus.initiatorError, 'InitiatorName is malformed');
    }
    this.#initiatorName = initiatorName;
    const sessionType = keys.get('SessionType') ?? 'Normal';
    if (sessionType !== 'Normal' && sessionType !== 'Discovery') {
      throw new Refusal(loginStatus.sessionTypeNotSupported, 'SessionType is neither Normal nor Discovery');
    }
    this.#discovery = sessionType === 'Discovery';
    if (this.#discovery) return;
    const targetName = keys.get('TargetName');
    if (targetName === undefined) throw new Refusal(loginStatus.missingParameter, 'TargetName is missing');
    const { redirect, authentication } = this.#policy;
    if (redirect !== undefined) {
      // The group tag may be left out here (RFC 7143, 13.8).
      throw new Refusal(loginStatus.targetMovedTemporarily, `it is sent to ${redirect}`, [['TargetAddress', redirect]]);
    }
    const target = this.#registry.find(targetName);
    if (target === undefined) throw new Refusal(loginStatus.notFound, 'there is no such target');
    if (authentication === 'initiator-name') this.#authorize(target);
    this.#target = target;
    reply.push(['TargetPortalGroupTag', String(portalGroupTag)]);
  }

  #authenticate(keys: ReadonlyMap<string, string>, reply: (readonly [string, string])[]): void {
    const methods = keys.get('AuthMethod')?.split(',');
    if (methods !== undefined) {
      if (this.#authentication !== 'none') throw new Refusal(loginStatus.initiatorError, 'AuthMethod was negotiated twice');
      const { authentication } = this.#policy;
      const chosen = methods.find(
        (method) => (method === 'CHAP' && authentication === 'chap') || (method === 'None' && this.#needsNoProof),
      );
      if (chosen === undefined) {
        const needed = authentication === 'chap' ? 'CHAP' : 'None';
        throw new Refusal(
          loginStatus.authenticationFailure,
          `none of the methods ${methods.join(',')} will do; ${needed} is needed`,
        );
      }
      reply.push(['AuthMethod', chosen]);
      if (chosen === 'CHAP') this.#authentication = 'chap-chosen';
    }
    const offered = keys.get('CHAP_A');
    if (offered !== undefined) {
      if (this.#authentication !== 'chap-chosen') throw new ChapError('CHAP_A comes out of turn');
      this.#chap = new ChapAuthenticator(this.#random);
      reply.push(...this.#chap.challenge(offered));
      this.#authentication = 'challenged';
    } else if (keys.has('CHAP_N') || keys.has('CHAP_R')) {
      if (this.#authentication !== 'challenged' || this.#chap === null) throw new ChapError('an answer comes out of turn');
      const { name, reply: proof } = this.#chap.verify(keys, (user) => this.#secretOf(user), this.#policy.mutualChap);
      const access = this.#target ?? this.#registry.findAccess(name);
      if (access?.initiator !== undefined) this.#authorize(access);
      this.#chapName = name;
      this.#authentication = 'done';
      reply.push(...proof);
    }
  }

  #authorize({ initiator }: Target): void {
    if (initiator === undefined || !sameName(initiator, this.#initiatorName)) {
      throw new Refusal(loginStatus.authorizationFailure, 'the access is bound to another initiator');
    }
  }

  #secretOf(user: string): string | undefined {
    if (this.#target === null) return this.#registry.findAccess(user)?.secret;
    return user === this.#target.accessId ? this.#target.secret : undefined;
  }

  #negotiate(keys: ReadonlyMap<string, string>, reply: (readonly [string, string])[], stage: number): void {
    for (const [key, value] of keys) {
      if (identityKeys.has(key)) continue;
      const answer = this.#operational.take(key, value, this.#discovery);
      if (answer !== null) reply.push([key, answer]);
    }
    if (stage === loginStage.operational) reply.push(...this.#operational.declarations());
  }
}

/** Keys that are no matter of negotiation here. */
const identityKeys: ReadonlySet<string> = new Set([
  'InitiatorName',
  'TargetName',
  'SessionType',
  'AuthMethod',
  'CHAP_A',
  'CHAP_I',
  'CHAP_C',
  'CHAP_N',
  'CHAP_R',
]);
