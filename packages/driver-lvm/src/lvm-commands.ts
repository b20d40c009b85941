import { ScoriaError, type CommandResult, type Exec } from '@scoria/core';
import type { LvmConfig } from './configuration.ts';
import { LvmError } from './lvm-error.ts';

/** Exit statuses that lvm(8) defines; their words are judged by {@link LvmError}. */
const defined = [0, 1, 2, 3, 4, 5];

/** Runs LVM and device-mapper programs, each with a deadline. */
export class LvmCommands {
  readonly #exec: Exec;
  readonly #config: LvmConfig;

  constructor(exec: Exec, config: LvmConfig) {
    this.#exec = exec;
    this.#config = config;
  }

  /** Runs a command that only reads. It is ended when the signal aborts. */
  async report(what: string, args: readonly string[], signal: AbortSignal): Promise<string> {
    return (await this.#lvm(what, args, this.#config.deadlines.report, signal)).stdout;
  }

  /**
   * Runs a command that changes something, and gives what it printed. It is never ended before its deadline: LVM would
   * leave its work to whoever comes next.
   */
  async change(what: string, args: readonly string[]): Promise<string> {
    const [verb = '', ...rest] = args;
    return (await this.#lvm(what, [verb, '--yes', ...rest], this.#config.deadlines.change)).stdout;
  }

  /** Sends a message to a device-mapper device (dmsetup(8)). */
  async message(device: string, message: string): Promise<CommandResult> {
    const { change } = this.#config.deadlines;
    return this.#exec.run({ program: 'dmsetup', args: ['message', device, '0', message], deadline: change, accepts: [0, 1] });
  }

  /** How many have a device-mapper device open; 0 for one that is not there. `backend-failed` when that cannot be told. */
  async openCount(device: string, signal: AbortSignal): Promise<number> {
    const told = await this.#ask(['info', '--columns', '--noheadings', '--options', 'open', device], signal);
    if (told === undefined) return 0;
    if (/^\s*\d{1,9}\s*$/.test(told)) return Number(told);
    throw new ScoriaError('backend-failed', `dmsetup does not tell who has ${device} open, but "${told.trim().slice(0, 500)}"`);
  }

  /** What the kernel says of a device-mapper device (dmsetup(8), "status"); `undefined` for one that is not there. */
  status(device: string, signal: AbortSignal): Promise<string | undefined> {
    return this.#ask(['status', device], signal);
  }

  /** Frees a range of a block device (blkdiscard(8)). */
  async discard(path: string, offset: number, length: number, signal: AbortSignal): Promise<void> {
    const args = ['--offset', String(offset), '--length', String(length), path];
    await this.#exec.run({ program: 'blkdiscard', args, deadline: this.#config.deadlines.change, signal });
  }

  /** The lines that a program prints that reads a thin pool's metadata. */
  metadata(program: string, args: readonly string[], signal: AbortSignal): AsyncIterable<string> {
    return this.#exec.lines({ program, args, deadline: this.#config.deadlines.extents, signal });
  }

  /** What dmsetup(8) says of a device, which is the last of the arguments; `undefined` when there is no such device. */
  async #ask(args: readonly string[], signal: AbortSignal): Promise<string | undefined> {
    const { report } = this.#config.deadlines;
    const { exitCode, stdout, stderr } = await this.#exec.run({
      ...{ program: 'dmsetup', args, deadline: report, signal },
      accepts: [0, 1],
    });
    if (exitCode === 0) return stdout;
    if (/does not exist|not found/i.test(stderr)) return undefined;
    throw new ScoriaError('backend-failed', `dmsetup does not tell of ${args.at(-1)}: ${stderr.trim().slice(0, 500)}`);
  }

  async #lvm(what: string, args: readonly string[], deadline: number, signal?: AbortSignal): Promise<CommandResult> {
    const { lvmConfig, devicesFile } = this.#config;
    const [verb = '', ...rest] = args;
    const result = await this.#exec.run({
      program: 'lvm',
      args: [
        verb,
        ...(lvmConfig === undefined ? [] : ['--config', lvmConfig]),
        ...(devicesFile === undefined ? [] : ['--devicesfile', devicesFile]),
        ...rest,
      ],
      deadline,
      signal,
      accepts: defined,
      // The programs of a service inherit descriptors that are none of LVM's business.
      environment: { LVM_SUPPRESS_FD_WARNINGS: '1' },
    });
    if (result.exitCode !== 0) throw new LvmError(what, result);
    return result;
  }
}
