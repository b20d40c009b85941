import { readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { ScoriaError, type Clock } from '@scoria/core/device';
import { z } from 'zod';

/** Tells one process from any other that ever has or had its number. */
const processIdentitySchema = z.object({
  processId: z.number().int().min(2),
  /** Clock ticks between the start of the system and that of the process (proc_pid_stat(5), field 22). */
  startTime: z.string(),
  /** The start of the system that this is about. */
  bootId: z.string(),
});
/** See {@link processIdentitySchema}. */
export type ProcessIdentity = z.infer<typeof processIdentitySchema>;

/** Time for a killed process to be gone, ms, and between two looks. */
const endDeadline = 5_000;
const lookInterval = 10;

/** Where the process that serves a control socket says which one it is. */
const identityPath = (socketPath: string): string => `${socketPath}.pid`;

/** Start time of a process that runs, or `null`. A zombie does not run. Where there is no `/proc` nothing is known. */
async function startTimeOf(processId: number): Promise<string | null> {
  const stat = await readFile(`/proc/${processId}/stat`, 'utf8').catch(() => '');
  // The second field is a name in parentheses that may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startTime] = [fields[0], fields[19]];
  return startTime === undefined || state === 'Z' || state === 'X' ? null : startTime;
}

const currentBootId = async (): Promise<string> =>
  (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')).trim();

/** Notes beside a control socket which process serves it: this one. Does nothing on systems without `/proc`. */
export async function writeProcessIdentity(socketPath: string): Promise<void> {
  const startTime = await startTimeOf(process.pid);
  if (startTime === null) return;
  const identity: ProcessIdentity = { processId: process.pid, startTime, bootId: await currentBootId() };
  const path = identityPath(socketPath);
  await writeFile(`${path}.new`, `${JSON.stringify(identity)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** Takes back {@link writeProcessIdentity}. */
export async function removeProcessIdentity(socketPath: string): Promise<void> {
  await unlink(identityPath(socketPath)).catch(() => {});
}

/** The process noted beside a control socket if it still runs; `null` otherwise. */
export async function findProcess(socketPath: string): Promise<ProcessIdentity | null> {
  const text = await readFile(identityPath(socketPath), 'utf8').catch(() => null);
  if (text === null) return null;
  let identity: ProcessIdentity;
  try {
    identity = processIdentitySchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
  return (await runs(identity)) ? identity : null;
}

async function runs({ processId, startTime, bootId }: ProcessIdentity): Promise<boolean> {
  return (await startTimeOf(processId)) === startTime && (await currentBootId()) === bootId;
}

/** Waits up to `ms` for a process to end by itself; returns whether it has. */
export async function processEnded(identity: ProcessIdentity, ms: number, clock: Clock): Promise<boolean> {
  for (const end = clock.monotonic() + ms; clock.monotonic() < end; await clock.sleep(lookInterval)) {
    if (!(await runs(identity))) return true;
  }
  return !(await runs(identity));
}

/** Kills a process and waits until it is gone. Rejects with `transport-failed` when the kernel does not let go of it. */
export async function killProcess(identity: ProcessIdentity, clock: Clock): Promise<void> {
  if (!(await runs(identity))) return;
  try {
    process.kill(identity.processId, 'SIGKILL');
  } catch {
    // It has ended meanwhile, or it is not ours; the next look tells.
  }
  if (await processEnded(identity, endDeadline, clock)) return;
  throw new ScoriaError('transport-failed', `The iSCSI target process ${identity.processId} does not end, not even killed`, {
    remedy: `Find out what process ${identity.processId} waits for; a disk may hang.`,
  });
}
