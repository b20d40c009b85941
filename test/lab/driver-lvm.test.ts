import {
  openPathDevice,
  silentLog,
  SystemExec,
  systemClock,
  systemRandom,
  type AnyVolumeDriver,
  type BackendObject,
  type BlockDevice,
  type Exec,
  type PluginCall,
} from '@scoria/core';
import plugin from '@scoria/driver-lvm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../system/programs.ts';
import { logicalVolumes, volumeGroup, type VolumeGroup } from './fixtures/volume-group.ts';

const MiB = 1024 ** 2;
const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const installationId = systemRandom.uuid();
const exec = new SystemExec({ clock: systemClock, log: silentLog });

const thin = { provisioning: 'thin', thinPool: { name: 'pool', size: 64 * MiB } };
const zeroedThick = { provisioning: 'thick', freeSpace: 'zeroed' };

/** A driver as after a start of the service, its backend checked. */
async function start(group: string, config: Record<string, unknown>, through: Exec = exec): Promise<AnyVolumeDriver> {
  const driver = plugin.create({
    ...{ name: 'lvm', config: { volumeGroups: [group], ...config }, installationId, baseDirectory: '/' },
    ...{ clock: systemClock, random: systemRandom, log: silentLog, exec: through },
  });
  await driver.check(call);
  return driver;
}
const request = (pool: string, size: number): BackendObject => ({
  placementId: systemRandom.uuid(),
  pool,
  backendRef: null,
  size,
});
async function volume(driver: AnyVolumeDriver, pool: string, size: number): Promise<BackendObject> {
  const wanted = request(pool, size);
  return { ...wanted, ...(await driver.create(wanted, call)) };
}
async function snapshot(driver: AnyVolumeDriver, of: BackendObject): Promise<BackendObject> {
  const wanted = request(of.pool, of.size);
  const { backendRef, size } = await driver.createSnapshot(wanted, of, call);
  return { ...wanted, backendRef, size };
}
async function opened<T>(driver: AnyVolumeDriver, object: BackendObject, work: (device: BlockDevice) => Promise<T>): Promise<T> {
  const device = await openPathDevice(await driver.locate(object, call), { readOnly: false, io: 'pool' });
  try {
    return await work(device);
  } finally {
    await device.close();
  }
}
const filled = (device: BlockDevice, byte: number, offset = 0, length = device.size - offset) =>
  device.write(new Uint8Array(length).fill(byte), offset);
/** The one byte of which a range consists, or `mixed`. */
async function only(device: BlockDevice, offset = 0, length = device.size - offset): Promise<number | 'mixed'> {
  const content = Buffer.alloc(length, 0xa5);
  await device.read(content, offset);
  const [first = -1] = content;
  return content.every((byte) => byte === first) ? first : 'mixed';
}
async function removeAll(driver: AnyVolumeDriver): Promise<void> {
  for (const wanted of ['snapshot', 'volume'] as const) {
    for await (const { kind, ...object } of driver.list(call)) {
      if (kind !== wanted) continue;
      await (kind === 'volume' ? driver.delete(object, call) : driver.deleteSnapshot(object, call));
    }
  }
}

describe('thick', () => {
  let group: VolumeGroup;
  beforeAll(async () => {
    group = await volumeGroup({ name: 'lab-thick' });
  });
  afterAll(() => group[Symbol.asyncDispose]());

  test.each([
    { freeSpace: 'unknown', erase: 'none' },
    { freeSpace: 'unknown', erase: 'discard' },
    { freeSpace: 'zeroed', erase: 'zero' },
    { freeSpace: 'zeroed', erase: 'overwrite' },
  ])('no byte of a volume or snapshot shows up again with $freeSpace free space and erase "$erase"', async (config) => {
    const driver = await start(group.name, { provisioning: 'thick', ...config });
    const old = await volume(driver, group.name, 8 * MiB);
    await opened(driver, old, (device) => filled(device, 1));
    const kept = await snapshot(driver, old);
    await opened(driver, old, (device) => filled(device, 2));
    await driver.deleteSnapshot(kept, call);
    await driver.delete(old, call);
    const fresh = await volume(driver, group.name, 4 * MiB);
    // Grows over the rest of what was freed, while it is open.
    await opened(driver, fresh, async (device) => {
      await driver.extend(fresh, 24 * MiB, call);
      expect(await device.refreshSize()).toBe(24 * MiB);
      expect(await only(device)).toBe(0);
    });
    const small = { ...fresh, ...(await driver.shrink?.(fresh, 4 * MiB, call)) };
    expect(small.size).toBe(4 * MiB);
    await driver.delete(small, call);
    expect(await logicalVolumes(group.name)).toEqual([]);
  });

  test('a snapshot that ran full is told as lost, and its volume is as it was', async () => {
    const driver = await start(group.name, { ...zeroedThick, snapshotReserve: 0.25 });
    const source = await volume(driver, group.name, 16 * MiB);
    const lost = await snapshot(driver, source);
    await opened(driver, source, async (device) => {
      await filled(device, 7);
      await device.flush();
    });
    const refusal = { code: 'backend-object-missing', message: expect.stringMatching(/is lost: its space ran full/) };
    await expect(driver.locate(lost, call)).rejects.toMatchObject(refusal);
    await expect(driver.createFromSnapshot?.(request(group.name, 16 * MiB), lost, call)).rejects.toMatchObject(refusal);
    expect(await opened(driver, source, only)).toBe(7);
    await removeAll(driver);
    expect(await logicalVolumes(group.name)).toEqual([]);
  });

  test('a snapshot outlives its volume, and a restart in between', async () => {
    const driver = await start(group.name, zeroedThick);
    const source = await volume(driver, group.name, 8 * MiB);
    await opened(driver, source, (device) => filled(device, 5));
    const kept = await snapshot(driver, source);
    await driver.delete(source, call);
    const after = await start(group.name, zeroedThick);
    await expect(after.locate(source, call)).rejects.toMatchObject({ code: 'backend-object-missing' });
    expect(await opened(after, kept, only)).toBe(5);
    await after.deleteSnapshot(kept, call);
    expect(await logicalVolumes(group.name)).toEqual([]);
  });

  test('a volume in use is not deleted, its holder is named, and it goes when it is free', async () => {
    const driver = await start(group.name, zeroedThick);
    const held = await volume(driver, group.name, 4 * MiB);
    await opened(driver, held, async (device) => {
      await filled(device, 3);
      const busy = { code: 'backend-busy', message: expect.stringMatching(new RegExp(`open in process ${process.pid} `)) };
      await expect(driver.delete(held, call)).rejects.toMatchObject(busy);
      await expect(driver.shrink?.(held, 4 * MiB - 1, call)).resolves.toEqual({ size: 4 * MiB });
      expect(await only(device)).toBe(3);
    });
    await driver.delete(held, call);
    expect(await logicalVolumes(group.name)).toEqual([]);
  });

  test('logical volumes are taken over by name and by UUID, and let go with their content', async () => {
    const driver = await start(group.name, zeroedThick);
    for (const name of ['by-name', 'by-uuid'])
      await run('lvcreate', ['--yes', '--name', name, '--size', '4m', group.name], { must: true });
    await run('dd', ['if=/dev/zero', 'bs=1M', 'count=1', 'conv=fsync', `of=/dev/${group.name}/by-uuid`], { must: true });
    const { stdout } = await run('lvs', ['--noheadings', '--options', 'lv_uuid', `${group.name}/by-uuid`], { must: true });
    for (const reference of ['by-name', stdout.trim()]) {
      const target = request(group.name, 0);
      const taken = { ...target, ...(await driver.manage?.(target, reference, call)) };
      expect(taken.size).toBe(4 * MiB);
      await opened(driver, taken, (device) => filled(device, 9));
      await driver.unmanage?.(taken, call);
      const path = `/dev/${group.name}/volume-${target.placementId}`;
      const device = await openPathDevice({ kind: 'path', path, blockSize: 512 }, { readOnly: true });
      expect(await only(device)).toBe(9);
      await device.close();
      await run('lvremove', ['--yes', `${group.name}/volume-${target.placementId}`], { must: true });
    }
  });

  test('a group that lacks a disk is told, and what is whole is served on', async () => {
    await using partial = await volumeGroup({ name: 'lab-partial', disks: 2 });
    const [first = '', second = ''] = partial.devices;
    const whole = await start(partial.name, zeroedThick);
    const kept = await volume(whole, partial.name, 4 * MiB);
    await run('lvcreate', ['--yes', '--name', 'elsewhere', '--size', '4m', partial.name, second], { must: true });
    // With udev a disk has several names, and one that is accepted is enough.
    const lvmConfig = `devices { filter = [ "a|^${first}$|", "r|.*|" ] }`;
    const driver = plugin.create({
      ...{ name: 'lvm', config: { volumeGroups: [partial.name], ...zeroedThick, lvmConfig }, installationId, baseDirectory: '/' },
      ...{ clock: systemClock, random: systemRandom, log: silentLog, exec },
    });
    const told = { code: 'backend-unavailable', message: expect.stringMatching(/lacks 1 of its physical volumes/) };
    await expect(driver.check(call)).rejects.toMatchObject(told);
    expect((await driver.pools(call))[0]?.free).toBe(0);
    expect(await opened(driver, kept, only)).toBe(0);
    await expect(driver.create(request(partial.name, 4 * MiB), call)).rejects.toMatchObject({ code: 'backend-unavailable' });
  });
});

describe('thin', () => {
  let group: VolumeGroup;
  beforeAll(async () => {
    group = await volumeGroup({ name: 'lab-thin' });
  });
  afterAll(() => group[Symbol.asyncDispose]());

  test('what a device discards or zeroes takes nothing of the pool, and gives back what it took', async () => {
    const driver = await start(group.name, thin);
    const object = await volume(driver, group.name, 32 * MiB);
    const free = async () => (await driver.pools(call))[0]?.free ?? Number.NaN;
    const empty = await free();
    await opened(driver, object, async (device) => {
      await device.discard(0, device.size);
      await device.writeZeroes(0, device.size);
      expect(await free()).toBe(empty);
      await filled(device, 7);
      await device.flush();
      expect(await free()).toBeLessThan(empty - 30 * MiB);
      await device.discard(MiB + 512, 24 * MiB);
      expect(await only(device, MiB + 512, 24 * MiB)).toBe(0);
      expect(await only(device, 0, MiB + 512)).toBe(7);
      expect(await only(device, 25 * MiB + 512)).toBe(7);
      expect(await free()).toBeGreaterThan(empty - 10 * MiB);
    });
    await removeAll(driver);
  });

  test('a full pool fails writes and new volumes, and goes on when there is space again', async () => {
    const driver = await start(group.name, thin);
    const [large, other] = [await volume(driver, group.name, 128 * MiB), await volume(driver, group.name, 16 * MiB)];
    await opened(driver, other, async (device) => {
      await filled(device, 1);
      await device.flush();
    });
    await opened(driver, large, async (device) => {
      await expect(
        (async () => {
          for (let offset = 0; offset < 128 * MiB; offset += 4 * MiB) {
            await filled(device, 2, offset, 4 * MiB);
            await device.flush();
          }
        })(),
      ).rejects.toMatchObject({ code: 'device-no-space' });
    });
    expect((await driver.pools(call))[0]?.free).toBe(0);
    await expect(driver.create(request(group.name, 4 * MiB), call)).rejects.toMatchObject({ code: 'device-no-space' });
    await driver.delete(other, call);
    expect((await driver.pools(call))[0]?.free).toBeGreaterThan(8 * MiB);
    await opened(driver, large, async (device) => {
      await filled(device, 4, 120 * MiB, 4 * MiB);
      await device.flush();
      expect(await only(device, 120 * MiB, 4 * MiB)).toBe(4);
    });
    await removeAll(driver);
  });

  test('a revert that a crash ends between its renames is finished by the next start', async () => {
    const driver = await start(group.name, thin);
    const source = await volume(driver, group.name, 8 * MiB);
    await opened(driver, source, (device) => filled(device, 1));
    const kept = await snapshot(driver, source);
    await opened(driver, source, (device) => filled(device, 2));
    let renames = 0;
    const dying = await start(group.name, thin, {
      run: (command) => {
        if (command.args[0] === 'lvrename' && ++renames === 2) throw new Error('killed');
        return exec.run(command);
      },
      lines: (command) => exec.lines(command),
    });
    await expect(dying.revert?.(source, kept, call)).rejects.toThrow('killed');
    const after = await start(group.name, thin);
    expect(await opened(after, source, only)).toBe(1);
    expect(await opened(after, kept, only)).toBe(1);
    await removeAll(after);
    expect(await logicalVolumes(group.name)).toEqual(['pool']);
  });

  test('reading extents lets go of the metadata, also when it is given up or a crash left a hold on them', async () => {
    const driver = await start(group.name, thin);
    const source = await volume(driver, group.name, 8 * MiB);
    await opened(driver, source, async (device) => {
      await filled(device, 1, MiB, MiB);
      await filled(device, 1, 4 * MiB, 128 * 1024);
    });
    const held = async () => {
      const { stdout } = await run('dmsetup', ['status', `${group.name.replace('-', '--')}-pool-tpool`], { must: true });
      // thin-provisioning.rst: … used/total metadata, used/total data, held metadata root …
      return stdout.trim().split(/\s+/)[6];
    };
    await run('dmsetup', ['message', `${group.name.replace('-', '--')}-pool-tpool`, '0', 'reserve_metadata_snap'], {
      must: true,
    });
    for await (const extent of driver.allocatedExtents?.(source, call) ?? []) {
      expect(extent).toEqual({ offset: MiB, length: MiB });
      break;
    }
    expect(await held()).toBe('-');
    const found = [];
    for await (const extent of driver.allocatedExtents?.(source, call) ?? []) found.push(extent);
    expect(found).toEqual([
      { offset: MiB, length: MiB },
      { offset: 4 * MiB, length: 128 * 1024 },
    ]);
    const first = await snapshot(driver, source);
    await opened(driver, source, (device) => filled(device, 2, 6 * MiB, 64 * 1024));
    const second = await snapshot(driver, source);
    const changed = [];
    for await (const extent of driver.changedExtents?.(first, second, call) ?? []) changed.push(extent);
    expect(changed).toEqual([{ offset: 6 * MiB, length: 64 * 1024 }]);
    expect(await held()).toBe('-');
    await removeAll(driver);
  });

  test('a command that hangs is ended by its deadline, and the next one goes on', async () => {
    let hang = false;
    const through: Exec = {
      run: (command) => {
        if (!hang || command.args[0] !== 'lvcreate') return exec.run(command);
        // A guest that is busy takes seconds for what does not hang.
        return exec.run({ ...command, program: 'sleep', args: ['1000'], deadline: command.deadline / 100 });
      },
      lines: (command) => exec.lines(command),
    };
    const driver = await start(group.name, { ...thin, deadlines: { change: 100_000 } }, through);
    const wanted = request(group.name, 4 * MiB);
    hang = true;
    await expect(driver.create(wanted, call)).rejects.toMatchObject({ code: 'deadline-exceeded' });
    hang = false;
    await driver.delete({ ...wanted, ...(await driver.create(wanted, call)) }, call);
  });
});
