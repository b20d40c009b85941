import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog, SystemExec, systemClock, type ConnectedDevice, type ConnectionInfo, type PluginCall } from '@scoria/core';
import { OpenIscsiInitiator } from '@scoria/driver-iscsi/open-iscsi';
import { afterAll, beforeAll, beforeEach, expect, onTestFailed, test } from 'vitest';
import { z } from 'zod';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { type Attached, type BlockStorageApi } from '../system/block-storage-api.ts';
import { until } from '../system/polling.ts';
import type { Service } from '../system/service.ts';
import { hostDisks, kernelExports, lvmService, standOf, thinPool } from './fixtures/lvm-service.ts';
import { startIscsid, type Iscsid } from './fixtures/open-iscsi.ts';
import { logicalVolumes, volumeGroup, type VolumeGroup } from './fixtures/volume-group.ts';

// The assembled service over logical volumes and the kernel's target, with the kernel's initiator as the host; with
// LAB_LONG=1 also when it is killed in the middle of each of the things that it is asked for.

const gibibyte = 1024 ** 3;
const patience = 60_000;
/** Kills in the middle of each action. */
const kills = 3;
const seed = Number(process.env['LAB_SEED'] ?? 1);
/** Time in which the guest does most of what it is asked for, ms. */
const usual = 1_500;
const block = 64 * 1024;
const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

const exec = new SystemExec({ clock: systemClock, log: silentLog });
const host = new OpenIscsiInitiator({ exec, clock: systemClock, log: silentLog });
let iscsid: Iscsid;
let group: VolumeGroup;
let service: Service;

beforeAll(async () => {
  iscsid = await startIscsid();
  group = await volumeGroup({ name: 'service' });
  // What the long form makes is removed at its end.
  service = await lvmService({ group: group.name, driver: { maxOverSubscription: 100 } });
  const limits = { volumes: 100, snapshots: 100 };
  await api().call(200, 'PUT', `/os-quota-sets/${api().projectId}`, { quota_set: limits });
});
afterAll(async () => {
  await iscsid?.[Symbol.asyncDispose]();
  await service?.end();
  await group?.[Symbol.asyncDispose]();
});

const api = (): BlockStorageApi => service.api.withPatience(patience);
const infoOf = ({ connection }: Attached): ConnectionInfo => ({ driverVolumeType: 'iscsi', data: connection });
const attach = async (volumeId: string): Promise<Attached> => api().attach(volumeId, { ...(await host.connector(call)) });
const connect = (attached: Attached): Promise<ConnectedDevice> => host.connect(infoOf(attached), { readOnly: false }, call);

async function detach(attached: Attached): Promise<void> {
  await host.disconnect(infoOf(attached), call);
  await api().detach(attached.id);
}

async function fill(device: ConnectedDevice, byte: number, offset = 0): Promise<void> {
  await device.write(Buffer.alloc(block, byte), offset);
  await device.flush();
}
/** The byte of which a block consists. */
async function byteAt(device: ConnectedDevice, offset = 0): Promise<number | 'mixed'> {
  const content = Buffer.alloc(block);
  await device.read(content, offset);
  const [first = 0] = content;
  return content.every((byte) => byte === first) ? first : 'mixed';
}
/** What a volume holds at its beginning, looked at by attaching it. */
async function contentOf(volumeId: string): Promise<number | 'mixed'> {
  const attached = await attach(volumeId);
  const device = await connect(attached);
  const found = await byteAt(device);
  await detach(attached);
  return found;
}

const action = (volumeId: string, name: string, body: unknown, version = '3.65') =>
  api()
    .send('POST', `/volumes/${volumeId}/action`, { [name]: body }, version)
    .then((answer) => {
      if (answer.status !== 202) throw new Error(`${name} was answered with ${answer.status}: ${JSON.stringify(answer.body)}`);
      return answer;
    });

beforeEach(() => onTestFailed(async () => console.log(await standOf(service))));

async function deleteSnapshot(id: string): Promise<void> {
  await api().call(202, 'DELETE', `/snapshots/${id}`);
  await until(
    `the end of snapshot ${id}`,
    async () => (await api().send('GET', `/snapshots/${id}`)).status === 404 || undefined,
    patience,
  );
}

test('a volume lives its life: attached, written, snapshot, grown, copied, reverted, detached, deleted', async () => {
  const volumeId = await api().newVolume({ size: 1 });
  const attached = await attach(volumeId);
  const device = await connect(attached);
  expect(device).toMatchObject({ size: gibibyte, serial: volumeId });
  await fill(device, 1);
  const snapshotId = await api().newSnapshot(volumeId);
  await fill(device, 2);

  await action(volumeId, 'os-extend', { new_size: 2 });
  await api().volumeIs(volumeId, 'in-use');
  expect(await until('the new size', async () => ((await device.refreshSize()) === 2 * gibibyte ? true : undefined))).toBe(true);
  await fill(device, 3, 2 * gibibyte - block);

  const copyId = await api().newVolume({ size: 1, snapshot_id: snapshotId });
  expect(await contentOf(copyId)).toBe(1);
  expect(await byteAt(device)).toBe(2);
  await detach(attached);
  expect(await hostDisks()).toEqual([]);
  expect(await kernelExports()).toEqual([]);

  // A volume that has grown cannot be what it was.
  const before = await api().newSnapshot(copyId);
  const again = await attach(copyId);
  await fill(await connect(again), 9);
  await detach(again);
  await action(copyId, 'revert', { snapshot_id: before });
  await api().volumeIs(copyId, 'available');
  expect(await contentOf(copyId)).toBe(1);

  for (const id of [before, snapshotId]) await deleteSnapshot(id);
  for (const id of [copyId, volumeId]) await api().deleteVolume(id);
  expect(await logicalVolumes(group.name)).toEqual([thinPool]);
  expect(await kernelExports()).toEqual([]);
}, 600_000);

/** A host that writes without end to a volume, and knows what it has written. */
class Writer {
  readonly #device: ConnectedDevice;
  readonly #written = new Map<number, number>();
  readonly #end = new AbortController();
  readonly #done: Promise<void>;
  writes = 0;

  constructor(device: ConnectedDevice) {
    this.#device = device;
    this.#done = this.#run();
    this.#done.catch(() => {});
  }

  async #run(): Promise<void> {
    for (let turn = 0; !this.#end.signal.aborted; turn++) {
      const [offset, byte] = [((turn * 37) % 256) * block, 1 + (turn % 255)];
      await fill(this.#device, byte, offset);
      this.#written.set(offset, byte);
      this.writes++;
      await sleep(20);
    }
  }

  /** Settles when some more writes have been acknowledged. */
  async goesOn(): Promise<void> {
    const before = this.writes;
    await Promise.race([
      this.#done,
      until('further writes of the attached host', () => (this.writes > before + 2 ? true : undefined), patience),
    ]);
  }

  /** Ends; fails when a write has failed. */
  async stop(): Promise<void> {
    this.#end.abort();
    await this.#done;
  }

  /** Offsets that do not hold what was written. */
  async lost(device: ConnectedDevice): Promise<number[]> {
    const lost: number[] = [];
    for (const [offset, byte] of this.#written) if ((await byteAt(device, offset)) !== byte) lost.push(offset);
    return lost;
  }
}

const auditSchema = z.object({
  audit: z.object({
    backends: z.array(z.object({ unknown: z.array(z.unknown()), missing: z.array(z.unknown()) })),
    transports: z.array(z.object({ unknown: z.array(z.string()), missing: z.array(z.string()) })),
  }),
});

/** Everything has come to an end, a good one, and all sides say the same. */
async function expectRest(): Promise<void> {
  await until(
    'the end of all operations',
    () => (service.query('select id from operations where ended_at is null').length === 0 ? true : undefined),
    patience,
  );
  const settled = ['available', 'in-use', 'reserved', 'attaching'];
  expect((await api().volumes()).filter(({ status }) => !settled.includes(status))).toEqual([]);
  expect((await api().snapshots()).filter(({ status }) => status !== 'available')).toEqual([]);
  const { audit } = auditSchema.parse((await api().call(200, 'GET', '/scoria/v1/audit')).body);
  for (const { unknown, missing } of [...audit.backends, ...audit.transports]) {
    expect({ unknown, missing }).toEqual({ unknown: [], missing: [] });
  }
  const placed = service.query('select id, kind from placements').map((row) => {
    const { id, kind } = z.object({ id: z.string(), kind: z.string() }).parse(row);
    return `${kind === 'volume' ? 'volume' : 'snap'}-${id}`;
  });
  expect((await logicalVolumes(group.name)).toSorted()).toEqual([...placed, thinPool].toSorted());
}

/** What the service is asked for: `prepare` sets up what is needed, undisturbed, and gives the request. */
type Prepare = (used: string) => Promise<() => Promise<unknown>>;
const actions: Readonly<Record<string, Prepare>> = {
  'a creation': async () => () => api().createVolume({ size: 1 }),
  'an attachment': async () => {
    const volumeId = await api().newVolume({ size: 1 });
    return () => attach(volumeId);
  },
  'a snapshot of the volume in use': async (used) => () =>
    api().call(202, 'POST', '/snapshots', { snapshot: { volume_id: used, force: true } }),
  'an extension of the volume in use': async (used) => {
    const { size } = await api().volume(used);
    return () => action(used, 'os-extend', { new_size: size + 1 });
  },
  'a volume from a snapshot': async () => {
    const snapshot_id = await api().newSnapshot(await api().newVolume({ size: 1 }));
    return () => api().createVolume({ size: 2, snapshot_id });
  },
  'a revert': async () => {
    const volumeId = await api().newVolume({ size: 1 });
    const snapshot_id = await api().newSnapshot(volumeId);
    return () => action(volumeId, 'revert', { snapshot_id });
  },
  'a detachment': async () => {
    const attached = await attach(await api().newVolume({ size: 1 }));
    await fill(await connect(attached), 5);
    await host.disconnect(infoOf(attached), call);
    return () => api().detach(attached.id);
  },
  'a deletion': async () => {
    const volumeId = await api().newVolume({ size: 1 });
    return () => api().call(202, 'DELETE', `/volumes/${volumeId}`);
  },
};

/** Kills the service a while after it was asked, and starts it; all ends well while a host writes. */
async function killedDuring(prepare: () => ReturnType<Prepare>, delay: number, writer: Writer): Promise<void> {
  const ask = await prepare();
  // The answer may never come.
  const asked = ask().then(
    () => undefined,
    (error: unknown) => error,
  );
  await sleep(delay);
  await service.killControlPlane();
  await asked;
  await writer.goesOn();
  await service.start();
  await expectRest();
}

// Its moments are matters of time, and it takes minutes.
test.runIf(process.env['LAB_LONG'] === '1')(
  'killed in the middle of anything, the service ends it after a start, and an attached host notices nothing',
  async () => {
    const random = new SeededRandom(seed);
    const used = await api().newVolume({ size: 1 });
    const attached = await attach(used);
    const device = await connect(attached);
    const writer = new Writer(device);
    for (const [name, prepare] of Object.entries(actions)) {
      for (let turn = 0; turn < kills; turn++) {
        const delay = random.below(usual);
        await killedDuring(() => prepare(used), delay, writer).catch((error: unknown) => {
          throw new Error(`killed ${delay} ms after ${name}: ${String(error)}`, { cause: error });
        });
      }
    }
    await writer.stop();
    await detach(attached);
    const again = await attach(used);
    const fresh = await connect(again);
    expect(await writer.lost(fresh)).toEqual([]);
    await detach(again);

    for (const { id } of await api().attachments()) await api().detach(id);
    for (const { id } of await api().snapshots()) await deleteSnapshot(id);
    for (const { id } of await api().volumes()) await api().deleteVolume(id);
    await expectRest();
    expect(await logicalVolumes(group.name)).toEqual([thinPool]);
    expect(await kernelExports()).toEqual([]);
    expect(await hostDisks()).toEqual([]);
  },
  1_800_000,
);
