import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBlockStorage, silentLog, systemClock, systemRandom, type ConnectionInfo, type PluginCall } from '@scoria/core';
import { filePlugin } from '@scoria/driver-file';
import lio, { lioRoot } from '@scoria/driver-iscsi/lio';
import { createSqliteStore } from '@scoria/store-sql';
import { expect, test } from 'vitest';
import { IscsiInitiator } from '../../packages/driver-iscsi/src/initiator/index.ts';
import { caller } from '../unit/instance.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const [alice, root] = [caller('alice'), caller('root', true)];
const patience = 20_000;
const initiatorName = 'iqn.2026-11.org.scoria.lab:client';
const client = new IscsiInitiator({
  initiatorName,
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
  times: { patience: 1_000 },
});

test('the reconciler completes an export that is half-made, and leaves the sessions of all others alone', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'reconciliation-'));
  const storage = await createBlockStorage({
    store: createSqliteStore({ path: ':memory:' }),
    plugins: {
      backends: { files: { plugin: filePlugin, config: { directory }, transport: 'kernel' } },
      transports: { kernel: { plugin: lio } },
    },
    accessKey: systemRandom.bytes(32),
    baseDirectory: directory,
    settings: { host: 'lab' },
  });
  const groupOf = ({ data }: ConnectionInfo) => join(lioRoot, 'iscsi', String(data['target_iqn']), 'tpgt_1');
  const connect = (info: ConnectionInfo) => client.connect(info, { readOnly: false }, call);
  const exports = async () => (await storage.audits.run(root)).transports[0]?.exports ?? [];
  async function attach(): Promise<ConnectionInfo> {
    const { volume, operationId } = await storage.volumes.create(alice, { size: 2 ** 20 });
    await storage.operations.wait(operationId, patience);
    const { id } = await storage.attachments.create(alice, {
      volumeId: volume.id,
      connector: { initiator: initiatorName, host: 'lab' },
    });
    const info = await storage.attachments.connectionInfo(alice, id);
    if (info === null) throw new Error('the attachment has no connection');
    return info;
  }
  try {
    const [half, whole] = [await attach(), await attach()];
    const witness = await connect(whole);
    await writeFile(join(groupOf(half), 'enable'), '0');
    await unlink(join(groupOf(half), 'lun/lun_0/read-write'));
    expect((await exports()).filter(({ complete }) => !complete)).toHaveLength(1);
    await expect(connect(half)).rejects.toThrow();

    const { findings } = await storage.reconciler.run(root);
    const unpublished = findings.filter(({ kind }) => kind === 'unpublished-access');
    expect(unpublished).toMatchObject([{ evidence: { halfMade: true } }]);
    await storage.operations.wait(unpublished[0]?.operationId ?? '', patience);
    expect((await exports()).map(({ complete }) => complete)).toEqual([true, true]);
    const device = await connect(half);
    for (const each of [device, witness]) await each.write(new Uint8Array(4096).fill(1), 0);
    await storage.reconciler.run(root);
    expect(await storage.reconciler.findings(root)).toEqual([]);
    for (const each of [device, witness]) await each.close();
  } finally {
    await storage.stop();
    await rm(directory, { recursive: true });
  }
});
