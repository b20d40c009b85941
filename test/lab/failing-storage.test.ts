import { open } from 'node:fs/promises';
import { startTransport } from '@scoria/conformance';
import {
  silentLog,
  SystemExec,
  systemClock,
  systemRandom,
  type BackendObject,
  type Command,
  type Exec,
  type ExportRequest,
  type PluginCall,
} from '@scoria/core';
import embedded from '@scoria/driver-iscsi';
import { LvmDriver, lvmConfigSchema } from '@scoria/driver-lvm';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { run } from '../system/programs.ts';
import { takeDisks } from './fixtures/disks.ts';
import { login, logout, startIscsid } from './fixtures/open-iscsi.ts';
import { volumeGroup } from './fixtures/volume-group.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const mebibyte = 1024 ** 2;
const system = new SystemExec({ clock: systemClock, log: silentLog });
const installationId = systemRandom.uuid();

function driverOf(config: object, exec: Exec = system): LvmDriver {
  const options = { installationId, clock: systemClock, random: systemRandom, log: silentLog };
  return new LvmDriver({ ...options, config: lvmConfigSchema.parse(config), exec });
}

const objectIn = (pool: string, size: number): BackendObject => ({
  placementId: systemRandom.uuid(),
  pool,
  backendRef: null,
  size,
});

/** A physical volume that can be taken away: a mapping over a disk. */
async function mapping(
  name: string,
  disk: string,
): Promise<{ readonly path: string; attach(): Promise<void>; detach(): Promise<void> }> {
  const { stdout: sectors } = await run('blockdev', ['--getsz', disk], { must: true });
  const attach = async () =>
    void (await run('dmsetup', ['create', name, '--table', `0 ${sectors.trim()} linear ${disk} 0`], { must: true }));
  await attach();
  return {
    path: `/dev/mapper/${name}`,
    attach,
    detach: async () => void (await run('dmsetup', ['remove', '--retry', name], { must: true })),
  };
}

async function writeAndRead(driver: LvmDriver, object: BackendObject, byte: number | undefined): Promise<number | undefined> {
  const { path } = await driver.locate(object, call);
  await using file = await open(path, 'r+');
  if (byte !== undefined) {
    await file.write(Buffer.alloc(4096, byte), 0, 4096, 0);
    await file.sync();
  }
  return (await file.read(Buffer.alloc(1), 0, 1, 0)).buffer[0];
}

test('a group without one of its disks is told, takes no volumes, and keeps no other group from working', async () => {
  await using _sound = await volumeGroup({ name: 'sound' });
  const disks = await takeDisks(2);
  // LVM would find each physical volume on the disk below, too.
  const lvmConfig = `devices { global_filter = [ ${disks.map((disk) => `"r|^${disk}$|"`).join(', ')} ] }`;
  const parts = [await mapping('part-0', disks[0] ?? ''), await mapping('part-1', disks[1] ?? '')];
  const devices = parts.map(({ path }) => path);
  await run('vgcreate', ['--config', lvmConfig, 'partial', ...devices], { must: true });
  try {
    const config = { volumeGroups: ['sound', 'partial'], provisioning: 'thick', lvmConfig };
    const driver = driverOf(config);
    await driver.check(call);
    const [here, there] = [objectIn('sound', 8 * mebibyte), objectIn('partial', 8 * mebibyte)];
    await driver.create(here, call);
    await driver.create(there, call);
    expect(await writeAndRead(driver, there, 7)).toBe(7);

    await run('vgchange', ['--config', lvmConfig, '--activate', 'n', 'partial'], { must: true });
    await parts[1]?.detach();
    const restarted = driverOf(config);
    await restarted.check(call);
    const reports = await restarted.pools(call);
    expect(reports.find(({ name }) => name === 'sound')?.free).toBeGreaterThan(0);
    expect(reports.find(({ name }) => name === 'partial')?.free ?? 0).toBe(0);
    await expect(restarted.create(objectIn('partial', 8 * mebibyte), call)).rejects.toMatchObject({ name: 'ScoriaError' });
    expect(await writeAndRead(restarted, here, 3)).toBe(3);
    await expect(driverOf({ ...config, volumeGroups: ['partial'] }).check(call)).rejects.toThrow('partial');

    await parts[1]?.attach();
    await restarted.check(call);
    expect(await writeAndRead(restarted, there, undefined)).toBe(7);
    await restarted.delete(there, call);
    await restarted.delete(here, call);
  } finally {
    await run('vgremove', ['--config', lvmConfig, '--yes', '--force', '--force', 'partial']);
    for (const part of parts) await part.detach();
    for (const disk of disks) await run('blkdiscard', ['--force', disk], { must: true });
  }
});

test('a full thin pool refuses writes at once, also those of initiators, and serves again when there is space', async () => {
  await using group = await volumeGroup({ name: 'filled' });
  const driver = driverOf({ volumeGroups: ['filled'], thinPool: { size: 64 * mebibyte } });
  await driver.check(call);
  const volume = objectIn('filled', 256 * mebibyte);
  await driver.create(volume, call);
  await using _iscsid = await startIscsid();
  const { transport, cleanup } = await startTransport(embedded, { listen: ['127.0.0.1:3260'] });
  await transport.start(call);
  try {
    const request: ExportRequest = {
      accessId: systemRandom.uuid(),
      volumeId: systemRandom.uuid(),
      device: await driver.locate(volume, call),
      readOnly: false,
      secret: 'a secret of the access',
    };
    await transport.export(request, call);
    const schema = z.object({ target_portal: z.string(), target_iqn: z.string(), auth_username: z.string() });
    const info = schema.parse(transport.connectionInfo(request).data);
    const disk = await login({
      target: info.target_iqn,
      portal: info.target_portal,
      user: info.auth_username,
      secret: request.secret,
    });
    const filled = await run('dd', ['if=/dev/zero', `of=${disk}`, 'bs=1M', 'count=100', 'oflag=direct,dsync'], {
      deadline: 60_000,
    });
    // The kernel tells an error of its write-back to a block node as EIO, whatever the reason.
    expect(filled).toMatchObject({ code: 1, stderr: expect.stringMatching(/No space left on device|Input\/output error/) });
    const [report] = await driver.pools(call);
    expect(report?.free).toBe(0);
    await logout(info.target_iqn);
    await transport.unexport(request.accessId, call);
  } finally {
    await transport.stop();
    await cleanup();
  }
  await driver.delete(volume, call);
  const again = objectIn(group.name, 32 * mebibyte);
  await driver.create(again, call);
  expect(await writeAndRead(driver, again, 5)).toBe(5);
  await driver.delete(again, call);
});

test('a command that hangs is given up at its deadline, and done when it works again', async () => {
  await using group = await volumeGroup({ name: 'hanging' });
  let hangs = false;
  const exec: Exec = {
    run: (command: Command) =>
      system.run(hangs && command.args[0] === 'lvcreate' ? { ...command, program: 'sleep', args: ['1000'] } : command),
    lines: (command) => system.lines(command),
  };
  const driver = driverOf({ volumeGroups: [group.name], thinPool: { size: 64 * mebibyte }, deadlines: { change: 10_000 } }, exec);
  await driver.check(call);
  const volume = objectIn(group.name, 8 * mebibyte);
  hangs = true;
  await expect(driver.create(volume, call)).rejects.toMatchObject({ code: 'deadline-exceeded' });
  hangs = false;
  expect((await driver.pools(call))[0]?.name).toBe(group.name);
  await driver.create(volume, call);
  expect(await writeAndRead(driver, volume, 9)).toBe(9);
  await driver.delete(volume, call);
});
