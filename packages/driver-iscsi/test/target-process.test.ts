import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Clock, type ExportRequest, type PluginCall } from '@scoria/core';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { controlSocketPath } from '../src/control/socket-path.ts';
import { IscsiTransport } from '../src/iscsi-transport.ts';
import { chapResponse, decodeBinary } from '../src/protocol/chap.ts';
import { accessId, eventually, iqn, mebibyte, secret, volumeId } from './target-fixture.ts';
import { freePort } from './free-port.ts';
import { processTransport } from './process-transport.ts';
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

function makeTransport(config: object = {}, clock: Clock = systemClock): IscsiTransport {
  const transport = processTransport({ directory, port }, config, clock);
  transports.push(transport);
  return transport;
}

async function started(config: object = {}, clock: Clock = systemClock): Promise<IscsiTransport> {
  const transport = makeTransport(config, clock);
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

/** A clock by which deadlines come ten times as soon. */
const hasty: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic() * 10,
  sleep: (ms, signal) => systemClock.sleep(ms / 10, signal),
  timer: (ms, fn) => systemClock.timer(ms / 10, fn),
};

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

describe('a target in a process of its own', { timeout: 20_000 }, () => {
  test('serves exports behind a socket of its owner alone, and ends when it is told to', async () => {
    const transport = await started();
    const path = controlSocketPath(directory, 'main');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, '..'))).mode & 0o777).toBe(0o700);
    expect(transport.processId).not.toBe(process.pid);
    await transport.export(request(), call);
    const initiator = await session();
    await initiator.command(cdbs.write10(0, 1, 0x08), { data: Buffer.alloc(512, 7) });
    expect(await transport.list(call)).toEqual([
      { accessId, volumeId, readOnly: false, complete: true, sessions: ['iqn.2026-11.test:host'] },
    ]);
    const { processId } = transport;
    await transport.stop();
    await initiator.ended();
    await eventually(() => !runs(processId), 'the end of the process');
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
    // So much that it cannot be done before the cancel arrives.
    await writeFile(join(directory, 'large'), Buffer.alloc(128 * mebibyte, 1));
    await truncate(target.path, 128 * mebibyte);
    const large = { ...target, path: join(directory, 'large') };
    const cancelled = transport.copy(accessId, large, target, {
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

  test('is replaced when it stands still', async () => {
    const first = await started();
    const before = first.processId;
    first.abandon();
    process.kill(before, 'SIGSTOP');
    const second = await started({}, hasty);
    expect(second.processId).not.toBe(before);
    expect(runs(before)).toBe(false);
    await second.export(request(), call);
    await session();
  });

  test('is replaced when its socket was lost', async () => {
    const first = await started();
    const before = first.processId;
    first.abandon();
    await rm(controlSocketPath(directory, 'main'));
    const second = await started({}, hasty);
    expect([second.processId === before, runs(before)]).toEqual([false, false]);
  });

  test('is not mistaken for another process that has its number', async () => {
    const first = await started();
    // Begun well after the target: the two are told apart by their start, which is known to 10 ms.
    const other = execa('sleep', ['60'], { reject: false });
    try {
      const file = `${controlSocketPath(directory, 'main')}.pid`;
      const identity = z.record(z.string(), z.unknown()).parse(JSON.parse(await readFile(file, 'utf8')));
      expect([identity['processId'], (await stat(file)).mode & 0o777]).toEqual([first.processId, 0o600]);
      await first.stop();
      expect(await readdir(join(directory, 'run'))).toEqual([]);
      await writeFile(file, JSON.stringify({ ...identity, processId: other.pid }));
      await started({}, hasty);
      expect(runs(other.pid!)).toBe(true);
    } finally {
      other.kill('SIGKILL');
      await other;
    }
  });

  test('is started again by the transport that stopped it', async () => {
    const transport = await started();
    await transport.export(request(), call);
    await transport.stop();
    await expect(transport.list(call)).rejects.toMatchObject({ code: 'transport-failed' });
    await transport.start(call);
    processIds.add(transport.processId);
    expect(await transport.list(call)).toEqual([]);
    await transport.export(request(), call);
    await session();
  });

  test('proves itself with the secret of a file that only its owner may read', async () => {
    const secretFile = join(directory, 'mutual');
    const config = { mutualChap: { username: 'the-target', secretFile: 'mutual' } };
    const refused = { code: 'invalid-configuration', message: expect.stringContaining(secretFile) };
    await expect(makeTransport(config).start(call)).rejects.toMatchObject(refused);
    await writeFile(secretFile, 'a secret of the target\n', { mode: 0o644 });
    await expect(makeTransport(config).start(call)).rejects.toMatchObject(refused);
    await chmod(secretFile, 0o600);
    await writeFile(secretFile, 'too short\n');
    await expect(makeTransport(config).start(call)).rejects.toMatchObject(refused);
    await writeFile(secretFile, 'a secret of the target\n');
    const transport = await started(config);
    await transport.export(request(), call);
    const initiator = await TestInitiator.connect(port);
    initiators.push(initiator);
    await initiator.loginStep(0, null, { InitiatorName: 'iqn.2026-11.test:host', TargetName: iqn(), AuthMethod: 'CHAP' });
    const { keys } = await initiator.loginStep(0, null, { CHAP_A: '7' });
    const response = chapResponse('7', Number(keys.get('CHAP_I')), secret, decodeBinary(keys.get('CHAP_C') ?? ''));
    const answer = await initiator.loginStep(0, 1, {
      CHAP_N: accessId,
      CHAP_R: `0x${response.toString('hex')}`,
      CHAP_I: '1',
      CHAP_C: '0x01020304',
    });
    const proof = chapResponse('7', 1, 'a secret of the target', Buffer.from('01020304', 'hex'));
    expect(answer.keys.get('CHAP_R')).toBe(`0x${proof.toString('hex')}`);
  });

  test('sends logins elsewhere as its controller is configured, without losing a session', async () => {
    const first = await started();
    await first.export(request(), call);
    const initiator = await session();
    first.abandon();
    const second = await started({ redirect: '192.0.2.7:3260' });
    expect(second.processId).toBe(first.processId);
    const other = await TestInitiator.connect(port);
    initiators.push(other);
    expect(await other.login({ target: iqn(), user: accessId, secret })).toBe(0x0101);
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
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

  test('is started again when it dies, with the limits that were the last', async () => {
    const transport = await started();
    await transport.export({ ...request(), limits: { totalOperations: { perSecond: 1000, burst: 1000 } } }, call);
    await transport.limit(volumeId, { totalOperations: { perSecond: 0.001, burst: 1 } }, call);
    const before = await session();
    process.kill(transport.processId, 'SIGKILL');
    await before.ended();
    await eventually(
      () =>
        transport.list(call).then(
          ({ length }) => length > 0,
          () => false,
        ),
      'the restart',
    );
    processIds.add(transport.processId);
    const initiator = await session();
    await initiator.command(cdbs.read10(0, 1));
    const order: string[] = [];
    const held = initiator.command(cdbs.read10(0, 1)).then(() => order.push('read'));
    // Sent later, and answered first.
    await initiator.command(cdbs.testUnitReady).then(() => order.push('ready'));
    await transport.limit(volumeId, null, call);
    await held;
    expect(order).toEqual(['ready', 'read']);
  });

  test('is not put off by a socket that nobody listens on', async () => {
    const first = await started();
    first.abandon();
    process.kill(first.processId, 'SIGKILL');
    await eventually(() => !runs(first.processId), 'the end of the process');
    expect((await readdir(join(directory, 'run'))).toSorted()).toEqual(['iscsi-main.sock', 'iscsi-main.sock.pid']);
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

describe('a mirror in a process of its own', { timeout: 20_000 }, () => {
  const at = (name: string) => ({ ...request().device, path: join(directory, name) });
  const mirror = (transport: IscsiTransport, changes: Partial<PluginCall> = {}) =>
    transport.mirror(volumeId, at('volume'), at('copy'), { ...call, ...changes });
  /** First byte of a device. */
  const held = async (name: string) => (await readFile(join(directory, name)))[0];
  const write = async (initiator: TestInitiator, byte: number) =>
    (await initiator.command(cdbs.write10(0, 1), { data: Buffer.alloc(512, byte) })).status;
  /** Makes the volume so large that copying takes a while. */
  async function grow(): Promise<void> {
    await writeFile(join(directory, 'volume'), Buffer.alloc(128 * mebibyte, 1));
    await truncate(join(directory, 'copy'), 128 * mebibyte);
  }
  const serving = (transport: IscsiTransport) =>
    eventually(
      () =>
        transport.list(call).then(
          () => true,
          () => false,
        ),
      'the restart',
    );
  async function kill(transport: IscsiTransport): Promise<void> {
    process.kill(transport.processId, 'SIGKILL');
    await Promise.all(initiators.map((initiator) => initiator.ended()));
    await serving(transport);
    processIds.add(transport.processId);
  }

  test('moves a volume for good: a process that is started later serves the new device', async () => {
    const transport = await started();
    await transport.export(request(), call);
    const initiator = await session();
    await mirror(transport);
    await transport.commitMirror(volumeId, call);
    expect(await write(initiator, 4)).toBe(0);
    await transport.endMirror(volumeId, 'target', call);
    expect(await write(initiator, 5)).toBe(0);
    expect([await held('volume'), await held('copy')]).toEqual([4, 5]);
    await transport.endMirror(volumeId, 'target', call);
    // A request that was made before the move.
    await transport.export(request(), call);
    await rm(join(directory, 'volume'));
    await kill(transport);
    expect(await write(await session(), 6)).toBe(0);
    expect(await held('copy')).toBe(6);
  });

  test('goes on without its controller, and is joined by the next one', async () => {
    await grow();
    const first = await started();
    await first.export(request(), call);
    const begun = Promise.withResolvers<void>();
    const left = mirror(first, { progress: (done) => done > 0 && begun.resolve() });
    left.catch(() => {});
    await begun.promise;
    first.abandon();
    await expect(left).rejects.toMatchObject({ code: 'transport-failed' });
    const second = await started();
    expect(second.processId).toBe(first.processId);
    await second.export(request(), call);
    const progress: number[] = [];
    await mirror(second, { progress: (done) => progress.push(done) });
    expect(progress[0]).toBeGreaterThan(0);
    await second.commitMirror(volumeId, call);
    await second.endMirror(volumeId, 'target', call);
    await kill(second);
    expect(await write(await session(), 6)).toBe(0);
    expect([await held('volume'), await held('copy')]).toEqual([1, 6]);
  });

  test('ends within a second when it is cancelled', async () => {
    await grow();
    const transport = await started();
    await transport.export(request(), call);
    const controller = new AbortController();
    let cancelled = 0;
    const cancel = (done: number) => {
      if (done === 0 || cancelled !== 0) return;
      cancelled = performance.now();
      controller.abort();
    };
    await expect(mirror(transport, { signal: controller.signal, progress: cancel })).rejects.toMatchObject({ code: 'cancelled' });
    expect(performance.now() - cancelled).toBeLessThan(1000);
    await transport.endMirror(volumeId, 'source', call);
    expect(await write(await session(), 2)).toBe(0);
    expect([await held('volume'), await held('copy')]).toEqual([2, 1]);
  });

  test('is gone with a process that dies before the commit; the volume goes on where it was', async () => {
    await grow();
    const transport = await started();
    await transport.export(request(), call);
    const begun = Promise.withResolvers<void>();
    const lost = mirror(transport, { progress: (done) => done > 0 && begun.resolve() });
    lost.catch(() => {});
    await begun.promise;
    await kill(transport);
    await expect(lost).rejects.toMatchObject({ code: 'transport-failed' });
    await expect(transport.commitMirror(volumeId, call)).rejects.toMatchObject({ code: 'transport-failed' });
    expect(await write(await session(), 2)).toBe(0);
    await mirror(transport);
    await transport.endMirror(volumeId, 'source', call);
    await transport.endMirror(volumeId, 'source', call);
  });

  test.each(['target', 'source'] as const)(
    'with a process that dies after the commit leaves the volume alone until it is said to be the %s',
    async (keep) => {
      const transport = await started();
      await transport.export(request(), call);
      const initiator = await session();
      await mirror(transport);
      await transport.commitMirror(volumeId, call);
      expect(await write(initiator, 4)).toBe(0);
      await kill(transport);
      expect(await transport.list(call)).toEqual([]);
      await expect(transport.export(request(), call)).rejects.toMatchObject({ code: 'transport-failed' });
      await transport.endMirror(volumeId, keep, call);
      const again = await session();
      expect((await again.command(cdbs.read10(0, 1), { expect: 512 })).data[0]).toBe(4);
      expect(await write(again, 5)).toBe(0);
      expect([await held('volume'), await held('copy')]).toEqual(keep === 'target' ? [4, 5] : [5, 4]);
      await transport.export(request(), call);
      expect(await transport.list(call)).toHaveLength(1);
    },
  );
});

describe('the control socket', () => {
  test('has a short path where the directory has a long one', () => {
    const path = controlSocketPath(`/${'long/'.repeat(40)}`, 'main');
    expect(Buffer.byteLength(path)).toBeLessThanOrEqual(100);
    expect(path).toBe(controlSocketPath(`/${'long/'.repeat(40)}`, 'main'));
    expect(path).not.toBe(controlSocketPath(`/${'long/'.repeat(40)}`, 'other'));
  });
});
