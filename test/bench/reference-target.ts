import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { programPath } from './load-generators.ts';

const run = promisify(execFile);

/** Something that serves one file over iSCSI. */
export interface ServedTarget {
  /** With the CHAP name and secret. */
  readonly url: string;
  /** Process that serves it. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** What a target is made of. */
export interface TargetRequest {
  readonly directory: string;
  readonly port: number;
  /** File to serve. */
  readonly file: string;
  readonly user: string;
  readonly secret: string;
}

/** Starts a bare Node server of the same messages: the bound of what a target in Node can reach. */
export async function startBareServer(): Promise<ServedTarget> {
  const program = join(import.meta.dirname, 'bare-server.ts');
  const conditions = ['--conditions=@scoria/source', '--disable-warning=ExperimentalWarning'];
  const child = spawn(process.execPath, [...conditions, program], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [said] = await once(child.stdout, 'data');
  return {
    url: `iscsi://127.0.0.1:${Number(String(said))}/${targetName}/0`,
    pid: child.pid ?? 0,
    stop: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

const targetName = 'iqn.2026-11.org.scoria:bench';
const deadline = 10_000;

/** Starts Debian's tgtd in the foreground, with a control socket of its own, and has it serve the file with CHAP. */
export async function startTgt({ directory, port, file, user, secret }: TargetRequest): Promise<ServedTarget> {
  const env = { ...process.env, TGT_IPC_SOCKET: join(directory, 'tgt') };
  const daemon = spawn(programPath('tgtd') ?? 'tgtd', ['-f', '--iscsi', `portal=127.0.0.1:${port}`], { env, stdio: 'ignore' });
  const exited = once(daemon, 'exit');
  const admin = (...args: string[]) =>
    run(programPath('tgtadm') ?? 'tgtadm', ['--lld', 'iscsi', ...args], { env, timeout: deadline });
  const stop = async () => {
    // tgtd ignores signals while it has a target.
    await admin('--mode', 'target', '--op', 'delete', '--force', '--tid', '1').catch(() => {});
    await admin('--mode', 'system', '--op', 'delete').catch(() => {});
    const timer = setTimeout(() => daemon.kill('SIGKILL'), deadline);
    await exited;
    clearTimeout(timer);
  };
  try {
    const begun = performance.now();
    while (!(await admin('--mode', 'target', '--op', 'show').then(Boolean, () => false))) {
      if (performance.now() - begun > deadline) throw new Error('tgtd did not come up');
      await sleep(50);
    }
    const target = ['--mode', 'target', '--tid', '1'];
    await admin(...target, '--op', 'new', '--targetname', targetName);
    await admin('--mode', 'logicalunit', '--op', 'new', '--tid', '1', '--lun', '1', '--backing-store', file);
    await admin('--mode', 'account', '--op', 'new', '--user', user, '--password', secret);
    await admin('--mode', 'account', '--op', 'bind', '--tid', '1', '--user', user);
    await admin(...target, '--op', 'bind', '--initiator-address', 'ALL');
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `iscsi://${user}%${secret}@127.0.0.1:${port}/${targetName}/1`, pid: daemon.pid ?? 0, stop };
}
