import { ScoriaError, type Command, type CommandResult, type Exec } from '@scoria/core';
import {
  parseAccounts,
  parseConnections,
  parseCounters,
  parsePortals,
  parseTargets,
  type TgtConnection,
  type TgtTarget,
  type UnitCounters,
} from './target-report.ts';

/** tgtadm's exit status for what tgtd refuses; why is in its words. */
const refusal = 22;
const deadline = 20_000;

/** What came of a request. `exists` and `missing` are no failures to whoever repeats; `active`: something still uses it. */
export type Answer = 'done' | 'exists' | 'missing' | 'active';

const answers: readonly { readonly words: RegExp; readonly answer: Answer }[] = [
  { words: /already exists/, answer: 'exists' },
  { words: /can't find the (target|logical unit|session|connection|account)|does not exist/, answer: 'missing' },
  { words: /still active/, answer: 'active' },
];

/** The rule that admits all initiators, as it is given and told. */
export const everyAddress = 'ALL';

type RunOptions = Pick<Command, 'signal' | 'secrets'>;

/** A logical unit to make. */
export interface NewUnit {
  readonly path: string;
  readonly blockSize: number;
  /** Goes past the page cache, as control groups can count only that. */
  readonly direct: boolean;
}

/**
 * The commands to one tgtd. tgtadm takes a secret nowhere but on its command line, where other users of the host can see it
 * for the milliseconds that it runs, unless /proc is mounted with `hidepid`.
 */
export class Tgtadm {
  readonly #exec: Exec;
  readonly #environment: Readonly<Record<string, string>>;

  constructor(exec: Exec, controlSocket: string | undefined) {
    this.#exec = exec;
    this.#environment = controlSocket === undefined ? {} : { TGT_IPC_SOCKET: controlSocket };
  }

  async targets(): Promise<readonly TgtTarget[]> {
    return parseTargets(await this.#show('target', 'show'));
  }

  /** Connections of a target; none when there is no such target. */
  async connections(tid: number, signal: AbortSignal): Promise<readonly TgtConnection[]> {
    const { answer, stdout } = await this.#request('conn', 'show', ['--tid', String(tid)], { signal });
    return answer === 'done' ? parseConnections(stdout) : [];
  }

  /** Names of all accounts, bound to a target or not. */
  async accounts(signal: AbortSignal): Promise<readonly string[]> {
    return parseAccounts(await this.#show('account', 'show', signal));
  }

  async portals(signal: AbortSignal): Promise<readonly string[]> {
    return parsePortals(await this.#show('portal', 'show', signal));
  }

  async counters(signal: AbortSignal): Promise<readonly UnitCounters[]> {
    return parseCounters(await this.#show('sys', 'stat', signal));
  }

  addPortal(portal: string): Promise<Answer> {
    return this.#change('portal', 'new', ['--param', `portal=${portal}`]);
  }

  removePortal(portal: string): Promise<Answer> {
    return this.#change('portal', 'delete', ['--param', `portal=${portal}`]);
  }

  /** Nobody can log in to a target before somebody is admitted. */
  addTarget(tid: number, name: string): Promise<Answer> {
    return this.#change('target', 'new', ['--tid', String(tid), '--targetname', name]);
  }

  /** `active` while there is a session. Never with force: tgtd ends when it then finds a command under way. */
  removeTarget(tid: number): Promise<Answer> {
    return this.#change('target', 'delete', ['--tid', String(tid)]);
  }

  /** `offline` refuses logins in a way that initiators try again; `ready` lets them in. Sessions go on. */
  setState(tid: number, state: 'offline' | 'ready'): Promise<Answer> {
    return this.#change('target', 'update', ['--tid', String(tid), '--name', 'state', '--value', state]);
  }

  addUnit(tid: number, lun: number, { path, blockSize, direct }: NewUnit): Promise<Answer> {
    const options = ['--backing-store', path, '--blocksize', String(blockSize), ...(direct ? ['--bsoflags', 'direct'] : [])];
    return this.#change('logicalunit', 'new', ['--tid', String(tid), '--lun', String(lun), ...options]);
  }

  describeUnit(tid: number, lun: number, parameters: Readonly<Record<string, string>>): Promise<Answer> {
    const text = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
    return this.#change('logicalunit', 'update', ['--tid', String(tid), '--lun', String(lun), '--params', text.join()]);
  }

  /** `active` while a command is under way. Afterwards the device is closed. */
  removeUnit(tid: number, lun: number): Promise<Answer> {
    return this.#change('logicalunit', 'delete', ['--tid', String(tid), '--lun', String(lun)]);
  }

  addAccount(user: string, secret: string): Promise<Answer> {
    return this.#change('account', 'new', ['--user', user, '--password', secret], [secret]);
  }

  removeAccount(user: string): Promise<Answer> {
    return this.#change('account', 'delete', ['--user', user]);
  }

  bindAccount(tid: number, user: string): Promise<Answer> {
    return this.#change('account', 'bind', ['--tid', String(tid), '--user', user]);
  }

  /** @param initiator - an initiator's name; `null` admits whoever knows the secret. */
  admit(tid: number, initiator: string | null): Promise<Answer> {
    const rule = initiator === null ? ['--initiator-address', everyAddress] : ['--initiator-name', initiator];
    return this.#change('target', 'bind', ['--tid', String(tid), ...rule]);
  }

  closeConnection(tid: number, sid: number, cid: number): Promise<Answer> {
    return this.#change('conn', 'delete', ['--tid', String(tid), '--sid', String(sid), '--cid', String(cid)]);
  }

  async #show(mode: string, op: string, signal?: AbortSignal): Promise<string> {
    const { answer, stdout } = await this.#request(mode, op, [], { signal });
    if (answer === 'done') return stdout;
    throw new ScoriaError('transport-failed', `tgtd does not tell of its ${mode}s: ${answer}`);
  }

  /** A change is not aborted in the middle: nobody would know whether it was made. */
  async #change(mode: string, op: string, args: readonly string[], secrets: readonly string[] = []): Promise<Answer> {
    return (await this.#request(mode, op, args, { secrets })).answer;
  }

  async #request(
    mode: string,
    op: string,
    args: readonly string[],
    more: RunOptions,
  ): Promise<{ readonly answer: Answer; readonly stdout: string }> {
    const { exitCode, stdout, stderr } = await this.#run(mode, op, args, more);
    // tgtadm ends with 0, too, when tgtd dies before it has answered; then it says so.
    if (exitCode === 0 && stderr === '') return { answer: 'done', stdout };
    const known = answers.find(({ words }) => exitCode === refusal && words.test(stderr));
    if (known !== undefined) return { answer: known.answer, stdout: '' };
    const told = args.filter((word) => !more.secrets?.includes(word)).join(' ');
    const words = stderr.trim().slice(0, 500);
    throw new ScoriaError('transport-failed', `tgtd refuses --mode ${mode} --op ${op} ${told}: ${words}`);
  }

  async #run(mode: string, op: string, args: readonly string[], more: RunOptions): Promise<CommandResult> {
    const all = ['--lld', 'iscsi', '--mode', mode, '--op', op, ...args];
    const environment = this.#environment;
    try {
      return await this.#exec.run({ program: 'tgtadm', args: all, deadline, environment, accepts: [0, refusal], ...more });
    } catch (error) {
      const { code, message } = ScoriaError.from(error);
      if (code !== 'backend-failed') throw error;
      throw new ScoriaError('transport-failed', message, {
        cause: error,
        remedy: 'See that tgtd runs, and that this service may use its control socket.',
      });
    }
  }
}
