import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { takeDisks } from './fixtures/disks.ts';
import { call, Drill, fieldOf, ids, must, pool } from './fixtures/drill.ts';
import { volumeGroup } from './fixtures/volume-group.ts';

// The drills of docs/lvm.md that are about thin pools: how they grow, warn, and are repaired.

const long = test.runIf(process.env['LAB_LONG'] === '1');
const MiB = 1024 ** 2;

/**
 * Overwrites the root of the map of free blocks in a thin pool's metadata (kernel: dm-thin-metadata.c, `struct
 * thin_disk_superblock`); what belongs to which volume is not in it.
 */
async function breakSpaceMap(disk: string, start: number): Promise<void> {
  await must('dd', `if=${disk}`, 'bs=4096', `skip=${start / 4096}`, 'count=1', 'iflag=direct', 'of=/tmp/superblock');
  const root = Number((await readFile('/tmp/superblock')).readBigUInt64LE(80));
  await must(
    'dd',
    'if=/dev/urandom',
    `of=${disk}`,
    'bs=4096',
    `seek=${start / 4096 + root}`,
    'count=1',
    'oflag=direct',
    'conv=notrunc',
  );
}

/** Lets the metadata of an inactive pool be changed as text (thin_dump(8)). */
async function rewrite(group: string, change: (text: string) => string): Promise<void> {
  const swap = () => must('lvconvert', '--yes', '--thinpool', `${group}/${pool}`, '--poolmetadata', `${group}/swap`);
  const size = await fieldOf(`${group}/${pool}`, 'lv_metadata_size');
  await must('lvcreate', '--yes', '--name', 'swap', '--size', `${size}b`, group);
  await swap();
  await must('lvchange', '--activate', 'y', `${group}/swap`);
  const { stdout } = await must('thin_dump', `/dev/${group}/swap`);
  await writeFile('/tmp/metadata.xml', change(stdout));
  await must('thin_restore', '--input', '/tmp/metadata.xml', '--output', `/dev/${group}/swap`);
  await must('lvchange', '--activate', 'n', `${group}/swap`);
  await swap();
  await must('lvremove', '--yes', `${group}/swap`);
}

describe('a thin pool that fills up', () => {
  test('grows while its group has room, then the alarm tells when it will be full; a new disk lets it grow again', async () => {
    await using group = await volumeGroup({ name: 'filling' });
    const drill = new Drill(group.name, {
      thinPool: { size: 64 * MiB, autoExtend: { threshold: 50, percent: 50 } },
    });
    await drill.restarted();
    const volume = await drill.volume(256 * MiB);
    /** What the pool has after so many bytes of the volume have been written, half a minute after the last report. */
    const totalAfter = async (written: number) => {
      await drill.write(volume, 1, 0, written);
      drill.time += 30_000;
      return (await drill.driver.pools(call))[0]?.total;
    };
    expect(await totalAfter(16 * MiB)).toBe(64 * MiB);
    expect(await totalAfter(40 * MiB)).toBe(96 * MiB);
    expect(drill.messages('warn')).toEqual([]);

    await must('lvcreate', '--yes', '--name', 'foreign', '--extents', '100%FREE', group.name);
    expect(await totalAfter(64 * MiB)).toBe(96 * MiB);
    expect(drill.messages('warn')).toEqual([expect.stringMatching(/filling\/scoria-pool cannot grow: .* no free extents/)]);
    expect(await totalAfter(80 * MiB)).toBe(96 * MiB);
    expect(drill.messages('warn')).toEqual([
      expect.stringMatching(/^Thin pool filling\/scoria-pool is 83 % full, full in about \d+ s if it goes on like this/),
    ]);
    expect(await totalAfter(92 * MiB)).toBe(96 * MiB);
    expect(drill.messages('error')).toEqual([
      expect.stringMatching(/^Thin pool filling\/scoria-pool is 95 % full, full in about \d+ s if it goes on like this/),
    ]);

    const more = await takeDisks(1);
    await must('vgextend', '--yes', group.name, ...more);
    expect((await drill.driver.pools(call))[0]?.total).toBe(144 * MiB);
    await must('lvremove', '--yes', `${group.name}/foreign`);
    await drill.write(volume, 2, 92 * MiB, 32 * MiB);
  });

  test('its metadata grow, too; from their limit on it promises nothing', async () => {
    await using group = await volumeGroup({ name: 'mapped' });
    const size = { size: 512 * MiB, metadataSize: 4 * MiB };
    // Eleven percent are in use when there is one volume.
    const drill = new Drill(group.name, { thinPool: { ...size, autoExtend: { threshold: 11, percent: 20 } } });
    await drill.restarted();
    const volume = await drill.volume(64 * MiB);
    await drill.write(volume, 1, 0, 40 * MiB);
    const [report] = await drill.driver.pools(call);
    expect(report?.total).toBe(512 * MiB);
    expect(await fieldOf(`${group.name}/${pool}`, 'lv_metadata_size')).toBe(String(8 * MiB));
    expect(report?.free).toBeGreaterThan(400 * MiB);

    drill.config = { thinPool: { ...size, metadataLimit: 5 } };
    await drill.restarted();
    expect((await drill.driver.pools(call))[0]?.free).toBe(0);
    expect(drill.messages('warn')).toEqual([
      expect.stringMatching(/mapped\/scoria-pool takes no more volumes: \S+ % of its metadata/),
    ]);
    expect(await drill.byteOf({ ...volume, size: 40 * MiB })).toBe(1);
  });

  long('makes no volumes when its metadata are nearly full, and goes on at once when they are made larger', async () => {
    await using group = await volumeGroup({ name: 'crowded' });
    const drill = new Drill(group.name, { thinPool: { size: 512 * MiB, metadataSize: 4 * MiB } });
    await drill.restarted();
    const volume = await drill.volume(64 * MiB);
    await drill.write(volume, 1, 0, 8 * MiB);
    await must('vgchange', '--activate', 'n', group.name);
    // Volumes that LVM does not know of, which share the pool's blocks, take four fifths of the metadata.
    const mappings = '<range_mapping origin_begin="0" data_begin="0" length="4000" time="0"/>';
    const crowd = Array.from(
      { length: 20 },
      (_, index) =>
        `<device dev_id="${1000 + index}" mapped_blocks="4000" transaction="0" creation_time="0" snap_time="0">${mappings}</device>`,
    );
    await rewrite(group.name, (text) => text.replace('</superblock>', `${crowd.join('\n')}\n</superblock>`));
    await drill.restarted();
    expect((await drill.driver.pools(call))[0]?.free).toBe(0);
    const told = { code: 'device-no-space', message: expect.stringMatching(/in metadata of thin pool .* too low/) };
    await expect(drill.driver.create(drill.object(), call)).rejects.toMatchObject(told);
    await must('lvextend', '--poolmetadatasize', '+4m', `${group.name}/${pool}`);
    await drill.write(volume, 1, 0, 16 * MiB);
    await drill.write(await drill.volume(), 2);
  });
});

describe('a thin pool whose metadata are damaged', () => {
  test('is told with what repairs it, and has lost nothing after the repair', async () => {
    await using group = await volumeGroup({ name: 'bent' });
    const [disk = ''] = group.devices;
    const drill = new Drill(group.name, { thinPool: { size: 64 * MiB } });
    await drill.restarted();
    const volume = await drill.volume();
    await drill.write(volume, 1);
    const { stdout: table } = await must('dmsetup', 'table', `${group.name}-scoria--pool_tmeta`);
    const start = Number(table.trim().split(' ').at(-1)) * 512;
    await must('vgchange', '--activate', 'n', group.name);
    await breakSpaceMap(disk, start);

    const told = {
      code: 'backend-failed',
      message: expect.stringMatching(/Check of pool bent\/scoria-pool failed .* Manual repair required/),
      remedy: expect.stringMatching(/lvconvert --repair/),
    };
    await expect(drill.restarted()).rejects.toMatchObject(told);
    await expect(drill.driver.locate(volume, call)).rejects.toMatchObject(told);
    expect(await drill.listed()).toEqual(ids(volume));

    await must('lvconvert', '--yes', '--repair', `${group.name}/${pool}`);
    await drill.driver.check(call);
    expect(await drill.listed()).toEqual(ids(volume));
    expect(await drill.byteOf(volume)).toBe(1);
    await drill.write(await drill.volume(), 2);
    await must('lvremove', '--yes', `${group.name}/${pool}_meta0`);
  });
});

describe('a thin pool that needs a check', () => {
  long('is read-only and told, until a check at its activation has cleared that', async () => {
    await using group = await volumeGroup({ name: 'checked' });
    const drill = new Drill(group.name, { thinPool: { size: 64 * MiB } });
    await drill.restarted();
    const volume = await drill.volume();
    await drill.write(volume, 1);
    await must('vgchange', '--activate', 'n', group.name);
    await rewrite(group.name, (text) => text.replace('flags="0"', 'flags="1"'));
    // By default the check at the activation finds nothing wrong, and leaves the flag.
    await drill.restarted();
    expect(await fieldOf(`${group.name}/${pool}`, 'lv_check_needed')).toBe('check needed');
    const [report] = await drill.driver.pools(call);
    expect(report).toMatchObject({
      free: 0,
      fault: { message: expect.stringMatching(/the kernel says that it is metadata_read_only/) },
    });
    const told = { code: 'backend-failed', message: expect.stringMatching(/needs check has read-only metadata/) };
    await expect(drill.driver.create(drill.object(), call)).rejects.toMatchObject(told);
    expect(await drill.byteOf(volume)).toBe(1);

    await must('vgchange', '--activate', 'n', group.name);
    const clearing = 'global/thin_check_options = [ "-q", "--clear-needs-check-flag" ]';
    await must('vgchange', '--activate', 'y', '--config', clearing, group.name);
    await drill.driver.check(call);
    expect(await drill.byteOf(volume)).toBe(1);
    await drill.write(await drill.volume(), 2);
  });
});
