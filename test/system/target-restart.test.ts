import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog, systemClock, systemRandom, type ExportRequest, type PluginCall } from '@scoria/core';
import { IscsiTransport, iscsiConfiguration } from '@scoria/driver-iscsi';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cdbs, TestInitiator } from '../../packages/driver-iscsi/test/test-initiator.ts';
import { until } from './polling.ts';
import { freePort, killNow } from './processes.ts';

// When the target process dies it is back with all exports, and initiators that try again find what they wrote.

const count = 1_000;
/** Milliseconds between two attempts of one initiator. */
const retryInterval = 250;
const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

let directory: string;
let port: number;
let transport: IscsiTransport;
let requests: readonly ExportRequest[];
const initiators: TestInitiator[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-restart-'));
  port = await freePort();
  transport = new IscsiTransport({
    name: 'restart',
    config: iscsiConfiguration.parse({ listen: [`127.0.0.1:${port}`] }),
    baseDirectory: directory,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    openers: {},
  });
  await transport.start(call);
  requests = Array.from({ length: count }, (_, index) => ({
    accessId: systemRandom.uuid(),
    volumeId: systemRandom.uuid(),
    device: { kind: 'path', path: join(directory, `volume-${index}`), blockSize: 512 },
    readOnly: false,
    secret: Buffer.from(systemRandom.bytes(12)).toString('hex'),
  }));
  for (const { device } of requests) {
    const file = await open(device.path, 'wx', 0o600);
    await file.truncate(1_048_576);
    await file.close();
  }
}, 60_000);
afterAll(async () => {
  for (const initiator of initiators) initiator.close();
  await transport?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Logs in, again and again until it succeeds. */
async function logIn({ accessId, secret }: ExportRequest, deadline: number): Promise<TestInitiator> {
  for (;;) {
    const initiator = await TestInitiator.connect(port).catch(() => null);
    const target = `iqn.2026-11.org.scoria:${accessId}`;
    const status = await initiator?.login({ target, user: accessId, secret }).catch(() => null);
    if (initiator !== null && status === 0) {
      initiators.push(initiator);
      await initiator.command(cdbs.testUnitReady);
      return initiator;
    }
    initiator?.close();
    if (performance.now() > deadline) throw new Error(`Access ${accessId} could not be logged in to`);
    await sleep(retryInterval);
  }
}

const block = (index: number): Buffer => Buffer.alloc(512, 1 + (index % 255));

test('a target process that dies is back with a thousand exports, and their initiators with it', async () => {
  await Promise.all(requests.map((request) => transport.export(request, call)));
  const sessions = await Promise.all(requests.map((request) => logIn(request, performance.now() + 60_000)));
  for (const [index, session] of sessions.entries()) {
    expect((await session.command(cdbs.write10(index % 2048, 1), { data: block(index) })).status).toBe(0);
  }
  const before = transport.processId;
  const death = performance.now();
  await killNow(before);
  const again = Promise.all(requests.map((request) => logIn(request, death + 60_000)));
  await until('all exports', async () => ((await transport.list(call)).length === count ? true : undefined), 60_000);
  const exported = performance.now() - death;
  const returned = await again;
  const loggedIn = performance.now() - death;
  expect(transport.processId).not.toBe(before);
  for (const [index, session] of returned.entries()) {
    const { data } = await session.command(cdbs.read10(index % 2048, 1), { expect: 512 });
    expect(data.equals(block(index))).toBe(true);
  }
  console.log(
    `after the death of the target process ${count} exports were back in ${(exported / 1000).toFixed(1)} s, ` +
      `${count} initiators that try every ${retryInterval} ms in ${(loggedIn / 1000).toFixed(1)} s`,
  );
});
