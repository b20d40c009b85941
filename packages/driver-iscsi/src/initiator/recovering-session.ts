import { ScoriaError, withDeadline, type Clock, type Log, type Random } from '@scoria/core/device';
import type { ListenAddress } from '../protocol/listen-address.ts';
import type { ChapCredentials } from './chap-login.ts';
import { InitiatorSession, type SessionTimes } from './initiator-session.ts';
import { logIn } from './log-in.ts';
import { LogicalUnitClient, type Execute } from './logical-unit-client.ts';
import type { OperationalOffer } from './operational-offer.ts';
import { SessionCommand, type CommandReply } from './session-command.ts';

/** One way to a logical unit. */
export interface UnitPath {
  readonly portal: ListenAddress;
  readonly targetName: string;
  readonly lun: number;
}

/** How long things may take, ms. */
export interface RecoveryTimes extends SessionTimes {
  /** Time for a login, and for the look at the logical unit behind it. */
  readonly loginDeadline: number;
  /** Time without a usable session after which the device is gone. */
  readonly patience: number;
}

/** What a session that recovers is made of. */
export interface RecoveringSessionOptions {
  /** The name in messages. */
  readonly name: string;
  /** Tried in turn, beginning with the one that worked last. */
  readonly paths: readonly UnitPath[];
  readonly initiatorName: string;
  readonly isid: Buffer;
  readonly credentials: ChapCredentials | null;
  readonly offer: OperationalOffer;
  readonly queueDepth: number;
  readonly times: RecoveryTimes;
  /** The serial number that the logical unit must have; `null` takes the one that is found first. */
  readonly serial: string | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Another logical unit is where ours was: trying again would change nothing. */
class OtherUnit extends ScoriaError {}

/** Shortest and longest pause between two attempts to log in, ms. */
const pause = { first: 100, longest: 5_000 } as const;
/** A command that met this many lost sessions, and is older than the patience, is taken for their cause. */
const maxAttempts = 3;

/**
 * A nexus to one logical unit that outlives its connections. When one is lost it logs in again with the same ISID, which
 * ends what is left of the old session (RFC 7143, 6.3.5), looks whether the logical unit is still the same, and sends every
 * command that had not ended once more with the same bytes. Commands may thus be carried out twice; those of a block
 * device can be.
 */
export class RecoveringSession {
  readonly #options: RecoveringSessionOptions;
  /** Commands that have not ended, in their order, with what fails them. */
  readonly #pending = new Map<SessionCommand, (error: ScoriaError) => void>();
  readonly #stop = new AbortController();
  #session: InitiatorSession | null = null;
  #serial: string | null;
  #path = 0;
  /** Since when there is trouble, monotonic; `null` while commands end. */
  #troubleSince: number | null = null;
  #attachedAt = 0;
  #failures = 0;
  #dead: ScoriaError | null = null;
  #idle: PromiseWithResolvers<void> | null = null;

  private constructor(options: RecoveringSessionOptions) {
    this.#options = options;
    this.#serial = options.serial;
  }

  /**
   * Logs in by the first path that works. Rejects with `not-permitted`, `transport-failed`, `device-gone` when another
   * logical unit is there, or the reason of the signal.
   */
  static async open(options: RecoveringSessionOptions, signal: AbortSignal): Promise<RecoveringSession> {
    const session = new RecoveringSession(options);
    await session.#attach(signal);
    return session;
  }

  /** Serial number of the logical unit (SPC-4, 7.8.15). */
  get serial(): string {
    return this.#serial ?? '';
  }

  /** Carries out a command, however many sessions that takes. Rejects with `device-gone` when patience is at its end. */
  readonly execute: Execute = (cdb, dataIn, dataOut) => {
    if (this.#dead !== null) return Promise.reject(this.#dead);
    return new Promise<CommandReply>((resolve, reject) => {
      const command: SessionCommand = new SessionCommand(
        this.#options.clock.monotonic(),
        cdb,
        dataIn,
        dataOut,
        (reply) => {
          this.#troubleSince = null;
          this.#failures = 0;
          this.#settled(command);
          resolve(reply);
        },
        () => {},
      );
      this.#pending.set(command, reject);
      this.#session?.submit(command);
    });
  };

  /** Waits for the commands under way, then logs out. A second call does nothing. */
  async close(): Promise<void> {
    while (this.#pending.size > 0) {
      this.#idle ??= Promise.withResolvers();
      await this.#idle.promise;
    }
    if (this.#dead !== null) return;
    this.#dead = this.#gone('is closed');
    this.#stop.abort();
    const session = this.#session;
    this.#session = null;
    await session?.logout();
  }

  /** Fails all commands, those under way and those to come, and logs out. */
  async drop(why: string): Promise<void> {
    const session = this.#session;
    this.#session = null;
    this.#die(this.#gone(why));
    await session?.logout();
  }

  /** Like {@link drop}, without a word to the target. */
  abandon(why: string): void {
    this.#die(this.#gone(why));
  }

  /** Has `told` called once, when the session has ended for good. */
  onEnd(told: () => void): void {
    if (this.#stop.signal.aborted) return told();
    this.#stop.signal.addEventListener('abort', told, { once: true });
  }

  #gone(why: string, cause?: unknown): ScoriaError {
    return new ScoriaError('device-gone', `${this.#options.name} ${why}`, cause === undefined ? {} : { cause });
  }

  #die(error: ScoriaError): void {
    if (this.#dead !== null) return;
    this.#dead = error;
    this.#stop.abort();
    this.#session?.end();
    this.#session = null;
    for (const command of [...this.#pending.keys()]) this.#refuse(command, error);
  }

  #refuse(command: SessionCommand, error: ScoriaError): void {
    const reject = this.#pending.get(command);
    this.#settled(command);
    reject?.(error);
  }

  #settled(command: SessionCommand): void {
    this.#pending.delete(command);
    if (this.#pending.size > 0) return;
    this.#idle?.resolve();
    this.#idle = null;
  }

  /** Tries each path once. */
  async #attach(signal: AbortSignal): Promise<void> {
    const { paths } = this.#options;
    let failure: ScoriaError | null = null;
    for (let tried = 0; tried < paths.length; tried++) {
      const index = (this.#path + tried) % paths.length;
      const path = paths[index];
      if (path === undefined) break;
      try {
        const session = await this.#attachBy(path, signal);
        if (session.over)
          throw new ScoriaError('transport-failed', `The session at iSCSI portal ${session.portal} ended at once`);
        this.#path = index;
        this.#session = session;
        this.#attachedAt = this.#options.clock.monotonic();
        for (const command of this.#pending.keys()) session.submit(command);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof OtherUnit) throw error;
        // Who refuses us says more than who does not answer.
        if (failure?.code !== 'not-permitted') failure = ScoriaError.from(error);
      }
    }
    throw failure ?? new ScoriaError('transport-failed', `There is no path to ${this.#options.name}`);
  }

  async #attachBy({ portal, targetName, lun }: UnitPath, signal: AbortSignal): Promise<InitiatorSession> {
    const { clock, log, random, times, queueDepth, name } = this.#options;
    const { initiatorName, isid, credentials, offer } = this.#options;
    const settings = { initiatorName, targetName, isid, credentials, offer };
    const loginContext = { clock, random, log, loginDeadline: times.loginDeadline };
    const session = await logIn(portal, settings, loginContext, signal, (connection, outcome) => {
      const made: InitiatorSession = new InitiatorSession(connection, outcome, lun, {
        clock,
        log,
        times,
        queueDepth,
        onLost: (error, wait) => this.#lost(made, error, wait),
      });
      return made;
    });
    try {
      const probe = new LogicalUnitClient((...command) => session.execute(...command), {
        clock,
        log,
        name,
        patience: times.loginDeadline,
      });
      // The attention that each new session brings is not for the commands that are repeated.
      const look = async (): Promise<string> => {
        const found = await probe.serialNumber();
        await probe.clearAttentions();
        return found;
      };
      const serial = await withDeadline(clock, times.loginDeadline, `The look at ${name}`, look, signal);
      if (this.#serial !== null && serial !== this.#serial) {
        throw new OtherUnit('device-gone', `${name} is not there: the target has serial number ${JSON.stringify(serial)}`);
      }
      signal.throwIfAborted();
      this.#serial = serial;
      return session;
    } catch (error) {
      session.end();
      signal.throwIfAborted();
      const failure = ScoriaError.from(error);
      throw failure.code === 'deadline-exceeded'
        ? new ScoriaError('transport-failed', failure.message, { cause: failure })
        : failure;
    }
  }

  #lost(session: InitiatorSession, error: ScoriaError, wait: number): void {
    if (session !== this.#session) return;
    this.#session = null;
    const { clock, log, name, times } = this.#options;
    const now = clock.monotonic();
    // A session that lasted was no part of the trouble before it.
    if (now - this.#attachedAt >= times.patience) this.#troubleSince = null;
    this.#troubleSince ??= now;
    log.warn({ device: name, error: error.message, commands: this.#pending.size }, 'iSCSI session lost');
    for (const command of [...this.#pending.keys()]) {
      const old = now - command.createdAt >= times.patience;
      if (old && command.attempts >= maxAttempts) this.#refuse(command, this.#gone('loses the session with this command', error));
    }
    void this.#recover(error, wait);
  }

  async #recover(cause: ScoriaError, wait: number): Promise<void> {
    const { clock, log, name, times } = this.#options;
    const { signal } = this.#stop;
    const since = this.#troubleSince ?? clock.monotonic();
    let failure = cause;
    try {
      if (wait > 0) await clock.sleep(Math.min(wait, times.patience), signal);
      for (;;) {
        const left = since + times.patience - clock.monotonic();
        if (left <= 0) return this.#die(this.#gone(`could not be reached for ${times.patience} ms: ${failure.message}`, failure));
        const attempt = this.#failures++;
        if (attempt > 0) await clock.sleep(Math.min(pause.first * 2 ** (attempt - 1), pause.longest, left), signal);
        try {
          await withDeadline(clock, left, `The recovery of ${name}`, (limit) => this.#attach(limit), signal);
          log.info({ device: name, ms: Math.round(clock.monotonic() - since) }, 'iSCSI session recovered');
          return;
        } catch (error) {
          signal.throwIfAborted();
          failure = ScoriaError.from(error);
          log.debug({ device: name, error: failure.message }, 'iSCSI login failed');
          if (failure instanceof OtherUnit) return this.#die(this.#gone(`is lost: ${failure.message}`, failure));
        }
      }
    } catch (error) {
      // Whoever stopped us has said to everybody why.
      if (!signal.aborted) this.#die(this.#gone('is lost by a bug', error));
    }
  }
}
