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

/** One kind of load. */
export interface Workload {
  readonly name: string;
  readonly unit: 'IOPS' | 'MiB/s';
  /** Returns the rate of one run against an `iscsi://` URL. */
  run(url: string, seconds: number): Promise<number>;
}

/**
 * Random reads by libiscsi's iscsi-perf: it does nothing but send commands and count answers, so it takes less of the
 * processor beside the target than qemu-img does.
 */
export function randomReads(depth: number): Workload {
  return {
    name: `4 KiB random read, ${depth} at once`,
    unit: 'IOPS',
    run: (url, seconds) => iscsiPerf(['-m', String(depth), '-b', '8', '-r', url], seconds),
  };
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

/** Writes, or large reads, by `qemu-img bench`: `requests` a second of a run. */
export function qemuBench(options: {
  readonly name: string;
  readonly write?: boolean;
  readonly bytes: number;
  readonly step: number;
  readonly depth: number;
  readonly requests: number;
  readonly unit: 'IOPS' | 'MiB/s';
}): Workload {
  const { name, write = false, bytes, step, depth, requests, unit } = options;
  const parameters = ['-c', requests, '-d', depth, '-s', bytes, '-S', step].map(String);
  const args = ['bench', '-f', 'raw', '-t', 'none', ...(write ? ['-w'] : []), ...parameters];
  return {
    name,
    unit,
    async run(url) {
      const { stdout } = await run(programPath('qemu-img') ?? 'qemu-img', [...args, url], { timeout: 60_000 });
      const seconds = Number(/completed in ([\d.]+) seconds/.exec(stdout)?.[1]);
      return unit === 'IOPS' ? requests / seconds : (requests * bytes) / 2 ** 20 / seconds;
    },
  };
}
