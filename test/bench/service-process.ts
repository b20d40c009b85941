import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

const program = join(import.meta.dirname, '../../packages/server/dist/main.js');
const deadline = 20_000;

/** How a service is started. */
export interface ServiceOptions {
  readonly dataDirectory: string;
  /** Port of the iSCSI target, for configurations that have one. */
  readonly iscsiPort?: number;
  readonly configurationFile?: string;
}

/** A built service that runs as a process of its own. */
export interface ServiceProcess {
  readonly url: string;
  readonly pid: number;
  /** From the start of the process until it said where it listens, milliseconds. */
  readonly startTime: number;
  stop(): Promise<void>;
}

/** Starts the built service on a free port, as `npm start` does after its build. */
export async function startService({ dataDirectory, iscsiPort, configurationFile }: ServiceOptions): Promise<ServiceProcess> {
  const start = performance.now();
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      program,
      ...['--data-dir', dataDirectory, '--listen', '127.0.0.1:0'],
      ...(iscsiPort === undefined ? [] : ['--iscsi-listen', `127.0.0.1:${iscsiPort}`]),
      ...(configurationFile === undefined ? [] : ['--config', configurationFile]),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), deadline);
  try {
    const url = await greetedUrl(child.stdout);
    const startTime = performance.now() - start;
    if (url === undefined || child.pid === undefined) {
      throw new Error('The service ended before it listened, or said nothing for too long');
    }
    const stop = async () => {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), deadline);
      await exited;
      clearTimeout(late);
    };
    return { url, pid: child.pid, startTime, stop };
  } finally {
    clearTimeout(timer);
  }
}

/** The URL in the greeting of the service; `undefined` when its output ends without one. What comes later is read and forgotten. */
function greetedUrl(output: Readable): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = '';
    output.setEncoding('utf8').on('data', (chunk: string) => {
      if (said.length < 10_000) said += chunk;
      const url = /API +(\S+)\/v3/.exec(said)?.[1];
      if (url !== undefined) resolve(url);
    });
    output.on('end', () => resolve(undefined));
  });
}

/** A port that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = z.object({ port: z.number() }).parse(server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/** Proportional set size of a process, bytes: its own pages, and its share of those that others use too. */
export function proportionalSetSize(pid: number): number {
  const kilobytes = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

/** Processor time that a process has used so far, in user and system mode, seconds (proc(5), /proc/PID/stat: 1/100 s a tick). */
export function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in brackets may hold blanks; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Ids of the processes that a process started. */
export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

/** Memory of a process and of those that it started, once it has settled: three looks, half a second apart, within 1%. */
export async function settledMemory(pid: number): Promise<{ readonly own: number; readonly children: number }> {
  const look = () => {
    const children = childrenOf(pid).reduce((sum, child) => sum + proportionalSetSize(child), 0);
    return { own: proportionalSetSize(pid), children };
  };
  let last = look();
  let steady = 0;
  for (let count = 0; count < 30 && steady < 3; count++) {
    await sleep(500);
    const now = look();
    steady = Math.abs(now.own + now.children - last.own - last.children) < 0.01 * (last.own + last.children) ? steady + 1 : 0;
    last = now;
  }
  return last;
}
