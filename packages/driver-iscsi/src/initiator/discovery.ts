import { ScoriaError, withDeadline, type Clock, type Log, type Random } from '@scoria/core/device';
import { formatAddress, parseAddress, type ListenAddress } from '../protocol/listen-address.ts';
import {
  flag,
  logoutReason,
  makeHeader,
  nextSequence,
  opcodeOf,
  requestOpcode,
  reservedTag,
  responseOpcode,
  taskTagOf,
} from '../protocol/pdu.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { formatText } from '../protocol/text.ts';
import type { ChapCredentials } from './chap-login.ts';
import type { ConnectionReceiver, InitiatorConnection } from './initiator-connection.ts';
import { logIn } from './log-in.ts';
import type { LoggedIn } from './login-dialogue.ts';
import { defaultOffer } from './operational-offer.ts';

/** A target that a portal told of. */
export interface DiscoveredTarget {
  readonly name: string;
  /** Where it is reached; the asked portal itself where the target says nothing. */
  readonly addresses: readonly { readonly portal: ListenAddress; readonly portalGroupTag: number }[];
}

/** Options of {@link discover}. */
export interface DiscoveryOptions {
  readonly initiatorName: string;
  /** Without them no authentication is offered. */
  readonly credentials?: ChapCredentials | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Time for all of it, ms. Default: 15,000. */
  readonly deadline?: number;
  readonly signal?: AbortSignal;
}

/** Text of an answer over all its PDUs at most, bytes. */
const maxTextLength = 4_194_304;
const defaultDeadline = 15_000;

/**
 * Asks a portal for its targets: a discovery session with SendTargets=All (RFC 7143, 4.3 and appendix C).
 *
 * Errors: `not-permitted`, `transport-failed`, or the reason of the signal.
 */
export async function discover(portal: ListenAddress, options: DiscoveryOptions): Promise<readonly DiscoveredTarget[]> {
  const { initiatorName, credentials = null, clock, random, log, deadline = defaultDeadline } = options;
  const signal = options.signal ?? new AbortController().signal;
  const isid = Buffer.of(0x80, ...random.bytes(5));
  const settings = { initiatorName, targetName: null, isid, credentials, offer: defaultOffer };
  const context = { clock, random, log, loginDeadline: deadline };
  const session = await logIn(
    portal,
    settings,
    context,
    signal,
    (connection, outcome) => new DiscoverySession(connection, outcome),
  );
  try {
    const what = `SendTargets at iSCSI portal ${formatAddress(portal)}`;
    const text = await withDeadline(clock, deadline, what, () => session.sendTargets(), signal);
    await withDeadline(clock, deadline, what, () => session.logout(), signal);
    return parseTargets(text, portal);
  } catch (error) {
    signal.throwIfAborted();
    throw ScoriaError.from(error).code === 'deadline-exceeded'
      ? new ScoriaError('transport-failed', ScoriaError.from(error).message, { cause: error })
      : error;
  } finally {
    session.end();
  }
}

/** Full feature phase of a discovery session: one text exchange, and the logout. */
class DiscoverySession implements ConnectionReceiver {
  readonly #connection: InitiatorConnection;
  readonly #cmdSN: number;
  readonly #parts: Buffer[] = [];
  readonly #text = Promise.withResolvers<Buffer>();
  readonly #loggedOut = Promise.withResolvers<void>();
  #expStatSN: number;
  #sent = 0;
  #length = 0;

  constructor(connection: InitiatorConnection, { cmdSN, expStatSN }: LoggedIn) {
    this.#connection = connection;
    this.#cmdSN = cmdSN;
    this.#expStatSN = expStatSN;
    // Who waits for one of them is told; the other one is nobody's loss.
    this.#text.promise.catch(() => {});
    this.#loggedOut.promise.catch(() => {});
  }

  sendTargets(): Promise<Buffer> {
    this.#send(requestOpcode.text, 0, 1, reservedTag, formatText([['SendTargets', 'All']]));
    return this.#text.promise;
  }

  logout(): Promise<void> {
    this.#send(requestOpcode.logout, logoutReason.closeSession, 2, 0, Buffer.alloc(0));
    return this.#loggedOut.promise;
  }

  end(): void {
    this.#connection.close();
  }

  place(): null {
    return null;
  }

  lost(error: ScoriaError): void {
    this.#text.reject(error);
    this.#loggedOut.reject(error);
  }

  pdu(bhs: Buffer, data: Buffer): void {
    const opcode = opcodeOf(bhs);
    if (opcode === responseOpcode.nopIn) return this.#pong(bhs);
    this.#expStatSN = nextSequence(bhs.readUInt32BE(24));
    if (opcode === responseOpcode.asyncMessage) return;
    if (opcode === responseOpcode.logout && taskTagOf(bhs) === 2) return this.#loggedOut.resolve();
    if (opcode !== responseOpcode.text || taskTagOf(bhs) !== 1) throw new ProtocolError('the target does not answer SendTargets');
    this.#length += data.length;
    if (this.#length > maxTextLength) throw new ProtocolError('the target tells of too many targets');
    this.#parts.push(data);
    if ((bhs[1]! & flag.final) !== 0) return this.#text.resolve(Buffer.concat(this.#parts));
    // An empty piece of text, and another: each takes its time, which the deadline bounds.
    this.#send(requestOpcode.text, 0, 1, bhs.readUInt32BE(20), Buffer.alloc(0));
  }

  #pong(bhs: Buffer): void {
    const transferTag = bhs.readUInt32BE(20);
    if (transferTag !== reservedTag) this.#send(requestOpcode.nopOut | 0x40, 0, reservedTag, transferTag, Buffer.alloc(0));
  }

  #send(opcode: number, code: number, tag: number, transferTag: number, data: Buffer): void {
    const bhs = makeHeader(opcode, flag.final | code, tag);
    if (opcode !== requestOpcode.logout) bhs.writeUInt32BE(transferTag, 20);
    const immediate = (opcode & 0x40) !== 0;
    bhs.writeUInt32BE(nextSequence(this.#cmdSN, this.#sent), 24);
    if (!immediate) this.#sent++;
    bhs.writeUInt32BE(this.#expStatSN, 28);
    this.#connection.send(bhs, data);
  }
}

/** TargetName and TargetAddress may repeat, so the answer is a list (RFC 7143, appendix C). */
function parseTargets(text: Buffer, asked: ListenAddress): DiscoveredTarget[] {
  const targets: { name: string; addresses: { portal: ListenAddress; portalGroupTag: number }[] }[] = [];
  for (const pair of text.toString('utf8').split('\0')) {
    const [key, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
    if (key === 'TargetName') targets.push({ name: value, addresses: [] });
    if (key !== 'TargetAddress') continue;
    const [place = '', tag = '1'] = value.split(',');
    const portal = parseAddress(place) ?? parseAddress(`${place}:3260`);
    if (portal !== null) targets.at(-1)?.addresses.push({ portal, portalGroupTag: Number(tag) });
  }
  for (const { addresses } of targets) if (addresses.length === 0) addresses.push({ portal: asked, portalGroupTag: 1 });
  return targets;
}
