import { mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock, systemRandom, type ExportRequest, type PluginCall } from '@scoria/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { iscsiConfiguration } from '../src/configuration.ts';
import { controlSocketPath } from '../src/control/socket-path.ts';
import { IscsiTransport } from '../src/iscsi-transport.ts';
import { accessId, eventually, iqn, mebibyte, secret, volumeId } from './target-fixture.ts';
import { freePort } from './free-port.ts';
import { cdbs, TestInitiator } from './test-initiator.ts';

let directory: string;
let port: number;
const transports: IscsiTransport[] = [];
const initiators: TestInitiator[] = [];
const processIds = new Set<number>();
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-iscsi-'));
  port = await freePort();
  await writeFile(join(directory, 'volume'), '');
  await truncate(join(directory, 'volume'), 8 * mebibyte);
  await writeFile(join(directory, 'copy'), '');
  await truncate(join(directory, 'copy'), 8 * mebibyte);
});
afterEach(async () => {
  for (const initiator of initiators.splice(0)) initiator.close();
  await Promise.all(transports.splice(0).map((transport) => transport.stop()));
  for (const processId of processIds) if (runs(processId)) process.kill(processId, 'SIGKILL');
  processIds.clear();
  await rm(directory, { recursive: true });
});

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

function makeTransport(config: object = {}): IscsiTransport {
  const transport = new IscsiTransport({
    name: 'main',
    config: iscsiConfiguration.parse({ listen: [`127.0.0.1:${port}`], ...config }),
    baseDirectory: directory,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    openers: {},
  });
  transports.push(transport);
  return transport;
}

async function started(config: object = {}): Promise<IscsiTransport> {
  const transport = makeTransport(config);
  await transport.start(call);
  processIds.add(transport.processId);
  return transport;
}

const request = (): ExportRequest => ({
  accessId,
  volumeId,
  device: { kind: 'path', path: join(directory, 'volume'), blockSize: 512 },
  readOnly: false,
  secret,
});

async function session(): Promise<TestInitiator> {
  const initiator = await TestInitiator.connect(port);
  initiators.push(initiator);
  expect(await initiator.login({ target: iqn(), user: accessId, secret })).toBe(0);
  await initiator.command(cdbs.testUnitReady);
  return initiator;
}

const runs = (processId: number): boolean => {
  try {
    return process.kill(processId, 0);
  } catch {
    return false;
  }
};

const listening = (on: number): Promise<Server> =>
  new Promise((resolve) => {
    const server = createServer().listen(on, '127.0.0.1', () => resolve(server));
  });

describe('a target in a process of its own', () => {
  test('serves exports behind a socket of its owner alone, and ends when it is told to', async () => {
    const transport = await started();
    const path = controlSocketPath(directory, 'main');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, '..'))).mode & 0o777).toBe(0o700);
    expect(transport.processId).not.toBe(process.pid);
    await transport.export(request(), call);
    const initiator = await session();
    await initiator.command(cdbs.write10(0, 1, 0x08), { data: Buffer.alloc(512, 7) });
    expect(await transport.list(call)).toEqual([{ accessId, volumeId, readOnly: false, sessions: ['iqn.2026-11.test:host'] }]);
    await transport.stop();
    await initiator.ended();
    await eventually(() => !runs(transport.processId), 'the end of the process');
  });

  test('tells errors by their code, progress of a copy, and cancels it', async () => {
    const transport = await started();
    const missing = { ...request(), device: { ...request().device, path: join(directory, 'missing') } };
    await expect(transport.export(missing, call)).rejects.toMatchObject({ code: 'device-gone' });
    await transport.export(request(), call);
    const initiator = await session();
    await initiator.command(cdbs.writeSame10(0, 16_384), { data: Buffer.alloc(512, 1) });
    const target = { kind: 'path', path: join(directory, 'copy'), blockSize: 512 as const };
    const progress: number[] = [];
    await transport.copy(volumeId, request().device, target, { ...call, progress: (done) => progress.push(done) });
    expect(progress.at(-1)).toBe(8 * mebibyte);
    const controller = new AbortController();
    const cancelled = transport.copy(volumeId, request().device, target, {
      ...call,
      signal: controller.signal,
      progress: () => controller.abort(),
    });
    await expect(cancelled).rejects.toMatchObject({ code: 'cancelled' });
  });

  test('goes on without its controller, and is adopted by the next one with its sessions', async () => {
    const first = await started();
    await first.export(request(), call);
    const initiator = await session();
    // As after a kill of the control plane: the process is left alone with its exports.
    const second = await started();
    expect(second.processId).toBe(first.processId);
    await second.export(request(), call);
    expect((await initiator.command(cdbs.write10(0, 1), { data: Buffer.alloc(512, 3) })).status).toBe(0);
  });

  test('is replaced when it listens elsewhere than it should', async () => {
    const first = await started();
    const before = first.processId;
    first.abandon();
    port = await freePort();
    const second = await started();
    expect(second.processId).not.toBe(before);
    await eventually(() => !runs(before), 'the end of the process before');
  });

  test('is started again when it dies, with all it had', async () => {
    const transport = await started();
    await transport.export(request(), call);
    const copy = { ...request().device, path: join(directory, 'copy') };
    await transport.export({ ...request(), accessId: volumeId, volumeId: accessId, device: copy }, call);
    // What cannot be published again must not keep the rest away.
    await rm(copy.path);
    const initiator = await session();
    const before = transport.processId;
    process.kill(before, 'SIGKILL');
    await initiator.ended();
    expect(
      await eventually(
        () =>
          transport.list(call).then(
            (list) => list.length > 0,
            () => false,
          ),
        'the restart',
      ),
    ).toBe(true);
    processIds.add(transport.processId);
    expect(transport.processId).not.toBe(before);
    expect((await (await session()).command(cdbs.testUnitReady)).status).toBe(0);
  });

  test('is not put off by a socket that nobody listens on', async () => {
    const first = await started();
    first.abandon();
    process.kill(first.processId, 'SIGKILL');
    await eventually(() => !runs(first.processId), 'the end of the process');
    expect(await readdir(join(directory, 'run'))).toEqual(['iscsi-main.sock']);
    const second = await started();
    await second.export(request(), call);
    await session();
  });

  test('says so when its address is taken', async () => {
    const other = await listening(port);
    try {
      await expect(makeTransport().start(call)).rejects.toMatchObject({
        code: 'address-in-use',
        message: expect.stringContaining(`127.0.0.1:${port}`),
        remedy: expect.stringContaining('choose another address'),
      });
    } finally {
      other.close();
    }
  });

  test('ends by itself when nobody controls it', async () => {
    const transport = await started({ orphanTimeout: 0.2 });
    const { processId } = transport;
    expect(runs(processId)).toBe(true);
    transport.abandon();
    await eventually(() => !runs(processId), 'the end of the orphan');
  });
});

describe('the control socket', () => {
  test('has a short path where the directory has a long one', () => {
    const path = controlSocketPath(`/${'long/'.repeat(40)}`, 'main');
    expect(Buffer.byteLength(path)).toBeLessThanOrEqual(100);
    expect(path).toBe(controlSocketPath(`/${'long/'.repeat(40)}`, 'main'));
    expect(path).not.toBe(controlSocketPath(`/${'long/'.repeat(40)}`, 'other'));
  });
});
