import { type BlockStorage, type IoLimits, type NewQosSpec, type PluginConfiguration, systemRandom } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { caller, memoryInstance } from './instance.ts';
import { RecordingTransport, recordingTransport } from './recording-transport.ts';

const gib = 2 ** 30;
const alice = caller('alice');
const root = caller('root', true);
const patience = 10_000;
const host1 = { initiator: 'iqn.2026-11.test:host1', host: 'host1' };

/** A transport that notes what it is to hold volumes to. */
class LimitingTransport extends RecordingTransport {
  readonly limits: [string, IoLimits | null][] = [];

  async limit(volumeId: string, limits: IoLimits | null): Promise<void> {
    this.note('limit');
    this.limits.push([volumeId, limits]);
  }
}

const iops = (perSecond: number, burst = perSecond / 10) => ({ totalOperations: { perSecond, burst } });

describe('QoS specs', () => {
  let storage: BlockStorage;
  beforeEach(async () => {
    storage = await memoryInstance();
  });
  afterEach(() => storage.stop());

  it('are made, changed and deleted by administrators alone', async () => {
    const request: NewQosSpec = { name: 'gold', specs: { total_iops_sec: '500', vendor: 'x' } };
    await expect(storage.qosSpecs.create(alice, request)).rejects.toMatchObject({ code: 'not-permitted' });
    const spec = await storage.qosSpecs.create(root, request);
    expect(spec).toMatchObject({ name: 'gold', consumer: 'back-end', specs: request.specs });
    await expect(storage.qosSpecs.create(root, request)).rejects.toMatchObject({ code: 'conflict' });
    for (const refused of [
      storage.qosSpecs.get(alice, spec.id),
      storage.qosSpecs.list(alice, {}),
      storage.qosSpecs.delete(alice, spec.id),
      storage.qosSpecs.associations(alice, spec.id),
    ]) {
      await expect(refused).rejects.toMatchObject({ code: 'not-permitted' });
    }
    const changed = await storage.qosSpecs.update(root, spec.id, { consumer: 'both', specs: { total_iops_sec: '700' } });
    expect(changed).toMatchObject({ consumer: 'both', specs: { total_iops_sec: '700', vendor: 'x' } });
    await expect(storage.qosSpecs.deleteKeys(root, spec.id, ['vendor', 'none'])).rejects.toMatchObject({ code: 'not-found' });
    expect((await storage.qosSpecs.deleteKeys(root, spec.id, ['vendor'])).specs).toEqual({ total_iops_sec: '700' });
    await storage.qosSpecs.delete(root, spec.id);
    await expect(storage.qosSpecs.get(root, spec.id)).rejects.toMatchObject({ code: 'not-found' });
  });

  it.each([
    { total_iops_sec: 'many' },
    { read_bytes_sec: '-1' },
    { write_bytes_sec_max: '1.5', write_bytes_sec: '1' },
    { total_bytes_sec_per_gb: '1e3' },
    { size_iops_sec: ' 5' },
    { read_iops_sec: '99999999999999' },
    { read_iops_sec_max: '100' },
    { total_iops_sec_per_gb_min: '100' },
  ])('refuse %j, and name the key', async (specs) => {
    const [key] = Object.keys(specs);
    await expect(storage.qosSpecs.create(root, { name: 'gold', specs: { ...specs } })).rejects.toMatchObject({
      code: 'invalid-input',
      message: expect.stringContaining(key!),
    });
  });

  it('refuse to lose a key that another one needs', async () => {
    const { id } = await storage.qosSpecs.create(root, {
      name: 'gold',
      specs: { total_iops_sec: '10', total_iops_sec_max: '100' },
    });
    await expect(storage.qosSpecs.deleteKeys(root, id, ['total_iops_sec'])).rejects.toMatchObject({ code: 'invalid-input' });
    await storage.qosSpecs.deleteKeys(root, id, ['total_iops_sec', 'total_iops_sec_max']);
  });

  it('belong to volume types, each of which has at most one', async () => {
    const gold = await storage.qosSpecs.create(root, { name: 'gold' });
    const bronze = await storage.qosSpecs.create(root, { name: 'bronze' });
    const [fast, slow] = [
      await storage.volumeTypes.create(root, { name: 'fast' }),
      await storage.volumeTypes.create(root, { name: 'slow' }),
    ];
    const names = async () => (await storage.qosSpecs.associations(root, gold.id)).map(({ name }) => name);
    await storage.qosSpecs.associate(root, gold.id, slow.id);
    await storage.qosSpecs.associate(root, gold.id, fast.id);
    await storage.qosSpecs.associate(root, gold.id, fast.id);
    expect(await names()).toEqual(['fast', 'slow']);
    expect((await storage.volumeTypes.get(root, 'fast')).qosSpecId).toBe(gold.id);
    await expect(storage.qosSpecs.associate(root, bronze.id, fast.id)).rejects.toMatchObject({ code: 'invalid-state' });
    await expect(storage.qosSpecs.disassociate(root, bronze.id, fast.id)).rejects.toMatchObject({ code: 'invalid-state' });
    await expect(storage.qosSpecs.delete(root, gold.id)).rejects.toMatchObject({
      code: 'invalid-state',
      message: expect.stringContaining('fast, slow'),
    });
    await storage.qosSpecs.disassociate(root, gold.id, slow.id);
    await storage.qosSpecs.disassociate(root, gold.id, slow.id);
    expect(await names()).toEqual(['fast']);
    await storage.qosSpecs.disassociateAll(root, gold.id);
    expect(await names()).toEqual([]);
    await storage.qosSpecs.associate(root, gold.id, fast.id);
    await storage.qosSpecs.delete(root, gold.id, { force: true });
    expect((await storage.volumeTypes.get(root, 'fast')).qosSpecId).toBeNull();
    await expect(storage.qosSpecs.associate(root, bronze.id, 'none')).rejects.toMatchObject({ code: 'not-found' });
    await storage.volumeTypes.delete(root, slow.id);
  });
});

describe('the limits of a volume', () => {
  let transport: LimitingTransport;
  let storage: BlockStorage;
  const plugins = (over: RecordingTransport): PluginConfiguration => ({
    backends: {
      memory: { plugin: memoryDriver({ backend: new MemoryBackend({ backendId: systemRandom.uuid() }) }), transport: 'wire' },
    },
    transports: { wire: { plugin: recordingTransport(over) } },
  });
  const start = (over: RecordingTransport) => memoryInstance({ plugins: plugins(over), worker: { retryPauses: [1], drain: 0 } });

  beforeEach(async () => {
    transport = new LimitingTransport();
    storage = await start(transport);
  });
  afterEach(() => storage.stop());

  async function type(name: string, request: Omit<NewQosSpec, 'name'>, over = storage): Promise<string> {
    const { id } = await over.qosSpecs.create(root, { name: `spec of ${name}`, ...request });
    const made = await over.volumeTypes.create(root, { name });
    await over.qosSpecs.associate(root, id, made.id);
    return id;
  }
  async function volume(volumeType: string, size = 2 * gib, over = storage): Promise<string> {
    const { volume: made, operationId } = await over.volumes.create(alice, { size, volumeType });
    await over.operations.wait(operationId, patience);
    return made.id;
  }
  const attach = async (volumeId: string) => {
    const { id } = await storage.attachments.create(alice, { volumeId, connector: host1 });
    await storage.attachments.complete(alice, id);
    return (await storage.attachments.connectionInfo(alice, id))?.data.qos_specs;
  };
  const exported = () => [...transport.exports.values()].map(({ limits }) => limits);

  it('of the back end go to the target alone, those of the front end to the hypervisor, and both to both', async () => {
    const specs = { total_iops_sec: '500', size_iops_sec: '4096', vendor: 'x' };
    await type('back', { specs });
    await type('front', { consumer: 'front-end', specs });
    await type('both', { consumer: 'both', specs });
    const limits = { ...iops(500), operationSize: 4096 };
    expect([await attach(await volume('back')), exported().at(-1)]).toEqual([null, limits]);
    expect([await attach(await volume('front')), exported().at(-1)]).toEqual([specs, undefined]);
    expect([await attach(await volume('both')), exported().at(-1)]).toEqual([specs, limits]);
    expect([await attach(await volume('__DEFAULT__')), exported().at(-1)]).toEqual([null, undefined]);
  });

  it('follow from its size where they are so much a GiB, but not below the least', async () => {
    const specs = {
      read_iops_sec_per_gb: '100',
      read_iops_sec_per_gb_min: '150',
      read_iops_sec_max: '1000',
      write_bytes_sec: '7',
      write_bytes_sec_per_gb: '1000',
    };
    await type('grows', { consumer: 'both', specs });
    expect(await attach(await volume('grows', gib))).toEqual({
      read_iops_sec: '150',
      read_iops_sec_max: '1000',
      write_bytes_sec: '1000',
    });
    expect(exported()).toEqual([
      { readOperations: { perSecond: 150, burst: 1000 }, writeBytes: { perSecond: 1000, burst: 100 } },
    ]);
    const id = await volume('grows', 3 * gib);
    expect(await attach(id)).toMatchObject({ read_iops_sec: '300', write_bytes_sec: '3000' });
    const { operationId } = await storage.volumes.extend(alice, id, 5 * gib);
    await storage.operations.wait(operationId, patience);
    expect(transport.limits).toEqual([
      [id, { readOperations: { perSecond: 500, burst: 1000 }, writeBytes: { perSecond: 5000, burst: 500 } }],
    ]);
  });

  it('mean no limit where they are 0, and a burst is no less than a tenth of a second', async () => {
    await type('none', { specs: { total_iops_sec: '0', read_bytes_sec: '50', read_bytes_sec_max: '1' } });
    await attach(await volume('none'));
    expect(exported()).toEqual([{ readBytes: { perSecond: 50, burst: 5 } }]);
  });

  it('change with its type, also while it is attached', async () => {
    await type('gold', { specs: { total_iops_sec: '500' } });
    await type('bronze', { specs: { total_iops_sec: '100' } });
    const id = await volume('gold');
    await attach(id);
    for (const to of ['bronze', '__DEFAULT__']) {
      const { operationId } = await storage.moves.retype(alice, id, to, 'never');
      await storage.operations.wait(operationId, patience);
    }
    expect(transport.limits).toEqual([
      [id, iops(100)],
      [id, null],
    ]);
  });

  it('come from what the spec says when it is attached', async () => {
    const spec = await type('gold', { specs: { total_iops_sec: '500' } });
    const id = await volume('gold');
    await storage.qosSpecs.update(root, spec, { specs: { total_iops_sec: '900' } });
    await attach(id);
    expect(exported()).toEqual([iops(900)]);
  });

  it('that nobody would keep refuse the attachment and the retype, and name the transport', async () => {
    await storage.stop();
    const plain = new RecordingTransport();
    storage = await start(plain);
    await type('gold', { specs: { total_iops_sec: '500' } });
    await type('told', { consumer: 'front-end', specs: { total_iops_sec: '500' } });
    const id = await volume('gold');
    await expect(storage.attachments.create(alice, { volumeId: id, connector: host1 })).rejects.toMatchObject({
      code: 'not-supported',
      message: expect.stringContaining('Transport wire'),
    });
    expect(plain.exports.size).toBe(0);
    expect((await storage.volumes.get(alice, id)).status).toBe('available');
    const told = await volume('told');
    expect(await attach(told)).toEqual({ total_iops_sec: '500' });
    const { operationId } = await storage.moves.retype(alice, told, 'gold', 'never');
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'not-supported' });
    expect((await storage.volumes.get(alice, told)).volumeTypeId).toBe((await storage.volumeTypes.get(root, 'told')).id);
  });
});
