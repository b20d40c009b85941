import { ScoriaError, withDeadline, type Clock, type Log, type Random } from '@scoria/core/device';
import { formatAddress, type ListenAddress } from '../protocol/listen-address.ts';
import { loginMaxRecvDataSegmentLength } from '../protocol/negotiation.ts';
import { InitiatorConnection, openSocket, type ConnectionReceiver } from './initiator-connection.ts';
import { LoginDialogue, type LoggedIn, type LoginSettings, type LoginStep } from './login-dialogue.ts';

/** What a login needs of its surroundings. */
export interface LoginContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Time for a whole login with all its redirections, ms. */
  readonly loginDeadline: number;
}

/** Redirections of one login at most. */
const maxRedirections = 4;

/**
 * Logs in at a portal, or where that sends us (RFC 7143, 6.3). `start` makes the receiver of full feature phase in the very
 * moment when the last response is there, as more may come right behind it.
 *
 * Errors: `not-permitted`, `transport-failed`, or the reason of the signal.
 */
export async function logIn<S extends ConnectionReceiver>(
  portal: ListenAddress,
  settings: LoginSettings,
  context: LoginContext,
  signal: AbortSignal,
  start: (connection: InitiatorConnection, outcome: LoggedIn) => S,
): Promise<S> {
  try {
    return await withDeadline(
      context.clock,
      context.loginDeadline,
      `The login at iSCSI portal ${formatAddress(portal)}`,
      async (limit) => {
        let address = portal;
        let wanted = settings;
        for (let redirections = 0; redirections <= maxRedirections; redirections++) {
          const found = await logInOnce(address, wanted, context, limit, start);
          if ('session' in found) return found.session;
          if (found.onlyMd5) wanted = { ...wanted, onlyMd5: true };
          context.log.debug({ from: formatAddress(address), to: formatAddress(found.address) }, 'iSCSI login redirected');
          address = found.address;
        }
        throw new ScoriaError('transport-failed', `iSCSI portal ${formatAddress(portal)} sends us from one place to the next`);
      },
      signal,
    );
  } catch (error) {
    signal.throwIfAborted();
    const failure = ScoriaError.from(error);
    if (failure.code !== 'deadline-exceeded') throw failure;
    throw new ScoriaError('transport-failed', failure.message, { cause: failure });
  }
}

/** A session, or how to go on. */
type Reached<S> = { readonly session: S } | { readonly address: ListenAddress; readonly onlyMd5: boolean };

async function logInOnce<S extends ConnectionReceiver>(
  address: ListenAddress,
  settings: LoginSettings,
  context: LoginContext,
  signal: AbortSignal,
  start: (connection: InitiatorConnection, outcome: LoggedIn) => S,
): Promise<Reached<S>> {
  const socket = await openSocket(address, context.clock, context.loginDeadline, signal);
  const { promise, resolve, reject } = Promise.withResolvers<Reached<S>>();
  const dialogue = new LoginDialogue(settings, context.random);
  const go = (step: LoginStep): void => {
    if (step.kind === 'send') return connection.send(step.bhs, step.data);
    if (step.kind !== 'done') {
      connection.close();
      return resolve(step.kind === 'redirect' ? { address: step.address, onlyMd5: false } : { address, onlyMd5: true });
    }
    const { parameters } = step.outcome;
    const session = start(connection, step.outcome);
    const digests = { header: parameters.headerDigest, data: parameters.dataDigest };
    connection.upgrade(session, digests, parameters.initiatorMaxRecvDataSegmentLength);
    resolve({ session });
  };
  const receiver: ConnectionReceiver = {
    place: () => null,
    pdu: (bhs, data) => go(dialogue.take(bhs, data)),
    lost: reject,
  };
  const connection = new InitiatorConnection(socket, address, receiver, loginMaxRecvDataSegmentLength, context.log);
  const onAbort = (): void => connection.fail(new Error('the login was given up'));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    go(dialogue.begin());
    return await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
