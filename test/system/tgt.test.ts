import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTransport, transportConformance, type Damage } from '@scoria/conformance';
import { silentLog, systemClock, systemRandom, type ExportRequest, type PluginCall } from '@scoria/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { IscsiInitiator } from '../../packages/driver-iscsi/src/initiator/index.ts';
import tgt from '../../packages/driver-iscsi/src/tgt/index.ts';
import { connect } from '../lab/fixtures/iscsi-client.ts';
import { loopVolumes } from '../lab/fixtures/loop-volumes.ts';
import { until } from './polling.ts';
import { killNow } from './processes.ts';
import { run, systemEnvironment } from './programs.ts';

const port = 33_270;
let directory: string;
let end: () => Promise<void>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tgt-'));
  const env = systemEnvironment({ TGT_IPC_SOCKET: join(directory, 'control') });
  const daemon = spawn('tgtd', ['--foreground', '--iscsi', `portal=127.0.0.1:${port}`], { env, stdio: 'ignore' });
  await once(daemon, 'spawn');
  end = async () => {
    await run('tgtadm', ['--op', 'delete', '--mode', 'system'], { env });
    if (daemon.pid !== undefined) await killNow(daemon.pid);
  };
  await until('tgtd to answer', async () => {
    const { code } = await run('tgtadm', ['--op', 'show', '--mode', 'system'], { env });
    return code === 0 ? true : undefined;
  });
});

afterAll(async () => {
  await end();
  await rm(directory, { recursive: true, force: true });
});

/** Takes away the rule that admits initiators, which an export gets last. */
const damage: Damage = async ({ data }) => {
  const env = systemEnvironment({ TGT_IPC_SOCKET: join(directory, 'control') });
  const tgtadm = (...args: string[]) => run('tgtadm', ['--lld', 'iscsi', '--mode', 'target', ...args], { env, must: true });
  const { stdout } = await tgtadm('--op', 'show');
  const [, tid = ''] = new RegExp(`^Target (\\d+): ${String(data['target_iqn'])}$`, 'm').exec(stdout) ?? [];
  await tgtadm('--op', 'unbind', '--tid', tid, '--initiator-address', 'ALL');
};

const start = () => startTransport(tgt, { listen: [`127.0.0.1:${port}`], controlSocket: join(directory, 'control') });

describe('tgt with files', () => {
  transportConformance({ describe, test, create: start, connect, damage });
});

describe('tgt with block devices', () => {
  transportConformance({
    describe,
    test,
    create: async () => ({ ...(await start()), volumes: await loopVolumes() }),
    connect,
    damage,
  });
});

test('a volume grows while a host writes to it, and no write fails', async () => {
  const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
  const { transport, volumes, cleanup } = await start();
  await transport.start(call);
  const size = 8 * 1024 * 1024;
  const request: ExportRequest = {
    accessId: systemRandom.uuid(),
    volumeId: systemRandom.uuid(),
    device: await volumes.create(size),
    readOnly: false,
    secret: 'a-secret-of-16-b',
  };
  await transport.export(request, call);
  const initiator = new IscsiInitiator({
    initiatorName: 'iqn.2026-11.org.scoria.test:patient',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });
  const device = await initiator.connect(transport.connectionInfo(request), { readOnly: false }, call);
  let [running, writes] = [true, 0];
  const writing = (async () => {
    for (; running; writes++) await device.write(new Uint8Array(4096).fill(writes), (writes % 1024) * 4096);
  })();
  await until('the first writes', () => (writes > 10 ? true : undefined));
  await volumes.resize(request.device, 2 * size);
  await transport.resize(request.volumeId, call);
  const before = writes;
  await until('writes after the resize', () => (writes > before + 10 ? true : undefined));
  expect(await device.refreshSize()).toBe(2 * size);
  running = false;
  await writing;
  await device.close();
  await transport.stop();
  await volumes.remove();
  await cleanup();
});
