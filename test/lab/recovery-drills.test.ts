import { open, readFile, writeFile } from 'node:fs/promises';
import type { Command, Exec } from '@scoria/core';
import { describe, expect, test } from 'vitest';
import { takeDisks } from './fixtures/disks.ts';
import { call, Drill, fieldOf, ids, must, nameOf, pool, system } from './fixtures/drill.ts';
import { failingDisk } from './fixtures/failing-disk.ts';
import { volumeGroup } from './fixtures/volume-group.ts';

// The drills of docs/lvm.md, as an operator plays them: what breaks, what the driver says of it, and that the commands of
// the guide mend it with nothing lost. thin-pool-drills.test.ts has those of thin pools; driver-lvm.test.ts has full pools,
// lost snapshots, and what a killed service leaves.

const long = test.runIf(process.env['LAB_LONG'] === '1');
const MiB = 1024 ** 2;

/** Overwrites a range of a device, in bytes. */
async function scribble(path: string, from: number, to: number): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.alloc(to - from, 0x5a), 0, to - from, from);
  await file.sync();
}

describe('damaged metadata of a group', () => {
  /** Where LVM keeps the copy of a group's metadata as they are after the last change. */
  const backup = (group: string) => `/etc/lvm/backup/${group}`;

  test('nothing is taken for gone, active volumes are served on, and pvck mends it while they are in use', async () => {
    await using group = await volumeGroup({ name: 'torn' });
    const [disk = ''] = group.devices;
    const drill = new Drill(group.name, { thinPool: { size: 64 * MiB } });
    await drill.restarted();
    const volume = await drill.volume();
    await drill.write(volume, 1);
    const kept = await drill.snapshot(volume);
    // Behind the header of the metadata area: all texts that it ever held.
    await scribble(disk, 4608, MiB);

    const told = {
      code: 'backend-unavailable',
      message: expect.stringMatching(/Volume group "torn" not found/),
      remedy: expect.stringMatching(/pvs.*drills/),
    };
    expect(await drill.byteOf(volume)).toBe(1);
    drill.later();
    await expect(drill.driver.pools(call)).rejects.toMatchObject(told);
    await expect(drill.listed()).rejects.toMatchObject(told);
    await expect(drill.driver.create(drill.object(), call)).rejects.toMatchObject(told);
    await expect(drill.restarted()).rejects.toMatchObject(told);
    // A process that has never seen the group whole must not tell that its volumes are gone, nor that it deleted them.
    await expect(drill.driver.locate(volume, call)).rejects.toMatchObject(told);
    await expect(drill.driver.delete(volume, call)).rejects.toMatchObject(told);
    await expect(drill.driver.deleteSnapshot(kept, call)).rejects.toMatchObject(told);

    await must('pvck', '--yes', '--repair', '--file', backup(group.name), disk);
    await drill.driver.check(call);
    expect(await drill.listed()).toEqual(ids(volume, kept));
    expect([await drill.byteOf(volume), await drill.byteOf(kept)]).toEqual([1, 1]);
    await drill.write(await drill.volume(), 2);
  });

  long('a disk whose label is gone, too, comes back, also when nothing was active', async () => {
    await using group = await volumeGroup({ name: 'blank' });
    const [disk = ''] = group.devices;
    const drill = new Drill(group.name, { thinPool: { size: 64 * MiB } });
    await drill.restarted();
    const volume = await drill.volume();
    await drill.write(volume, 1);
    await must('vgchange', '--activate', 'n', group.name);
    await scribble(disk, 0, MiB);
    await expect(drill.restarted()).rejects.toMatchObject({ code: 'backend-unavailable' });
    await expect(drill.driver.locate(volume, call)).rejects.toMatchObject({ code: 'backend-unavailable' });
    await must('pvck', '--yes', '--repair', '--file', backup(group.name), disk);
    await drill.restarted();
    expect(await drill.listed()).toEqual(ids(volume));
    expect(await drill.byteOf(volume)).toBe(1);
  });

  long('metadata that are older than the thin pool are told, and work with the transaction id of the pool', async () => {
    await using group = await volumeGroup({ name: 'old' });
    const [disk = ''] = group.devices;
    const drill = new Drill(group.name, { thinPool: { size: 64 * MiB } });
    await drill.restarted();
    const volume = await drill.volume();
    await drill.write(volume, 1);
    const older = await readFile(backup(group.name), 'utf8');
    const younger = await drill.volume();
    await writeFile('/tmp/older', older);
    await scribble(disk, 4608, MiB);
    await must('pvck', '--yes', '--repair', '--file', '/tmp/older', disk);

    await drill.restarted();
    const told = { code: 'backend-failed', message: expect.stringMatching(/unexpected transaction id 2, expecting 1/) };
    await expect(drill.driver.create(drill.object(), call)).rejects.toMatchObject(told);
    expect(await drill.byteOf(volume)).toBe(1);

    // Its device is there as long as nobody removes it, and LVM knows nothing of it.
    await must('dmsetup', 'remove', `${group.name}-${nameOf(younger).replaceAll('-', '--')}`);
    await must('vgcfgbackup', '--file', '/tmp/mended', group.name);
    const text = await readFile('/tmp/mended', 'utf8');
    await writeFile('/tmp/mended', text.replace('transaction_id = 1', 'transaction_id = 2'));
    await must('vgcfgrestore', '--yes', '--force', '--file', '/tmp/mended', group.name);
    await drill.driver.check(call);
    await drill.write(await drill.volume(), 2);
    expect(await drill.byteOf(volume)).toBe(1);
  });
});

describe('a missing disk', () => {
  test('is told; whole volumes are served on; it comes back with what lay on it, or is given up', async () => {
    await using failing = await failingDisk();
    const [whole = ''] = await takeDisks(1);
    await using group = await volumeGroup({ name: 'partial', devices: [whole, failing.path] });
    const drill = new Drill(group.name, { provisioning: 'thick', freeSpace: 'zeroed' });
    await drill.restarted();
    await must('pvchange', '--allocatable', 'n', whole);
    const lost = await drill.volume();
    await drill.write(lost, 2);
    await must('pvchange', '--allocatable', 'y', whole);
    await must('pvchange', '--allocatable', 'n', failing.path);
    const [kept, deleted] = [await drill.volume(), await drill.volume()];
    await drill.write(kept, 1);
    await must('lvchange', '--activate', 'n', `${group.name}/${nameOf(lost)}`);

    await failing.fail();
    const lacks = { code: 'backend-unavailable', message: expect.stringMatching(/lacks 1 of its physical volumes/) };
    await expect(drill.restarted()).rejects.toMatchObject(lacks);
    expect((await drill.driver.pools(call))[0]?.free).toBe(0);
    expect(await drill.listed()).toEqual(ids(lost, kept, deleted));
    expect(await drill.byteOf(kept)).toBe(1);
    const refused = { code: 'backend-unavailable', message: expect.stringMatching(/Refusing activation of partial LV/) };
    await expect(drill.driver.locate(lost, call)).rejects.toMatchObject(refused);
    const unchangeable = {
      code: 'backend-unavailable',
      message: expect.stringMatching(/Cannot change VG .* while PVs are missing/),
    };
    await expect(drill.driver.create(drill.object(), call)).rejects.toMatchObject(unchangeable);
    await drill.driver.delete(deleted, call);

    // The group has changed without the disk, so that LVM does not take it back by itself.
    await failing.mend();
    await expect(drill.driver.check(call)).rejects.toMatchObject(lacks);
    await must('vgextend', '--restoremissing', group.name, failing.path);
    await drill.driver.check(call);
    expect(await drill.listed()).toEqual(ids(lost, kept));
    expect([await drill.byteOf(lost), await drill.byteOf(kept)]).toEqual([2, 1]);

    await failing.fail();
    await expect(drill.driver.check(call)).rejects.toMatchObject(lacks);
    await must('vgreduce', '--removemissing', '--force', group.name);
    await drill.driver.check(call);
    expect(await drill.listed()).toEqual(ids(kept));
    await expect(drill.driver.locate(lost, call)).rejects.toMatchObject({ code: 'backend-object-missing' });
    await drill.driver.delete(lost, call);
    expect(await drill.byteOf(kept)).toBe(1);

    // One that was given up and turns up again is no part of the group, and does no harm.
    await failing.mend();
    await drill.restarted();
    await drill.write(await drill.volume(), 3);
    await must('vgck', '--updatemetadata', group.name);
  });

  long('takes a thin pool with it that had a part there; after it is given up a pool is made anew', async () => {
    await using failing = await failingDisk();
    const [whole = ''] = await takeDisks(1);
    await using group = await volumeGroup({ name: 'shared', devices: [whole, failing.path] });
    const drill = new Drill(group.name, {});
    await drill.restarted();
    const volume = await drill.volume();
    await drill.write(volume, 1);
    await failing.fail();
    await expect(drill.restarted()).rejects.toMatchObject({ code: 'backend-unavailable' });
    expect(await drill.listed()).toEqual(ids(volume));
    await must('vgreduce', '--removemissing', '--force', group.name);
    await drill.driver.check(call);
    expect(await drill.listed()).toEqual(new Set());
    await expect(drill.driver.locate(volume, call)).rejects.toMatchObject({ code: 'backend-object-missing' });
    await drill.volume();
    await failing.mend();
    await must('vgck', '--updatemetadata', group.name);
  });
});

describe('changes by hand', () => {
  test('a volume or pool under another name, or without its tags, is neither taken for gone nor touched', async () => {
    await using group = await volumeGroup({ name: 'hand' });
    const drill = new Drill(group.name, { thinPool: { size: 64 * MiB } });
    await drill.restarted();
    const [renamed, untagged] = [await drill.volume(), await drill.volume()];
    await drill.write(renamed, 1);
    await drill.write(untagged, 2);
    const path = (name: string) => `${group.name}/${name}`;
    await must('lvrename', group.name, nameOf(renamed), 'precious');
    await drill.restarted();
    const elsewhere = {
      code: 'backend-failed',
      message: expect.stringMatching(/hand\/volume-\S+ is called hand\/precious/),
      remedy: expect.stringMatching(/lvrename hand precious volume-/),
    };
    await expect(drill.driver.locate(renamed, call)).rejects.toMatchObject(elsewhere);
    await expect(drill.driver.delete(renamed, call)).rejects.toMatchObject(elsewhere);
    await must('lvrename', group.name, 'precious', nameOf(renamed));
    expect(await drill.byteOf(renamed)).toBe(1);

    const tags = (await fieldOf(path(nameOf(untagged)), 'lv_tags')).split(',');
    await must('lvchange', ...tags.flatMap((tag) => ['--deltag', tag]), path(nameOf(untagged)));
    await drill.restarted();
    expect(await drill.listed()).toEqual(ids(renamed));
    await must('lvchange', ...tags.flatMap((tag) => ['--addtag', tag]), path(nameOf(untagged)));
    expect(await drill.byteOf(untagged)).toBe(2);

    await must('lvrename', group.name, pool, 'other-pool');
    const otherPool = {
      code: 'backend-unavailable',
      message: expect.stringMatching(/has no thin pool scoria-pool, but volumes of ours in other-pool/),
      remedy: expect.stringMatching(/lvrename hand other-pool scoria-pool/),
    };
    await expect(drill.restarted()).rejects.toMatchObject(otherPool);
    await must('lvrename', group.name, 'other-pool', pool);
    await drill.driver.check(call);
    expect(await drill.listed()).toEqual(ids(renamed, untagged));
    expect([await drill.byteOf(renamed), await drill.byteOf(untagged)]).toEqual([1, 2]);
  });
});

describe('a start', () => {
  test('of the host finds all volumes idle and activates them; a metadata snapshot that a crash left is let go', async () => {
    await using group = await volumeGroup({ name: 'booted' });
    const drill = new Drill(group.name, { thinPool: { size: 64 * MiB } });
    await drill.restarted();
    const volume = await drill.volume();
    await drill.write(volume, 1);
    const kept = await drill.snapshot(volume);
    await must('vgchange', '--activate', 'n', group.name);
    await drill.restarted();
    expect([await drill.byteOf(volume), await drill.byteOf(kept)]).toEqual([1, 1]);

    const device = `${group.name}-scoria--pool-tpool`;
    await must('dmsetup', 'message', device, '0', 'reserve_metadata_snap');
    // thin-provisioning.rst: … used/total metadata, used/total data, held metadata root …
    const held = async () => (await must('dmsetup', 'status', device)).stdout.trim().split(/\s+/)[6];
    expect(await held()).not.toBe('-');
    await drill.restarted();
    expect(await held()).toBe('-');
  });
});

describe('a command of LVM that hangs', () => {
  test('is ended by its deadline, and keeps no other group from being used', async () => {
    await using group = await volumeGroup({ name: 'sound' });
    const isStuck = ({ args }: Command) => args.some((arg) => /^stuck($|\/)/.test(arg));
    const exec: Exec = {
      run: (command) => system.run(isStuck(command) ? { ...command, program: 'sleep', args: ['1000'], deadline: 500 } : command),
      lines: (command) => system.lines(command),
    };
    const config = { volumeGroups: ['stuck', group.name], thinPool: { size: 64 * MiB } };
    const drill = new Drill(group.name, config, exec);
    await drill.restarted();
    expect(await drill.driver.pools(call)).toMatchObject([
      { name: 'stuck', fault: { code: 'deadline-exceeded' }, free: 0 },
      { name: group.name, free: expect.toSatisfy((free: number) => free > 0) },
    ]);
    const volume = await drill.volume();
    expect(await drill.byteOf(volume)).toBe(0);
    const ended = { code: 'deadline-exceeded', message: expect.stringMatching(/did not end within 500 ms/) };
    await expect(drill.driver.create({ ...drill.object(), pool: 'stuck' }, call)).rejects.toMatchObject(ended);
    // A part of the list would look as if the rest were gone.
    await expect(drill.listed()).rejects.toMatchObject(ended);
  });

  long(
    'because of a dead disk hangs for all that look at the disk; a filter of the backend keeps others from it',
    async () => {
      await using dead = await failingDisk('dead');
      const disks = await takeDisks(1);
      await using group = await volumeGroup({ name: 'sound', devices: disks });
      await must('vgcreate', '--yes', 'dead', dead.path);
      const thinPool = { size: 64 * MiB };
      // With its hints LVM looks at the disks of a group alone, until a disk comes or goes.
      const everyDisk = 'devices { hints = "none" }';
      const drill = new Drill(group.name, { thinPool, lvmConfig: everyDisk, deadlines: { report: 10_000 } });
      await drill.restarted();
      await dead.hang();
      drill.later();
      try {
        await expect(drill.driver.pools(call)).rejects.toMatchObject({ code: 'deadline-exceeded' });
        drill.config = { thinPool, lvmConfig: `${everyDisk} devices { global_filter = [ "r|${dead.path}|" ] }` };
        await drill.restarted();
        await drill.write(await drill.volume(), 1);
      } finally {
        await dead.mend();
      }
      await must('vgremove', '--yes', 'dead');
    },
    120_000,
  );
});
