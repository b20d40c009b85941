/**
 * Runs a command in a guest: `node test/lab/main.ts [OPTIONS] -- COMMAND`. Working directory is the checkout. Its output
 * goes to ours, its exit status is ours; 124 is the deadline, 125 a guest that died, as with timeout(1) and others.
 *
 *     --memory MIB     of the guest; 2048
 *     --disk GIB       one more disk, /dev/ubda and so on; without any there are four of 4 GiB
 *     --module NAME    one more module of the kernel to load at the start
 *     --share FOLDER   a folder that the guest writes on the host
 *     --deadline S     seconds until the guest is killed; 900
 *     --udev           run udev; the same as LAB_UDEV=1
 *     --kernel-log     print what the guest's kernel says, too
 */
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { runInGuest } from './guest.ts';

const { values, positionals: command } = parseArgs({
  allowPositionals: true,
  options: {
    memory: { type: 'string', default: '2048' },
    disk: { type: 'string', multiple: true, default: ['4', '4', '4', '4'] },
    module: { type: 'string', multiple: true, default: [] },
    share: { type: 'string', multiple: true, default: [] },
    deadline: { type: 'string', default: '900' },
    udev: { type: 'boolean', default: process.env['LAB_UDEV'] === '1' },
    'kernel-log': { type: 'boolean', default: false },
  },
});
if (command.length === 0) {
  console.error('There is nothing to run. Usage: node test/lab/main.ts [OPTIONS] -- COMMAND');
  process.exit(2);
}
const positive = z.coerce.number().positive();
const root = join(import.meta.dirname, '../..');

/** What the suites need; what these depend on is loaded with them. */
const modules = ['configfs', 'ipv6', 'loop', 'dm-mod', 'iscsi_target_mod', 'iscsi_tcp', 'sd_mod', 'sg'];

/** The end of what the kernel said, for the case that it dies. */
let kernelSaid = '';
const kernelLog = new PassThrough();
kernelLog.setEncoding('utf8').on('data', (text: string) => {
  if (values['kernel-log']) process.stderr.write(text);
  else kernelSaid = (kernelSaid + text).slice(-16_384);
});

const abort = new AbortController();
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
let caught: (typeof signals)[number] | undefined;
for (const signal of signals) {
  process.on(signal, () => {
    caught = signal;
    abort.abort();
  });
}
// Whoever started us may be killed without a word to us.
const parent = process.ppid;
const watch = setInterval(() => process.ppid !== parent && abort.abort(), 500);

const end = await runInGuest({
  command,
  directory: root,
  environment: {
    ...process.env,
    PATH: `${join(root, 'node_modules/.bin')}:/usr/sbin:/sbin:${process.env['PATH'] ?? ''}`,
    TMPDIR: '/tmp',
  },
  memory: positive.parse(values.memory) * 1024 ** 2,
  disks: z
    .array(positive)
    .max(16)
    .parse(values.disk)
    .map((size) => size * 1024 ** 3),
  modules: [...modules, ...values.module],
  shares: values.share.map((folder) => resolve(folder)),
  udev: values.udev,
  deadline: positive.parse(values.deadline) * 1000,
  stdout: process.stdout,
  stderr: process.stderr,
  kernelLog,
  signal: abort.signal,
});
clearInterval(watch);

switch (end.how) {
  case 'exited':
    process.exitCode = end.status;
    break;
  case 'deadline':
    console.error(`The guest was killed: its command had not ended after ${values.deadline} s.`);
    process.exitCode = 124;
    break;
  case 'aborted':
    process.exitCode = 128 + constants.signals[caught ?? 'SIGHUP'];
    break;
  case 'died':
    console.error(`The guest died. ${end.reason}. Its kernel said:\n${kernelSaid}`);
    process.exitCode = 125;
    break;
}
