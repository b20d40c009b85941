import { existsSync } from 'node:fs';
import { execa, type Options } from 'execa';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

/** A program to run. No shell is ever involved. */
export interface Command {
  /** Name, looked up in the system's directories, or absolute path. */
  readonly program: string;
  readonly args: readonly string[];
  /** Milliseconds after which it is told to end (SIGTERM), and some time later killed. */
  readonly deadline: number;
  /** Ends it like the deadline. */
  readonly signal?: AbortSignal | undefined;
  /** Standard input. Default: empty. Secrets belong here and not into `args`. */
  readonly input?: string | undefined;
  /** Variables beside `PATH` and `LC_ALL=C`; nothing of our own environment is passed on. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** Exit statuses that are no failure. Default: 0 alone. */
  readonly accepts?: readonly number[] | undefined;
  /** Texts that show up in no log and no error. */
  readonly secrets?: readonly string[] | undefined;
}

/** What a program that ended told. */
export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The one way to run a program. Programs end with the process that runs them. */
export interface Exec {
  /**
   * Runs a program to its end. `backend-failed` for an exit status that is not accepted, with what it said;
   * `backend-unavailable` when the program is not there; `deadline-exceeded`.
   */
  run(command: Command): Promise<CommandResult>;
  /** The lines of a program's standard output while it runs, for outputs of any length. Fails like {@link run}, after the last line. */
  lines(command: Command): AsyncIterable<string>;
}

/** Longest output that {@link Exec.run} keeps, characters of each stream. */
const longestOutput = 16 * 1024 * 1024;
/** What of a failed program's words goes into its error, characters. */
const toldOutput = 2_000;
/** Time between the request to end and the end, ms. A program that changes metadata finishes that first. */
const killDelay = 10_000;
/** Time after that in which the kernel should have let go of it, ms. */
const giveUpDelay = 5_000;
const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Ties a program's life to its parent's (prctl(2), PR_SET_PDEATHSIG). */
const lifeline = '/usr/bin/setpriv';

/** What execa tells of a program that ended or could not start. */
interface Ended {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly code?: string | undefined;
  readonly stdout?: unknown;
  readonly stderr?: unknown;
  /** Said more than is kept. */
  readonly isMaxBuffer?: boolean | undefined;
}

/** How long a program may run, and what ends it. */
class Limit implements Disposable {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #outer: AbortSignal | undefined;
  readonly #timer: Disposable;
  #lastTimer: Disposable | undefined;
  #isGivenUp = false;
  /** Rejects what is waited for. */
  #giveUp: (reason: unknown) => void = () => {};

  constructor(clock: Clock, { deadline, signal }: Command, message: string) {
    this.#clock = clock;
    this.#outer = signal;
    this.#timer = clock.timer(deadline, () => this.stop(new ScoriaError('deadline-exceeded', message)));
    signal?.addEventListener('abort', this.#onOuter, { once: true });
    if (signal?.aborted) this.#onOuter();
  }

  readonly #onOuter = (): void => this.stop(this.#outer?.reason);

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Tells the program to end. One that the kernel does not let go of is given up after a while. */
  stop(reason?: unknown): void {
    if (this.signal.aborted) return;
    this.#controller.abort(reason);
    this.#lastTimer = this.#clock.timer(killDelay + giveUpDelay, () => {
      this.#isGivenUp = true;
      this.#giveUp(this.signal.reason);
    });
  }

  /** Settles with something of the program, one at a time; rejects with the reason when the program is given up. */
  wait<T>(work: PromiseLike<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#giveUp = reject;
    if (this.#isGivenUp) reject(this.signal.reason);
    work.then(resolve, reject);
    return promise;
  }

  /** Settles with the program; rejects with the reason when it was told to end. */
  async end<T>(running: PromiseLike<T>): Promise<T> {
    const result = await this.wait(running);
    this.signal.throwIfAborted();
    return result;
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    this.#lastTimer?.[Symbol.dispose]();
    this.#outer?.removeEventListener('abort', this.#onOuter);
  }
}

/** Runs programs of this machine. */
export class SystemExec implements Exec {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #prefix: readonly string[];

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = clock;
    this.#log = log;
    this.#prefix = existsSync(lifeline) ? [lifeline, '--pdeathsig', 'TERM', '--'] : [];
  }

  async run(command: Command): Promise<CommandResult> {
    const begin = this.#clock.monotonic();
    using limit = this.#limit(command);
    const running = this.#start(command, { cancelSignal: limit.signal, maxBuffer: longestOutput });
    return this.#judge(command, await limit.end(running), begin);
  }

  async *lines(command: Command): AsyncGenerator<string> {
    const begin = this.#clock.monotonic();
    using limit = this.#limit(command);
    const running = this.#start(command, { cancelSignal: limit.signal, buffer: { stdout: false }, maxBuffer: longestOutput });
    const lines = running.iterable();
    let whole = false;
    try {
      for (let next = await limit.wait(lines.next()); !next.done; next = await limit.wait(lines.next())) yield String(next.value);
      whole = true;
    } catch {
      // How the program ended says more, below.
      whole = true;
    } finally {
      if (!whole) {
        limit.stop();
        await limit.end(running).catch(() => {});
      }
    }
    this.#judge(command, await limit.end(running), begin);
  }

  /** The time that a command has. It settles when the program has ended, so that no second one meets it. */
  #limit(command: Command): Limit {
    return new Limit(this.#clock, command, `${this.#name(command)} did not end within ${command.deadline} ms`);
  }

  #start(command: Command, options: Options) {
    const [program = command.program, ...args] = [...this.#prefix, command.program, ...command.args];
    return execa(program, args, {
      ...options,
      reject: false,
      extendEnv: false,
      env: { PATH: searchPath, LC_ALL: 'C', ...command.environment },
      input: command.input ?? '',
      forceKillAfterDelay: killDelay,
      stripFinalNewline: false,
    });
  }

  #judge(command: Command, result: Ended, begin: number): CommandResult {
    const stdout = typeof result.stdout === 'string' ? result.stdout : '';
    const stderr = typeof result.stderr === 'string' ? result.stderr : '';
    const { exitCode = -1 } = result;
    const words = this.#redact(command, stderr.trim() || stdout.trim()).slice(0, toldOutput);
    this.#log.debug(
      { command: this.#name(command), exitCode, ms: Math.round(this.#clock.monotonic() - begin), ...(words && { words }) },
      'program ended',
    );
    if (result.isMaxBuffer) {
      throw new ScoriaError('backend-failed', `${this.#name(command)} said more than ${longestOutput} characters`);
    }
    const accepted = command.accepts ?? [0];
    if (accepted.includes(exitCode)) return { exitCode, stdout, stderr };
    if (result.code === 'ENOENT' || (exitCode === 127 && this.#prefix.length > 0)) {
      throw new ScoriaError('backend-unavailable', `There is no program ${command.program} on this host`, {
        remedy: `Install the package that has ${command.program}.`,
      });
    }
    const how = result.signal === undefined ? `exit status ${exitCode}` : `signal ${result.signal}`;
    throw new ScoriaError('backend-failed', `${this.#name(command)} ended with ${how}: ${words || 'it said nothing'}`, {
      details: { program: command.program, exitCode },
    });
  }

  #name({ program, args, ...command }: Command): string {
    return this.#redact({ program, args, ...command }, [program, ...args].join(' ')).slice(0, toldOutput);
  }

  #redact({ secrets = [] }: Command, text: string): string {
    return secrets.reduce((redacted, secret) => redacted.replaceAll(secret, '***'), text);
  }
}

/** An {@link Exec} on a host without programs: for instances whose plug-ins need none. */
export const noExec: Exec = {
  run: async ({ program }) => {
    throw new ScoriaError('backend-unavailable', `No programs can be run here, and ${program} is one`);
  },
  lines: ({ program }) => {
    throw new ScoriaError('backend-unavailable', `No programs can be run here, and ${program} is one`);
  },
};
