import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Whether a program can be run by its name. */
export function programPath(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.map((directory) => join(directory, name)).find((file) => existsSync(file));
}

/** One kind of load, of one session. */
export interface Workload {
  readonly name: string;
  readonly direction: 'read' | 'write';
  /** Of each command. */
  readonly bytes: number;
  /** Returns the commands a second of one run against an `iscsi://` URL. */
  run(url: string): Promise<number>;
}

/**
 * Reads by libiscsi's iscsi-perf: it does nothing but send commands and count answers, so it takes less of the processor
 * beside the target than qemu-img does.
 */
export function reads(options: {
  readonly name: string;
  readonly bytes: number;
  readonly depth: number;
  readonly random: boolean;
  readonly seconds: number;
}): Workload {
  const { name, bytes, depth, random, seconds } = options;
  const args = ['-m', depth, '-b', bytes / 512].map(String);
  return { name, direction: 'read', bytes, run: (url) => iscsiPerf([...args, ...(random ? ['-r'] : []), url], seconds) };
}

async function iscsiPerf(args: readonly string[], seconds: number): Promise<number> {
  const child = spawn(programPath('iscsi-perf') ?? 'iscsi-perf', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), (seconds + 10) * 1000);
  let said = '';
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => void (complaint += chunk));
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
    // It tells its figures once a second and runs until it is interrupted.
    if (averages(said).length >= seconds) child.kill('SIGINT');
  });
  await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
  clearTimeout(timer);
  const rate = averages(said)[seconds - 1];
  if (rate === undefined) throw new Error(`iscsi-perf gave no figures: ${complaint.slice(0, 400)}${said.slice(0, 400)}`);
  return rate;
}

function averages(text: string): number[] {
  return [...text.matchAll(/iops average (\d+)/g)].map(([, rate]) => Number(rate));
}

/** Writes by `qemu-img bench`, `requests` a run. */
export function writes(options: {
  readonly name: string;
  readonly bytes: number;
  readonly depth: number;
  /** From one request to the next, bytes. */
  readonly step: number;
  readonly requests: number;
}): Workload {
  const { name, bytes, depth, step, requests } = options;
  const parameters = ['-c', requests, '-d', depth, '-s', bytes, '-S', step].map(String);
  return {
    name,
    direction: 'write',
    bytes,
    async run(url) {
      const args = ['bench', '-f', 'raw', '-t', 'none', '-w', ...parameters, url];
      const { stdout } = await run(programPath('qemu-img') ?? 'qemu-img', args, { timeout: 60_000 });
      return requests / Number(/completed in ([\d.]+) seconds/.exec(stdout)?.[1]);
    },
  };
}
