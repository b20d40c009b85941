import { open, readdir } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { until } from '../system/polling.ts';
import { run } from '../system/programs.ts';
import { volumeGroup } from './fixtures/volume-group.ts';

const mebibyte = 1024 ** 2;

async function writeAt(device: string, offset: number, bytes: Buffer): Promise<void> {
  await using file = await open(device, 'r+');
  await file.write(bytes, 0, bytes.length, offset);
  await file.sync();
}

async function readAt(device: string, offset: number, length: number): Promise<Buffer> {
  await using file = await open(device, 'r');
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
  return buffer;
}

test('thick volumes keep their bytes, and a merged snapshot brings the old ones back', async () => {
  await using group = await volumeGroup();
  const volume = `/dev/${group.name}/thick`;
  const [first, second] = [randomBytes(mebibyte), randomBytes(mebibyte)];
  await run('lvcreate', ['--yes', '--name', 'thick', '--size', '64m', group.name], { must: true });
  await writeAt(volume, mebibyte, first);
  await run('lvcreate', ['--snapshot', '--name', 'before', '--size', '32m', `${group.name}/thick`], { must: true });
  await writeAt(volume, mebibyte, second);
  expect(await readAt(`/dev/${group.name}/before`, mebibyte, mebibyte)).toEqual(first);
  await run('lvconvert', ['--merge', `${group.name}/before`], { must: true });
  await until('the merge to end', async () => {
    const { stdout } = await run('lvs', ['--noheadings', '--options', 'lv_name', group.name], { must: true });
    return stdout.trim() === 'thick' ? true : undefined;
  });
  expect(await readAt(volume, mebibyte, mebibyte)).toEqual(first);
});

test('thin volumes take space as they are written, and give it back when they are discarded', async () => {
  await using group = await volumeGroup({ disks: 2 });
  const used = async () => {
    const { stdout } = await run('lvs', ['--noheadings', '--options', 'data_percent', `${group.name}/pool`], { must: true });
    return Number(stdout);
  };
  await run('lvcreate', ['--type', 'thin-pool', '--name', 'pool', '--size', '128m', group.name], { must: true });
  await run('lvcreate', ['--name', 'thin', '--virtualsize', '1g', '--thinpool', 'pool', group.name], { must: true });
  expect(await used()).toBe(0);
  await writeAt(`/dev/${group.name}/thin`, 900 * mebibyte, randomBytes(64 * mebibyte));
  expect(await used()).toBe(50);
  await run('lvcreate', ['--snapshot', '--name', 'copy', '--setactivationskip', 'n', `${group.name}/thin`], { must: true });
  await run('blkdiscard', [`/dev/${group.name}/thin`], { must: true });
  expect(await used()).toBe(50);
  await run('lvremove', ['--yes', `${group.name}/copy`], { must: true });
  expect(await used()).toBe(0);
});

test('a volume group leaves nothing when it is given back', async () => {
  const group = await volumeGroup({ disks: 2 });
  await run('lvcreate', ['--name', 'left', '--size', '8m', group.name], { must: true });
  await group[Symbol.asyncDispose]();
  expect(await readdir('/dev/mapper')).toEqual(['control']);
  const { stdout } = await run('pvs', ['--noheadings'], { must: true });
  expect(stdout).toBe('');
});
