import { randomBytes } from 'node:crypto';
import { constants, open, readdir, readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { run } from '../system/programs.ts';
import { exportThroughKernel } from './fixtures/kernel-target.ts';
import { login, logout, startIscsid } from './fixtures/open-iscsi.ts';
import { startTgtd } from './fixtures/tgtd.ts';
import { volumeGroup } from './fixtures/volume-group.ts';

const target = 'iqn.2026-01.org.scoria.lab:volume';
const chap = { user: 'scoria', secret: 'a-secret-of-16-b' };

/** Makes a logical volume; gives its device. */
async function logicalVolume(group: string): Promise<string> {
  await run('lvcreate', ['--name', 'volume', '--size', '64m', group], { must: true });
  return `/dev/${group}/volume`;
}

/** A logical volume that the kernel's target serves, and an initiator that may log in. */
async function exportedVolume(portals: readonly string[]): Promise<AsyncDisposable & { readonly device: string }> {
  await using made = new AsyncDisposableStack();
  const group = made.use(await volumeGroup());
  const { initiator } = made.use(await startIscsid());
  const device = await logicalVolume(group.name);
  made.use(await exportThroughKernel({ name: 'volume', device, target, portals, initiator, ...chap }));
  const kept = made.move();
  return { device, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Writes through the session's disk and compares what is on the logical volume. */
async function compareThrough(disk: string, volume: string): Promise<void> {
  const bytes = randomBytes(4 * 1024 ** 2);
  {
    await using file = await open(disk, 'r+');
    await file.write(bytes, 0, bytes.length, 1024 ** 2);
    await file.sync();
  }
  // Another node of the same blocks has a cache of its own.
  await run('blockdev', ['--flushbufs', volume], { must: true });
  await using file = await open(volume, constants.O_RDONLY);
  const { buffer } = await file.read(Buffer.alloc(bytes.length), 0, bytes.length, 1024 ** 2);
  expect(buffer.equals(bytes)).toBe(true);
}

test("the kernel's target serves a logical volume to the kernel's initiator over IPv4 and IPv6", async () => {
  const portals = ['127.0.0.1:3260', '[::1]:3260'];
  await using exported = await exportedVolume(portals);
  for (const portal of portals) {
    const disk = await login({ target, portal, ...chap });
    await compareThrough(disk, exported.device);
    await logout(target);
    expect(await readdir('/sys/class/iscsi_session')).toEqual([]);
  }
});

test('a wrong secret is refused', async () => {
  await using _exported = await exportedVolume(['127.0.0.1:3260']);
  await expect(login({ target, portal: '127.0.0.1:3260', ...chap, secret: 'another-of-16-by' })).rejects.toThrow('ended with 24');
});

test("tgt serves a logical volume to the kernel's initiator", async () => {
  await using group = await volumeGroup();
  await using _iscsid = await startIscsid();
  await using tgtd = await startTgtd();
  const device = await logicalVolume(group.name);
  await tgtd.admin('--op', 'new', '--mode', 'target', '--tid', '1', '--targetname', target);
  // Its LUN 0 is a controller.
  await tgtd.admin('--op', 'new', '--mode', 'logicalunit', '--tid', '1', '--lun', '1', '--backing-store', device);
  await tgtd.admin('--op', 'new', '--mode', 'account', '--user', chap.user, '--password', chap.secret);
  await tgtd.admin('--op', 'bind', '--mode', 'account', '--tid', '1', '--user', chap.user);
  await tgtd.admin('--op', 'bind', '--mode', 'target', '--tid', '1', '--initiator-address', 'ALL');
  const disk = await login({ target, portal: '127.0.0.1:3260', lun: 1, ...chap });
  await compareThrough(disk, device);
});

test('multipath goes on when one of two paths ends', async () => {
  const portals = ['127.0.0.1:3260', '[::1]:3260'];
  await using exported = await exportedVolume(portals);
  const disks: string[] = [];
  for (const portal of portals) disks.push(await login({ target, portal, ...chap }));
  const numbers = await Promise.all(
    disks.map(async (disk) => (await readFile(`/sys/block/${disk.slice('/dev/'.length)}/dev`, 'utf8')).trim()),
  );
  const paths = numbers.map((number) => `round-robin 0 1 1 ${number} 1`).join(' ');
  const table = `0 ${(64 * 1024 ** 2) / 512} multipath 0 0 2 1 ${paths}`;
  await run('dmsetup', ['create', 'paths', '--table', table], { must: true });
  try {
    await compareThrough('/dev/mapper/paths', exported.device);
    await run('iscsiadm', ['--mode', 'node', '--targetname', target, '--portal', '127.0.0.1:3260', '--logout']);
    await compareThrough('/dev/mapper/paths', exported.device);
  } finally {
    await run('dmsetup', ['remove', '--retry', 'paths'], { must: true });
  }
});
