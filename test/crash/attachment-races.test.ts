import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BlockStorage, ScoriaError } from '@scoria/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { faultsAtRest } from '../simulation/at-rest.ts';
import type { SimulatedProcess } from '../simulation/simulated-process.ts';
import { makeArray } from './arrays.ts';
import { volumeSize } from './content.ts';
import { alice, root, Site } from './site.ts';

const host1 = { initiator: 'iqn.2026-11.test:host1', host: 'host1' };
const host2 = { initiator: 'iqn.2026-11.test:host2', host: 'host2' };

describe('two who want something of one volume at a time', () => {
  let directory: string;
  let site: Site;
  let process: SimulatedProcess;
  let storage: BlockStorage;
  /** Verbs that wait until a test lets them go on, or fail them. */
  let stuck: Map<string, PromiseWithResolvers<void>>;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'scoria-races-'));
    site = await Site.open({ array: (name, backendId) => makeArray('instant', backendId, join(directory, name)) });
    ({ process, storage } = await site.running());
    stuck = new Map();
    process.probe = {
      verb: async (name, proceed) => {
        await stuck.get(name)?.promise;
        return proceed();
      },
    };
  });
  afterEach(async () => {
    await site.close();
    rmSync(directory, { recursive: true });
  });

  const hold = (verb: string) => {
    const gate = Promise.withResolvers<void>();
    gate.promise.catch(() => {});
    stuck.set(verb, gate);
    return { go: gate.resolve, fail: () => gate.reject(new ScoriaError('not-supported', `The test lets ${verb} fail.`)) };
  };
  const drive = <T>(work: Promise<T>) => site.time.drive(work);
  /** Begins something and comes back when it is stuck. */
  const begun = async <T>(work: Promise<T>): Promise<{ end(): Promise<T> }> => {
    work.catch(() => {});
    await site.time.settled();
    return { end: () => drive(work) };
  };
  const ended = async ({ operationId }: { readonly operationId: string }) => drive(storage.operations.wait(operationId, 60_000));
  const statusOf = async (volumeId: string) => (await storage.volumes.get(alice, volumeId)).status;
  const faults = () => faultsAtRest(site.rested());

  async function volume(multiattach = true): Promise<string> {
    const made = await drive(storage.volumes.create(alice, { size: volumeSize, volumeType: 'here', multiattach }));
    await ended(made);
    return made.volume.id;
  }
  async function attached(volumeId: string, connector: typeof host1, instanceId: string): Promise<string> {
    const { id } = await drive(storage.attachments.create(alice, { volumeId, connector, instanceId }));
    await drive(storage.attachments.complete(alice, id));
    return id;
  }

  it('a detach ends while the volume is made larger for those who stay', async () => {
    const volumeId = await volume();
    const first = await attached(volumeId, host1, 'one');
    await attached(volumeId, host2, 'two');
    const fence = hold('transport.unexport');
    const detach = await begun(storage.attachments.delete(alice, first));
    const growth = hold('driver.extend');
    const extension = await drive(storage.volumes.extend(alice, volumeId, 2 * volumeSize));
    fence.go();
    const before = site.time.now;
    await detach.end();
    // It is not a lease that had to run out.
    expect(site.time.now - before).toBeLessThan(1_000);
    expect(await statusOf(volumeId)).toBe('extending');
    growth.go();
    await ended(extension);
    expect(await statusOf(volumeId)).toBe('in-use');
    expect(await faults()).toEqual([]);
  });

  it('a connection that fails while the volume is made larger leaves everything as it was', async () => {
    const volumeId = await volume();
    await attached(volumeId, host1, 'one');
    const { id } = await drive(storage.attachments.create(alice, { volumeId, instanceId: 'two' }));
    const publication = hold('transport.export');
    const connection = await begun(storage.attachments.update(alice, id, { connector: host2 }));
    const growth = hold('driver.extend');
    const extension = await drive(storage.volumes.extend(alice, volumeId, 2 * volumeSize));
    publication.fail();
    await expect(connection.end()).rejects.toMatchObject({ code: 'not-supported' });
    expect(await storage.attachments.get(alice, id)).toMatchObject({ status: 'reserved', accessId: null, connector: null });
    growth.go();
    await ended(extension);
    expect(await statusOf(volumeId)).toBe('in-use');
    expect(await faults()).toEqual([]);
  });

  it('a detach whose fence cannot be raised ends though its host has come again, and can be tried again', async () => {
    const volumeId = await volume();
    const first = await attached(volumeId, host1, 'one');
    const fence = hold('transport.unexport');
    const detach = await begun(storage.attachments.delete(alice, first));
    const second = await attached(volumeId, host1, 'two');
    fence.fail();
    await expect(detach.end()).rejects.toMatchObject({ code: 'not-supported' });
    expect(await storage.attachments.get(alice, first)).toMatchObject({ status: 'attached' });
    stuck.clear();
    await drive(storage.attachments.delete(alice, first));
    expect((await storage.attachments.list(alice, {})).map(({ id }) => id)).toEqual([second]);
    expect(await faults()).toEqual([]);
  });

  it('a detach that comes while the connection is being ended ends the attachment too', async () => {
    const volumeId = await volume(false);
    await attached(volumeId, host1, 'one');
    const fence = hold('transport.unexport');
    const termination = await begun(storage.connections.terminateConnection(alice, volumeId, host1));
    const detach = await begun(storage.connections.detach(alice, volumeId));
    fence.go();
    await termination.end();
    await detach.end();
    expect([await statusOf(volumeId), await storage.attachments.list(alice, {})]).toEqual(['available', []]);
    expect(await faults()).toEqual([]);
  });

  it('a detach that is under way cannot be taken back', async () => {
    const volumeId = await volume(false);
    const id = await attached(volumeId, host1, 'one');
    const fence = hold('transport.unexport');
    const detach = await begun(storage.attachments.delete(alice, id));
    await expect(drive(storage.connections.rollDetaching(alice, volumeId))).rejects.toMatchObject({ code: 'invalid-state' });
    expect(await statusOf(volumeId)).toBe('detaching');
    fence.go();
    await detach.end();
    expect(await statusOf(volumeId)).toBe('available');
  });

  it('a detach that a crash holds up ends where its volume has moved to meanwhile', async () => {
    const volumeId = await volume();
    const first = await attached(volumeId, host1, 'one');
    await attached(volumeId, host2, 'two');
    hold('transport.unexport');
    await begun(storage.attachments.delete(alice, first));
    process.kill();
    ({ process, storage } = await site.running());
    await ended(await drive(storage.moves.migrate(root, volumeId, 'host@there')));
    expect((await storage.attachments.get(alice, first)).status).toBe('detaching');
    await drive(storage.attachments.delete(alice, first));
    expect((await storage.attachments.list(alice, {})).map(({ status }) => status)).toEqual(['attached']);
    expect(await faults()).toEqual([]);
  });

  it('a volume that has moved while it was being published is published where it lies', async () => {
    const volumeId = await volume();
    const copy = hold('transport.mirror');
    const migration = await drive(storage.moves.migrate(root, volumeId, 'host@there'));
    const publication = hold('transport.export');
    const connection = await begun(storage.attachments.create(alice, { volumeId, connector: host1 }));
    copy.go();
    await ended(migration);
    publication.go();
    const { accessId } = await connection.end();
    const { placementId } = await storage.volumes.get(alice, volumeId);
    expect(site.target.exports.get(accessId ?? '')?.device.path).toContain(placementId);
    expect(await faults()).toEqual([]);
  });

  describe('an attachment that is asked for with its connection', () => {
    const key = { key: 'attach-once', fingerprint: 'attach-once' };

    it('leaves nothing when the target refuses, and says so again to who asks again by the same key', async () => {
      const volumeId = await volume();
      hold('transport.export').fail();
      for (let time = 0; time < 2; time += 1) {
        const request = storage.attachments.create({ ...alice, idempotency: key }, { volumeId, connector: host1 });
        await expect(drive(request)).rejects.toMatchObject({ code: 'not-supported' });
      }
      expect([await statusOf(volumeId), await storage.attachments.list(alice, {})]).toEqual(['available', []]);
      expect(await faults()).toEqual([]);
    });

    it('is made and connected though nobody waits for it any more', async () => {
      const volumeId = await volume();
      hold('transport.export');
      const request = { volumeId, connector: host1 };
      await begun(storage.attachments.create({ ...alice, idempotency: key }, request));
      process.kill();
      ({ process, storage } = await site.running());
      const made = await drive(storage.attachments.create({ ...alice, idempotency: key }, request));
      expect(made.status).toBe('attaching');
      expect(await storage.attachments.list(alice, {})).toEqual([made]);
      expect([...site.target.exports.keys()]).toEqual([made.accessId]);
      expect(await faults()).toEqual([]);
    });

    it('is not made at all when the connector names no initiator', async () => {
      const volumeId = await volume();
      await expect(drive(storage.attachments.create(alice, { volumeId, connector: {} }))).rejects.toMatchObject({
        code: 'invalid-input',
      });
      expect([await statusOf(volumeId), await storage.attachments.list(alice, {})]).toEqual(['available', []]);
    });
  });

  it('a reservation whose connection failed can be ended in the older way, and no reservation leaves nothing', async () => {
    const volumeId = await volume(false);
    hold('transport.export').fail();
    const connect = () => drive(storage.connections.initializeConnection(alice, volumeId, host1));
    await drive(storage.connections.reserve(alice, volumeId));
    await expect(connect()).rejects.toMatchObject({ code: 'not-supported' });
    expect(await statusOf(volumeId)).toBe('attaching');
    await drive(storage.connections.unreserve(alice, volumeId));
    expect(await statusOf(volumeId)).toBe('available');
    await expect(connect()).rejects.toMatchObject({ code: 'not-supported' });
    expect(await statusOf(volumeId)).toBe('available');
    expect(await faults()).toEqual([]);
  });
});
