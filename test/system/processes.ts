import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { until } from './polling.ts';

/** TCP's state LISTEN in /proc/net/tcp. */
const listening = '0A';

/** A port of the loopback that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port');
  return address.port;
}

/**
 * Id of the process that listens on a port of 127.0.0.1, or `undefined`. The kernel's table of sockets gives the inode,
 * the descriptors in /proc whose it is: no name of a process has to be guessed.
 */
export async function listenerOn(port: number): Promise<number | undefined> {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((line) => line.trim().split(/\s+/));
  const inode = rows.find((row) => row[1] === local && row[3] === listening)?.[9];
  if (inode === undefined) return undefined;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const descriptor of descriptors) {
      const link = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      if (link === `socket:[${inode}]`) return Number(pid);
    }
  }
  return undefined;
}

/** Whether a process is there and no zombie. */
export async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The state follows the name, which is in brackets and may hold anything.
  const state = status.slice(status.lastIndexOf(')') + 2, status.lastIndexOf(')') + 3);
  return state !== '' && state !== 'Z' && state !== 'X';
}

/** Kills a process as `kill -9` does and waits until it is gone. */
export async function killNow(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    return;
  }
  await until(`the end of process ${pid}`, async () => ((await isAlive(pid)) ? undefined : true), 10_000);
}
