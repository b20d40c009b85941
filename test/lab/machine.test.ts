import { readFile, statfs } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { run } from '../system/programs.ts';

test('the guest has the targets of device-mapper that suites stand on', async () => {
  const targets = ['thin-pool', 'snapshot', 'mirror', 'flakey', 'log-writes', 'delay', 'multipath', 'crypt'];
  await run('modprobe', ['--all', ...targets.map((name) => `dm-${name}`)], { must: true });
  const { stdout } = await run('dmsetup', ['targets'], { must: true });
  expect(stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(expect.arrayContaining(targets));
});

test('random numbers are at hand, and folders for temporary files and shared memory are in memory', async () => {
  const tmpfs = 0x0102_1994;
  expect(Number(await readFile('/proc/sys/kernel/random/entropy_avail', 'utf8'))).toBeGreaterThan(128);
  for (const folder of ['/tmp', '/dev/shm']) {
    const { type, bavail, bsize } = await statfs(folder);
    expect({ folder, type }).toEqual({ folder, type: tmpfs });
    expect(bavail * bsize).toBeGreaterThan(512 * 1024 ** 2);
  }
});

test('both families of addresses reach the loopback', async () => {
  const { stdout } = await run('ip', ['-brief', 'address', 'show', 'lo'], { must: true });
  expect(stdout).toContain('127.0.0.1/8');
  expect(stdout).toContain('::1/128');
});

test('control groups can limit the I/O of processes', async () => {
  expect((await readFile('/sys/fs/cgroup/cgroup.controllers', 'utf8')).trim().split(' ')).toContain('io');
});

test('udev runs when it was asked for, and only then', async () => {
  const { code } = await run('udevadm', ['control', '--ping']);
  expect(code === 0).toBe(process.env['LAB_UDEV'] === '1');
});
