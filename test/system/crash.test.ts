import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { testConnector, type Attached, type BlockStorageApi } from './block-storage-api.ts';
import { ApiLoad, FlushedWriter } from './load.ts';
import { until } from './polling.ts';
import { listenerOn } from './processes.ts';
import { Service } from './service.ts';

// `kill -9` under load: of the control plane, of the target's process, of both, again and again.

let service: Service;
let api: BlockStorageApi;

beforeAll(async () => {
  service = await Service.start();
  api = service.api;
  const limits = { volumes: 500, snapshots: 500, gigabytes: 5000 };
  await api.call(200, 'PUT', `/os-quota-sets/${api.projectId}`, { quota_set: limits });
});
afterAll(() => service.end());

const auditSchema = z.object({
  audit: z.object({
    backends: z.array(z.looseObject({ backend: z.string(), unknown: z.array(z.unknown()), missing: z.array(z.unknown()) })),
    transports: z.array(
      z.looseObject({
        exports: z.array(z.looseObject({ access_id: z.string() })),
        unknown: z.array(z.string()),
        missing: z.array(z.string()),
      }),
    ),
  }),
});
const idSchema = z.object({ id: z.string() });
const idsOf = (rows: readonly unknown[]) => rows.map((row) => idSchema.parse(row).id).toSorted();

/** No operation is under way any more. */
async function atRest(): Promise<void> {
  await until(
    'an end of all operations',
    () => (service.query('select id from operations where ended_at is null').length === 0 ? true : undefined),
    60_000,
  );
}

/** Rows, files, exports and quota say the same. */
async function expectConsistency(): Promise<void> {
  const rows = service.query(`
    select b.name as backend, p.kind as kind, p.id as id from placements p join backends b on b.id = p.backend_id`);
  const rowSchema = z.object({ backend: z.string(), kind: z.enum(['volume', 'snapshot']), id: z.string() });
  const placed = rows.map((row) => rowSchema.parse(row)).map(({ backend, kind, id }) => `${backend}/${kind}s/${id}`);
  expect(await service.files()).toEqual(placed.toSorted());
  const used = service.query(`
    select placement_id as id from volumes where placement_id is not null
    union all select placement_id from snapshots where placement_id is not null`);
  expect(idsOf(service.query('select id from placements'))).toEqual(idsOf(used));

  const { audit } = auditSchema.parse((await api.call(200, 'GET', '/scoria/v1/audit')).body);
  expect(audit.backends).toHaveLength(2);
  for (const { unknown, missing } of audit.backends) expect({ unknown, missing }).toEqual({ unknown: [], missing: [] });
  for (const { unknown, missing } of audit.transports) expect({ unknown, missing }).toEqual({ unknown: [], missing: [] });
  const exported = audit.transports.flatMap((transport) => transport.exports.map((each) => each.access_id)).toSorted();
  expect(exported).toEqual(idsOf(service.query('select id from accesses')));
  expect(exported).toEqual(idsOf(service.query('select distinct access_id as id from attachments where access_id is not null')));

  const usage = z.object({ in_use: z.int(), reserved: z.int() });
  const quotaSchema = z.object({ quota_set: z.looseObject({ volumes: usage, snapshots: usage, gigabytes: usage }) });
  const { body } = await api.call(200, 'GET', `/os-quota-sets/${api.projectId}?usage=True`);
  const { volumes, snapshots, gigabytes } = quotaSchema.parse(body).quota_set;
  const [allVolumes, allSnapshots] = [await api.volumes(), await api.snapshots()];
  const gibibytes = [...allVolumes, ...allSnapshots].reduce((sum, { size }) => sum + size, 0);
  expect({ volumes, snapshots, gigabytes }).toEqual({
    volumes: { in_use: allVolumes.length, reserved: 0 },
    snapshots: { in_use: allSnapshots.length, reserved: 0 },
    gigabytes: { in_use: gibibytes, reserved: 0 },
  });
}

test('after kills under load nothing is stuck, lost or left over', async () => {
  const source = await api.newVolume({ size: 1, name: 'source' });
  const written: { readonly attached: Attached; readonly writer: FlushedWriter }[] = [];
  for (const type of ['file-1', 'file-2']) {
    const attached = await api.attach(await api.newVolume({ size: 1, volume_type: type, name: `written on ${type}` }));
    written.push({ attached, writer: new FlushedWriter(attached.connection) });
  }
  const load = new ApiLoad(api, source);
  const end = new AbortController();
  const running = Promise.all([load.run(end.signal), ...written.map(({ writer }) => writer.run(end.signal))]);
  const writes = () => written.reduce((sum, { writer }) => sum + writer.writes, 0);
  const failures = () => written.reduce((sum, { writer }) => sum + writer.failures, 0);
  /** Both kinds of load get on. */
  const underLoad = async () => {
    const [calls, blocks] = [load.answered, writes()];
    await until('load that gets on', () => (load.answered >= calls + 8 && writes() >= blocks + 4 ? true : undefined));
  };

  try {
    for (let round = 0; round < 3; round++) {
      await underLoad();
      const target = await service.targetProcess();
      const before = failures();
      await service.killControlPlane();
      // I/O goes on without the control plane.
      const blocks = writes();
      await until('writes while the control plane is dead', () => (writes() >= blocks + 2 ? true : undefined));
      await service.start();
      expect(failures()).toBe(before);
      expect(await service.targetProcess()).toBe(target);

      await underLoad();
      const killed = await service.killTarget();
      expect(await service.targetProcess()).not.toBe(killed);

      await underLoad();
      await service.killControlPlane();
      await service.killTarget();
      expect(await listenerOn(service.iscsiPort)).toBeUndefined();
      await service.start();
    }
    await underLoad();
  } finally {
    end.abort();
    await running;
  }

  await atRest();
  const settled = ['available', 'in-use', 'reserved', 'attaching'];
  expect((await api.volumes()).filter(({ status }) => !settled.includes(status))).toEqual([]);
  expect((await api.snapshots()).filter(({ status }) => status !== 'available')).toEqual([]);
  await expectConsistency();

  // A caller that died between two of its calls left these; it is for the caller to end them, and that works.
  const kept = written.map(({ attached }) => attached.id);
  for (const { id } of await api.attachments()) if (!kept.includes(id)) await api.detach(id);
  const volumes = await api.volumes();
  expect(
    volumes
      .filter(({ status }) => status === 'in-use')
      .map(({ id }) => id)
      .toSorted(),
  ).toEqual(written.map(({ attached }) => attached.volumeId).toSorted());
  expect(volumes.filter(({ status }) => status !== 'in-use' && status !== 'available')).toEqual([]);
  await expectConsistency();

  for (const { attached, writer } of written) {
    expect(await writer.lost(attached.connection)).toEqual([]);
    await api.detach(attached.id);
    const again = await api.attach(attached.volumeId, { ...testConnector, initiator: 'iqn.2026-11.example:reader' });
    expect(await writer.lost(again.connection)).toEqual([]);
    await api.detach(again.id);
  }

  for (const { id } of await api.snapshots()) await api.call(202, 'DELETE', `/snapshots/${id}`);
  await atRest();
  for (const { id } of volumes) await api.call(202, 'DELETE', `/volumes/${id}`);
  await atRest();
  await expectConsistency();
  expect(await service.files()).toEqual([]);
}, 240_000);
