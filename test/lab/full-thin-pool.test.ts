import { open } from 'node:fs/promises';
import { startTransport } from '@scoria/conformance';
import {
  silentLog,
  SystemExec,
  systemClock,
  systemRandom,
  type BackendObject,
  type ExportRequest,
  type PluginCall,
} from '@scoria/core';
import embedded from '@scoria/driver-iscsi';
import { LvmDriver, lvmConfigSchema } from '@scoria/driver-lvm';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { run } from '../system/programs.ts';
import { login, logout, startIscsid } from './fixtures/open-iscsi.ts';
import { volumeGroup } from './fixtures/volume-group.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const mebibyte = 1024 ** 2;

function driverOf(config: object): LvmDriver {
  return new LvmDriver({
    config: lvmConfigSchema.parse(config),
    installationId: systemRandom.uuid(),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    exec: new SystemExec({ clock: systemClock, log: silentLog }),
  });
}

const objectIn = (pool: string, size: number): BackendObject => ({
  placementId: systemRandom.uuid(),
  pool,
  backendRef: null,
  size,
});

async function writeAndRead(driver: LvmDriver, object: BackendObject, byte: number | undefined): Promise<number | undefined> {
  const { path } = await driver.locate(object, call);
  await using file = await open(path, 'r+');
  if (byte !== undefined) {
    await file.write(Buffer.alloc(4096, byte), 0, 4096, 0);
    await file.sync();
  }
  return (await file.read(Buffer.alloc(1), 0, 1, 0)).buffer[0];
}

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
    // SPACE ALLOCATION FAILED WRITE PROTECT, as the kernel's initiator tells it.
    expect(filled).toMatchObject({ code: 1, stderr: expect.stringMatching(/No space left on device/) });
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
