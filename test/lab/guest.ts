/**
 * A guest: User-mode Linux, an ordinary process of the host. The host's root is the guest's, under an overlay in memory:
 * what is installed and checked out here is there inside, and what the guest writes is gone with it. It has
 * device-mapper, the kernel's iSCSI target and initiator, and a network of its own.
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, open, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';

/** What runs in a guest, and in which. */
export interface GuestOptions {
  /** Program and arguments. */
  readonly command: readonly string[];
  /** Working directory of the command: a path of the host that the guest sees too, but may only seem to write. */
  readonly directory: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Memory of the guest in bytes. What it uses is taken from the host when it is used. */
  readonly memory: number;
  /** Sizes in bytes of the empty disks `/dev/ubda`, `/dev/ubdb` and so on; at most 16. They are sparse. */
  readonly disks: readonly number[];
  /** Modules of the kernel that are loaded at the start. Most others load when they are asked for. */
  readonly modules: readonly string[];
  /** Folders of the host that the guest can write, by absolute paths. */
  readonly shares: readonly string[];
  /** Whether udev runs, as on a real host; starting and every command of LVM take longer then. */
  readonly udev: boolean;
  /** Milliseconds after which the guest is killed, its start included. */
  readonly deadline: number;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** What the guest's kernel says. */
  readonly kernelLog: Writable;
  /** Kills the guest. */
  readonly signal?: AbortSignal;
}

/** How a guest ended: with its command, or because it was killed or died before. */
export type GuestEnd =
  | { readonly how: 'exited'; readonly status: number }
  | { readonly how: 'deadline' | 'aborted' }
  | { readonly how: 'died'; readonly reason: string };

/** Milliseconds in which the guest has to boot until its command runs; udev takes some of them. */
const patienceAtStart = 60_000;

/** Milliseconds in which the guest has to power off after its command. */
const patienceAtEnd = 10_000;

/** Descriptors of the kernel's process: its output, the consoles, and from there on the disks. */
const firstDisk = 6;

/** Boots a guest, runs the command, and is done when nothing of the guest is left. */
export async function runInGuest(options: GuestOptions): Promise<GuestEnd> {
  const memoryFolder = await folderForMemory(options.memory);
  // Not in /dev, which the guest cannot see.
  const job = await mkdtemp(join(tmpdir(), 'scoria-lab-'));
  try {
    await writeJob(job, options);
    const disks = await makeDisks(join(memoryFolder, basename(job)), options.disks);
    try {
      return await boot(
        job,
        memoryFolder,
        disks.map(({ fd }) => fd),
        options,
      );
    } finally {
      await Promise.all(disks.map((disk) => disk.close()));
    }
  } finally {
    await rm(job, { recursive: true, force: true });
  }
}

/** The kernel keeps the guest's memory in a file, which should be in memory itself; small containers have little of that. */
async function folderForMemory(bytes: number): Promise<string> {
  const shared = await statfs('/dev/shm').catch(() => undefined);
  return shared !== undefined && shared.bavail * shared.bsize > bytes ? '/dev/shm' : tmpdir();
}

/** Writes what init.sh reads: lists whose items end with a NUL. */
async function writeJob(job: string, options: GuestOptions): Promise<void> {
  const { command, directory, environment, modules, shares, udev } = options;
  const variables = Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  const lists = { command, environment: variables, modules, shares, settings: [directory, udev ? 'yes' : 'no'] };
  for (const [name, items] of Object.entries(lists))
    await writeFile(join(job, name), items.map((item) => `${item}\0`).join(''), { mode: 0o600 });
  await mkdir(join(job, 'umid'));
}

/** Makes sparse files that have no name: they end with the processes that hold them. */
async function makeDisks(prefix: string, sizes: readonly number[]) {
  return Promise.all(
    sizes.map(async (size, index) => {
      const path = `${prefix}-disk-${index}`;
      const disk = await open(path, 'wx+', 0o600);
      await disk.truncate(size);
      await rm(path);
      return disk;
    }),
  );
}

/**
 * The processor that was idle most for a moment, of those that we may use. The guest's kernel and its processes take turns
 * at every system call, and need not wake another processor when they stay on one.
 */
async function idlestProcessor(): Promise<number> {
  const [, list = ''] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(await readFile('/proc/self/status', 'utf8')) ?? [];
  const ranges = list.split(',').map((range) => range.split('-').map(Number));
  const before = cpus();
  await pause(200);
  const idle = cpus().map(({ times }, index) => times.idle - (before[index]?.times.idle ?? 0));
  const allowed = [...idle.keys()].filter((index) => ranges.some(([first = 0, last = first]) => first <= index && index <= last));
  return allowed.reduce((best, index) => ((idle[index] ?? 0) > (idle[best] ?? 0) ? index : best));
}

async function boot(job: string, memoryFolder: string, disks: readonly number[], options: GuestOptions): Promise<GuestEnd> {
  const kernel = [
    'linux.uml',
    `mem=${Math.ceil(options.memory / 1024)}K`,
    ...['root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro', `init=${join(import.meta.dirname, 'guest/init.sh')}`],
    ...['quiet', 'selinux=0', 'oops=panic', 'pty.legacy_count=0'],
    ...['con0=null,fd:1', 'con1=null,fd:3', 'con2=null,fd:4', 'con3=null,fd:5', 'con=null', 'ssl=null'],
    ...[`uml_dir=${join(job, 'umid')}/`, 'umid=guest', `lab_job=${job}`],
    ...disks.map((_, index) => `ubd${index}=/proc/self/fd/${firstDisk + index}`),
  ];
  // The kernel is first in a namespace of processes: whoever kills it kills all. It dies with unshare, and that with us.
  const namespace = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', '--'];
  const placed = ['taskset', '--cpu-list', String(await idlestProcessor())];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...placed, ...namespace, ...kernel], {
    env: { PATH: process.env['PATH'], TMPDIR: memoryFolder },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', ...disks],
  });
  const channel = (number: number) => child.stdio[number] as Readable;
  for (const [number, to] of [
    [1, options.kernelLog],
    [2, options.kernelLog],
    [3, options.stdout],
    [4, options.stderr],
  ] as const)
    channel(number).pipe(to, { end: false });

  let end: GuestEnd | undefined;
  const stop = (why: GuestEnd) => {
    end ??= why;
    child.kill('SIGKILL');
  };
  let deadline = setTimeout(() => stop({ how: 'deadline' }), options.deadline);
  const start = setTimeout(() => stop({ how: 'died', reason: 'It did not start in time' }), patienceAtStart);
  // After a panic the kernel's process stays as it is.
  createInterface({ input: channel(1) }).on('line', (line) => {
    if (line.includes('Kernel panic')) stop({ how: 'died', reason: 'Its kernel panicked' });
  });
  const abort = () => stop({ how: 'aborted' });
  options.signal?.addEventListener('abort', abort);
  createInterface({ input: channel(5) }).on('line', (line) => {
    const [what = '', ...rest] = line.split(' ');
    // The guest has read its job, and from here on nothing of it has a name on the host.
    if (what === 'running') {
      clearTimeout(start);
      void rm(job, { recursive: true, force: true });
    }
    if (what === 'failed') end ??= { how: 'died', reason: `It failed ${rest.join(' ')}` };
    if (what === 'exit') {
      end ??= { how: 'exited', status: Number(rest[0]) };
      clearTimeout(deadline);
      deadline = setTimeout(() => child.kill('SIGKILL'), patienceAtEnd);
    }
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.on('error', reject).on('close', () => resolve());
  if (options.signal?.aborted) abort();
  try {
    await promise;
  } finally {
    clearTimeout(start);
    clearTimeout(deadline);
    options.signal?.removeEventListener('abort', abort);
  }
  return end ?? { how: 'died', reason: `Its kernel ended with ${child.signalCode ?? child.exitCode}` };
}
