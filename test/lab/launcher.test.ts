import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from '../system/polling.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'scoria-launcher-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** Starts a guest whose files and processes are known by the test's folder. */
function launch(...args: readonly string[]) {
  const launcher = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  launcher.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  launcher.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  return { launcher, said, ended: once(launcher, 'close') };
}

/** Processes, other than launchers, that name the test's folder on their command line: all of a guest's do. */
async function processes(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(`lab_job=${folder}`)) found.push(pid);
  }
  return found;
}

async function noProcessIsLeft(): Promise<void> {
  await until('the end of all processes', async () => ((await processes()).length === 0 ? true : undefined));
}

test('a command has its own streams and status, and all of what it says arrives', async () => {
  const { said, ended } = launch('--', 'bash', '-c', 'seq 200000; echo mistake >&2; echo é $(date +%s); exit 7');
  const [status] = await ended;
  const lines = said.stdout.trimEnd().split('\n');
  const [letter, seconds] = (lines.pop() ?? '').split(' ');
  expect({ status, letter, stderr: said.stderr }).toEqual({ status: 7, letter: 'é', stderr: 'mistake\n' });
  expect(lines).toEqual(Array.from({ length: 200_000 }, (_, index) => String(index + 1)));
  // The guest's clock is the host's.
  expect(Math.abs(Number(seconds) - Date.now() / 1000)).toBeLessThan(60);
  await noProcessIsLeft();
  expect(await readdir(folder)).toEqual([]);
});

test('only what is shared is written on the host', async () => {
  const shared = await mkdtemp(join(folder, 'shared-'));
  const stray = join(import.meta.dirname, 'stray');
  const { ended } = launch('--share', shared, '--', 'bash', '-c', `touch ${stray} && echo kept >${shared}/result`);
  expect(await ended).toEqual([0, null]);
  expect(await readFile(join(shared, 'result'), 'utf8')).toBe('kept\n');
  expect(await readdir(import.meta.dirname)).not.toContain('stray');
});

test('disks have the size that was wanted, and take discards', async () => {
  const look = 'blockdev --getsize64 /dev/ubda /dev/ubdb && blkdiscard /dev/ubdb && ! test -e /dev/ubdc';
  const { said, ended } = launch('--disk', '1', '--disk', '0.5', '--', 'bash', '-c', look);
  expect(await ended).toEqual([0, null]);
  expect(said.stdout).toBe(`${1024 ** 3}\n${512 * 1024 ** 2}\n`);
});

test('a command that does not end is killed at the deadline, with all that it started', async () => {
  const { said, ended } = launch('--deadline', '10', '--', 'bash', '-c', 'sleep 1000 & sleep 1000');
  expect(await ended).toEqual([124, null]);
  expect(said.stderr).toContain('after 10 s');
  await noProcessIsLeft();
  expect(await readdir(folder)).toEqual([]);
});

test.each([
  { signal: 'SIGTERM', how: [143, null] },
  { signal: 'SIGINT', how: [130, null] },
  { signal: 'SIGKILL', how: [null, 'SIGKILL'] },
] as const)('nothing of a guest is left after $signal', async ({ signal, how }) => {
  const { launcher, said, ended } = launch('--', 'bash', '-c', 'echo begun; sleep 1000');
  await until('the command to begin', () => (said.stdout === 'begun\n' ? true : undefined), 60_000);
  // Killed without a word, the launcher can remove nothing any more.
  await until('the guest to have no name on the host', async () => ((await readdir(folder)).length === 0 ? true : undefined));
  launcher.kill(signal);
  expect(await ended).toEqual(how);
  await noProcessIsLeft();
});

test('a guest that cannot start is told with what its kernel said', async () => {
  const { said, ended } = launch('--module', 'no-such-module', '--', 'true');
  expect(await ended).toEqual([125, null]);
  expect(said.stderr).toContain('to load modules');
  expect(said.stderr).toContain('no-such-module');
});
