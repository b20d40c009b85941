import { setImmediate } from 'node:timers/promises';
import type { Command, CommandResult, Exec } from '@scoria/core';

interface Unit {
  readonly lun: number;
  readonly path: string;
  readonly blockSize: string;
  readonly direct: boolean;
  serial: string;
  readOnly: boolean;
}

interface Target {
  readonly tid: number;
  readonly name: string;
  state: string;
  units: Unit[];
  sessions: { readonly sid: number; readonly initiator: string }[];
  readonly accounts: Set<string>;
  readonly admitted: Set<string>;
}

const indent = (levels: number, line: string): string => ' '.repeat(4 * levels) + line;

/** tgtd as tgtadm shows it: what it remembers, prints and refuses. It serves nothing. */
export class FakeTgtd implements Exec {
  readonly targets = new Map<number, Target>();
  readonly accounts = new Map<string, string>();
  readonly portals = ['127.0.0.1:3260'];
  readonly commands: Command[] = [];
  /** Requests to end a unit or a target that fail yet, because commands are under way. */
  busy = 0;
  /** Answers instead of tgtd, by mode and operation. */
  readonly answers = new Map<string, Partial<CommandResult>>();
  /** The process that runs tgtadm is killed before this command. */
  dieAt = Infinity;

  lines = (): never => {
    throw new Error('tgtadm is run to its end');
  };

  async run(command: Command): Promise<CommandResult> {
    this.commands.push(command);
    if (this.commands.length >= this.dieAt) throw new Error('the process was killed');
    await setImmediate();
    const options = new Map<string, string>();
    for (let at = 0; at < command.args.length; at += 2) {
      const name = command.args[at] ?? '';
      if (options.has(name)) throw new Error(`${name} is there twice`);
      options.set(name, command.args[at + 1] ?? '');
    }
    const answer = this.answers.get(`${options.get('--mode')} ${options.get('--op')}`);
    if (answer !== undefined) return { exitCode: 0, stdout: '', stderr: '', ...answer };
    const said = this.#carryOut(options);
    const refused = said !== null && !said.startsWith('ok');
    return {
      exitCode: refused ? 22 : 0,
      stdout: refused ? '' : (said ?? '').slice(3),
      stderr: refused ? `tgtadm: ${said}\n` : '',
    };
  }

  /** A session, as after a login. */
  logIn(name: string, initiator: string): void {
    const target = [...this.targets.values()].find((candidate) => candidate.name.endsWith(name));
    target?.sessions.push({ sid: target.sessions.length + 1, initiator });
  }

  /** `null` or `ok` and what is printed, or the words of a refusal. */
  #carryOut(options: ReadonlyMap<string, string>): string | null {
    const option = (name: string): string => options.get(`--${name}`) ?? '';
    const tid = Number(option('tid'));
    const target = this.targets.get(tid);
    switch (`${option('mode')} ${option('op')}`) {
      case 'target show':
        return `ok ${[...this.targets.values()].map(printed).join('')}`;
      case 'portal show':
        return `ok ${this.portals.map((portal) => `Portal: ${portal},1\n`).join('')}`;
      case 'sys stat':
        return 'ok tgt lun sid rd_subm(bytes,cmds)\n';
      case 'portal new':
        this.portals.push(option('param').replace('portal=', ''));
        return null;
      case 'portal delete':
        this.portals.splice(this.portals.indexOf(option('param').replace('portal=', '')), 1);
        return null;
      case 'target new':
        if (target !== undefined || [...this.targets.values()].some(({ name }) => name === option('targetname'))) {
          return 'this target already exists';
        }
        this.targets.set(tid, {
          tid,
          name: option('targetname'),
          state: 'ready',
          units: [],
          sessions: [],
          accounts: new Set(),
          admitted: new Set(),
        });
        return null;
      case 'account new':
        if (this.accounts.has(option('user'))) return 'this account already exists';
        this.accounts.set(option('user'), option('password'));
        return null;
      case 'account show':
        return `ok Account list:\n${[...this.accounts.keys()].map((user) => `${indent(1, user)}\n`).join('')}`;
      case 'account delete':
        for (const { accounts } of this.targets.values()) accounts.delete(option('user'));
        return this.accounts.delete(option('user')) ? null : "can't find the account";
    }
    if (target === undefined) return "can't find the target";
    const lun = Number(option('lun'));
    const unit = target.units.find((candidate) => candidate.lun === lun);
    const rule = option('initiator-address') || option('initiator-name');
    switch (`${option('mode')} ${option('op')}`) {
      case 'target delete':
        if (target.sessions.length > 0) return 'this target is still active';
        this.targets.delete(tid);
        return null;
      case 'target update':
        target.state = option('value');
        return null;
      case 'target bind':
        target.admitted.add(rule);
        return null;
      case 'account bind':
        if (!this.accounts.has(option('user'))) return "can't find the account";
        target.accounts.add(option('user'));
        return null;
      case 'conn show':
        return `ok ${target.sessions.map(printedConnection).join('')}`;
      case 'conn delete':
        if (!target.sessions.some(({ sid }) => String(sid) === option('sid'))) return "can't find the session";
        target.sessions = target.sessions.filter(({ sid }) => String(sid) !== option('sid'));
        return null;
      case 'logicalunit new':
        if (unit !== undefined) return 'this logical unit number already exists';
        target.units.push({
          lun,
          path: option('backing-store'),
          blockSize: option('blocksize'),
          direct: option('bsoflags') === 'direct',
          serial: 'beaf1',
          readOnly: false,
        });
        return null;
      case 'logicalunit delete':
        if (unit === undefined) return "can't find the logical unit";
        if (this.busy-- > 0) return 'this logical unit is still active';
        target.units = target.units.filter((candidate) => candidate !== unit);
        return null;
      case 'logicalunit update': {
        if (unit === undefined) return "can't find the logical unit";
        const parameters = new Map(
          option('params')
            .split(',')
            .map((text) => text.split('=', 2) as [string, string]),
        );
        unit.serial = parameters.get('scsi_sn') ?? unit.serial;
        unit.readOnly = parameters.get('readonly') === '1';
        return null;
      }
      default:
        return 'invalid request';
    }
  }
}

const printedConnection = ({ sid, initiator }: Target['sessions'][number]): string =>
  [`Session: ${sid}`, indent(1, 'Connection: 0'), indent(2, `Initiator: ${initiator}`), ''].join('\n');

function printed({ tid, name, state, sessions, units, accounts, admitted }: Target): string {
  return [
    `Target ${tid}: ${name}`,
    indent(1, 'System information:'),
    indent(2, `State: ${state}`),
    indent(1, 'I_T nexus information:'),
    ...sessions.flatMap(({ sid, initiator }) => [
      indent(2, `I_T nexus: ${sid}`),
      // tgtd's buffer is that long.
      ...`${indent(3, `Initiator: ${initiator} alias: none`)}\n${indent(3, 'Connection: 0')}`.slice(0, 1024).split('\n'),
    ]),
    indent(1, 'LUN information:'),
    ...units.flatMap(({ lun, serial, blockSize, readOnly, path, direct }) => [
      indent(2, `LUN: ${lun}`),
      indent(3, `SCSI SN: ${serial}`),
      indent(3, `Size: 1 MB, Block size: ${blockSize}`),
      indent(3, `Readonly: ${readOnly ? 'Yes' : 'No'}`),
      indent(3, `Backing store path: ${path}`),
      indent(3, `Backing store flags: ${direct ? 'direct' : ''}`),
    ]),
    indent(1, 'Account information:'),
    ...Array.from(accounts, (account) => indent(2, account)),
    indent(1, 'ACL information:'),
    ...Array.from(admitted, (rule) => indent(2, rule)),
    '',
  ].join('\n');
}
