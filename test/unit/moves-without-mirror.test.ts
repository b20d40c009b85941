import { type BlockStorage, systemRandom } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { caller } from './instance.ts';
import { movingInstance } from './moving-instance.ts';
import { RecordingTransport } from './recording-transport.ts';
import { scriptedDriver } from './scripted-driver.ts';

const mib = 2 ** 20;
const alice = caller('alice');
const root = caller('root', true);
const patience = 10_000;
const connector = { initiator: 'iqn.2026-11.test:host1', host: 'host1' };

describe('where the transport cannot mirror, a volume that a host may write to', () => {
  let storage: BlockStorage;
  let transport: RecordingTransport;
  /** Called when the new place of a volume is about to be made. */
  let onMove: () => Promise<void>;

  beforeEach(async () => {
    onMove = async () => {};
    transport = new RecordingTransport();
    const arrays = new Map(['old', 'new'].map((name) => [name, new MemoryBackend({ backendId: systemRandom.uuid() })]));
    const plugin = memoryDriver({ backend: (name) => arrays.get(name) ?? new MemoryBackend({ backendId: name }) });
    const watched = scriptedDriver(plugin, async (verb) => {
      if (verb === 'create') await onMove();
    });
    storage = await movingInstance({ old: plugin, new: watched }, transport);
  });
  afterEach(() => storage.stop());

  async function volume(): Promise<string> {
    const made = await storage.volumes.create(alice, { size: mib, volumeType: 'old' });
    await storage.operations.wait(made.operationId, patience);
    return made.volume.id;
  }
  const attach = (volumeId: string) => storage.attachments.create(alice, { volumeId, connector });
  async function expectLeft(volumeId: string): Promise<void> {
    expect(await storage.volumes.get(alice, volumeId)).toMatchObject({ hostString: 'host@old#pool' });
    expect(
      (await storage.audits.run(root)).backends.flatMap(({ unknown, missing }) => [...(unknown ?? []), ...(missing ?? [])]),
    ).toEqual([]);
    const [published] = transport.exports.values();
    expect(published?.volumeId).toBe(volumeId);
  }

  it('does not move', async () => {
    const id = await volume();
    const { id: attachment } = await attach(id);
    await storage.attachments.complete(alice, attachment);
    const { operationId } = await storage.moves.migrate(root, id, 'host@new');
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'not-supported' });
    await expectLeft(id);
  });

  it('stays where it is when it was attached while it was copied', async () => {
    const id = await volume();
    onMove = async () => void (await attach(id));
    const { operationId } = await storage.moves.migrate(root, id, 'host@new');
    await expect(storage.operations.wait(operationId, patience)).rejects.toMatchObject({ code: 'not-supported' });
    await expectLeft(id);
  });
});
