import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { silentLog, SystemExec, systemClock, type PluginCall } from '@scoria/core';
import { OpenIscsiInitiator } from '@scoria/driver-iscsi/open-iscsi';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { BlockStorageApi, OperationBody } from '../system/block-storage-api.ts';
import { until } from '../system/polling.ts';
import { run } from '../system/programs.ts';
import type { Service } from '../system/service.ts';
import { takeDisks } from './fixtures/disks.ts';
import { failingDisk, type FailingDisk } from './fixtures/failing-disk.ts';
import { hostDisks, kernelExports, lvmService, thinPool } from './fixtures/lvm-service.ts';
import { startIscsid } from './fixtures/open-iscsi.ts';
import { logicalVolumes, volumeGroup, type VolumeGroup } from './fixtures/volume-group.ts';

// The assembled service while what is below it fails: disks of a group, space of a thin pool, and LVM's program itself.
// driver-lvm.test.ts has the same of the driver alone; this one waits for the service's patience, so it is LAB_LONG=1's.

const long = test.runIf(process.env['LAB_LONG'] === '1');
const patience = 120_000;
const mebibyte = 1024 ** 2;
const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
/** Milliseconds that LVM has for a change: four tries of an operation that hangs take four times as long. */
const changeDeadline = 10_000;
/** What is found before LVM's program where the service looks for it. */
const stub = '/usr/local/sbin/lvm';
const stubMode = '/run/scoria-lab-lvm';

let sound: VolumeGroup;
let service: Service;
/** A group that loses its second disk. */
let weak: VolumeGroup;
let disk: FailingDisk;
/** Milliseconds after which LVM is asked again by a backend that only reports. */
const refreshInterval = 5_000;

/** Stands for LVM's program, and does what {@link stubMode} says with the commands of its second word. */
const stubScript = `#!/bin/bash
read -r mode verb < ${stubMode} 2>/dev/null
if [ "$1" = "$verb" ]; then
  case "$mode" in
    hangs) exec sleep 1000 ;;
    warns) echo '  WARNING: the lab lets this fail' >&2; exit 5 ;;
    babbles) echo '{"report": [{"vg": "what?"'; exit 0 ;;
  esac
fi
exec /usr/sbin/lvm "$@"
`;

beforeAll(async () => {
  sound = await volumeGroup({ name: 'sound' });
  disk = await failingDisk();
  weak = await volumeGroup({ name: 'weak', devices: [...(await takeDisks(1)), disk.path] });
  await mkdir('/usr/local/sbin', { recursive: true });
  await writeFile(stubMode, '');
  await writeFile(stub, stubScript);
  await chmod(stub, 0o755);
  const backend = {
    plugin: '@scoria/driver-lvm',
    transport: 'iscsi',
    config: { volumeGroups: [weak.name], provisioning: 'thick', freeSpace: 'zeroed', refreshInterval },
  };
  const poolSize = 256 * mebibyte;
  service = await lvmService({
    group: sound.name,
    poolSize,
    driver: { deadlines: { change: changeDeadline }, refreshInterval },
    backends: { weak: backend },
  });
}, 300_000);
afterAll(async () => {
  await writeFile(stubMode, '');
  await service?.end();
  await rm(stub, { force: true });
  await rm(stubMode, { force: true });
  await weak?.[Symbol.asyncDispose]();
  await disk?.[Symbol.asyncDispose]();
  await sound?.[Symbol.asyncDispose]();
}, 120_000);

const api = (): BlockStorageApi => service.api.withPatience(patience);
const poolsSchema = z.object({
  pools: z.array(z.object({ name: z.string(), capabilities: z.looseObject({ free_capacity_gb: z.number() }) })),
});

/** Free gigabytes of a backend as `cinder get-pools` shows them; 0 for one without pools. */
async function freeOf(backend: string): Promise<number> {
  const { body } = await api().call(200, 'GET', '/scheduler-stats/get_pools?detail=true');
  const pool = poolsSchema.parse(body).pools.find(({ name }) => name.startsWith(`lab@${backend}#`));
  return pool?.capabilities.free_capacity_gb ?? 0;
}

const servicesSchema = z.object({ services: z.array(z.looseObject({ host: z.string(), state: z.string() })) });

/** Whether a backend is `up` or `down` as `cinder service-list` shows it. */
async function stateOf(backend: string): Promise<string | undefined> {
  const { body } = await api().call(200, 'GET', '/os-services?binary=cinder-volume');
  return servicesSchema.parse(body).services.find(({ host }) => host === `lab@${backend}`)?.state;
}

/** How the creation of a volume ends. */
async function creation(volumeType: string): Promise<{ readonly id: string; readonly operation: OperationBody }> {
  const { id, operation } = await api().createVolume({ size: 1, volume_type: volumeType });
  const ended = await until(
    `the end of operation ${operation}`,
    async () => {
      const found = await api().operation(operation);
      return found.status === 'running' || found.status === 'compensating' ? undefined : found;
    },
    patience,
  );
  return { id, operation: ended };
}

async function expectFailure(volumeType: string, why: RegExp): Promise<void> {
  const { id, operation } = await creation(volumeType);
  expect(operation.error?.message).toMatch(why);
  expect((await api().volume(id)).status).toBe('error');
  await api().deleteVolume(id);
}

async function expectCreation(volumeType: string): Promise<void> {
  const { id, operation } = await creation(volumeType);
  expect(operation.error).toBeNull();
  await api().deleteVolume(id);
}

long(
  'a group that loses a disk takes no volumes and tells why; others go on, also after a start; it comes back with its disk',
  async () => {
    await expectCreation('weak');
    await disk.fail();
    await until('the loss to be told', async () => ((await freeOf('weak')) === 0 ? true : undefined), patience);
    await expectFailure('weak', /weak/);
    await expectCreation('thin');

    await service.killControlPlane();
    await service.start();
    await expectFailure('weak', /weak.*(lacks 1 of its physical volumes|missing)/is);
    await expectCreation('thin');
    expect([await stateOf('weak'), await stateOf('thin')]).toEqual(['down', 'up']);

    await disk.mend();
    await until('the return of the backend', async () => ((await freeOf('weak')) > 0 ? true : undefined), patience);
    await expectCreation('weak');
    expect(await stateOf('weak')).toBe('up');
  },
  600_000,
);

long.each([
  { mode: 'hangs', why: /lvm lvcreate.* did not end within/s },
  { mode: 'warns', why: /the lab lets this fail/ },
])(
  'a creation whose lvcreate $mode ends in an error that names it, and leaves nothing',
  async ({ mode, why }) => {
    await writeFile(stubMode, `${mode} lvcreate\n`);
    await expectFailure('thin', why);
    await writeFile(stubMode, '');
    await expectCreation('thin');
    expect(await logicalVolumes(sound.name)).toEqual([thinPool]);
  },
  300_000,
);

long(
  'a report of LVM that cannot be read takes its backend out of service, and tells so',
  async () => {
    await writeFile(stubMode, 'babbles fullreport\n');
    await until('the backend to be out of service', async () => ((await freeOf('thin')) === 0 ? true : undefined), patience);
    await expectFailure('thin', /report of volume group sound cannot be read/);
    await writeFile(stubMode, '');
    await until('the return of the backend', async () => ((await freeOf('thin')) > 0 ? true : undefined), patience);
    await expectCreation('thin');
  },
  300_000,
);

long(
  'writes to a full thin pool fail and nothing hangs; with more space they go on',
  async () => {
    await using _iscsid = await startIscsid();
    const exec = new SystemExec({ clock: systemClock, log: silentLog });
    const host = new OpenIscsiInitiator({ exec, clock: systemClock, log: silentLog });
    const volumeId = await api().newVolume({ size: 1 });
    const attached = await api().attach(volumeId, { ...(await host.connector(call)) });
    const info = { driverVolumeType: 'iscsi', data: attached.connection };
    const device = await host.connect(info, { readOnly: false }, call);
    const write = async (at: number) => {
      await device.write(Buffer.alloc(8 * mebibyte, 1 + at), at * 8 * mebibyte);
      await device.flush();
    };
    const fill = async () => {
      for (let at = 0; at < 64; at++) await write(at);
    };
    await expect(fill()).rejects.toMatchObject({ code: expect.stringMatching(/^device-/) });
    await until('the full pool to be told', async () => ((await freeOf('thin')) === 0 ? true : undefined), patience);
    await expectFailure('thin', /lab@thin#sound/);

    await run('lvextend', ['--size', '+1g', `${sound.name}/${thinPool}`], { must: true });
    await until('the new space', async () => ((await freeOf('thin')) > 0 ? true : undefined), patience);
    await host.disconnect(info, call);
    const again = await host.connect(info, { readOnly: false }, call);
    await again.write(Buffer.alloc(mebibyte, 7), 900 * mebibyte);
    await again.flush();
    const found = Buffer.alloc(mebibyte);
    await again.read(found, 0);
    expect(found.equals(Buffer.alloc(mebibyte, 1))).toBe(true);
    await host.disconnect(info, call);
    await api().detach(attached.id);
    await api().deleteVolume(volumeId);
    expect(await hostDisks()).toEqual([]);
    expect(await kernelExports()).toEqual([]);
  },
  600_000,
);
