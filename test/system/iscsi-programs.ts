import { spawn } from 'node:child_process';
import { run, type Finished } from './programs.ts';
import type { Connection } from './block-storage-api.ts';

/** The URL that qemu and libiscsi log in with. It holds the secret, as these programs want it. */
export function iscsiUrl({ target_portal, target_iqn, target_lun, auth_username, auth_password }: Connection): string {
  return `iscsi://${auth_username}%${auth_password}@${target_portal}/${target_iqn}/${target_lun}`;
}

/** Runs commands of qemu-io in one session, one after the other. */
export async function qemuIo(connection: Connection, ...commands: readonly string[]): Promise<Finished> {
  const words = commands.flatMap((command) => ['-c', command]);
  return run('qemu-io', ['-f', 'raw', '-t', 'none', ...words, iscsiUrl(connection)]);
}

/** Writes a pattern byte to a range, in bytes or with qemu's suffixes, and flushes. */
export async function writePattern(connection: Connection, pattern: number, offset: string, length: string): Promise<void> {
  const { stdout, code, stderr } = await qemuIo(connection, `write -P ${pattern} ${offset} ${length}`, 'flush');
  if (code !== 0 || !stdout.includes('wrote ')) throw new Error(`qemu-io did not write: ${stdout}${stderr}`);
}

/** Whether a range holds nothing but a pattern byte. */
export async function holdsPattern(connection: Connection, pattern: number, offset: string, length: string): Promise<boolean> {
  const { stdout, code, stderr } = await qemuIo(connection, `read -P ${pattern} ${offset} ${length}`);
  if (stdout.includes('Pattern verification failed')) return false;
  if (code !== 0 || !stdout.includes('read ')) throw new Error(`qemu-io did not read: ${stdout}${stderr}`);
  return true;
}

/** Copies the whole volume into a file, through iSCSI. */
export async function readWhole(connection: Connection, file: string): Promise<void> {
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', '-t', 'none', '-T', 'none', iscsiUrl(connection), file], {
    must: true,
  });
}

/** A session of qemu-io that stays open and takes commands one at a time. */
export class QemuIoSession {
  readonly #child;
  #text = '';
  #wake = () => {};

  private constructor(connection: Connection) {
    this.#child = spawn('qemu-io', ['-f', 'raw', '-t', 'none', iscsiUrl(connection)], { stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#text += text;
        this.#wake();
      });
    }
    this.#child.on('exit', () => this.#wake());
    this.#child.stdin.on('error', () => {});
  }

  /** Logs in; done when the session takes commands. */
  static async open(connection: Connection): Promise<QemuIoSession> {
    const session = new QemuIoSession(connection);
    await session.#answer(20_000);
    return session;
  }

  /** Gives a command and returns what was printed until the next prompt, or until the end of the program. */
  async command(text: string, ms = 20_000): Promise<string> {
    this.#text = '';
    this.#child.stdin.write(`${text}\n`);
    return this.#answer(ms);
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Ends the program without a logout. */
  async kill(): Promise<void> {
    if (this.ended) return;
    const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.kill('SIGKILL');
    await ended;
  }

  async #answer(ms: number): Promise<string> {
    const end = performance.now() + ms;
    const prompt = 'qemu-io> ';
    while (!this.#text.endsWith(prompt) && !this.ended) {
      const left = end - performance.now();
      if (left <= 0) throw new Error(`qemu-io gave no prompt within ${ms} ms; it said: ${this.#text}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#text.replace(/qemu-io> $/, '');
  }
}
