import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTransport, transportConformance } from '@scoria/conformance';
import { afterAll, beforeAll, describe, test } from 'vitest';
import tgt from '../../packages/driver-iscsi/src/tgt/index.ts';
import { connect } from '../lab/fixtures/iscsi-client.ts';
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

describe('tgt with files', () => {
  transportConformance({
    describe,
    test,
    create: () => startTransport(tgt, { listen: [`127.0.0.1:${port}`], controlSocket: join(directory, 'control') }),
    connect,
  });
});
