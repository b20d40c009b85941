import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { startTransport, transportConformance, type Runner } from '@scoria/conformance';
import { silentLog, systemClock, systemRandom, type ExportRequest, type PluginCall } from '@scoria/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blockNodeNumber } from '../../packages/driver-iscsi/src/block-node.ts';
import { IscsiInitiator } from '../../packages/driver-iscsi/src/initiator/index.ts';
import tgt from '../../packages/driver-iscsi/src/tgt/index.ts';
import { until } from '../system/polling.ts';
import { connect } from './fixtures/iscsi-client.ts';
import { loopVolumes } from './fixtures/loop-volumes.ts';
import { startTgtd, type Tgtd } from './fixtures/tgtd.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const cgroup = '/sys/fs/cgroup/tgtd';
/** Left to the long form: what the transport does before it asks the kernel, and what the kernel is sure to keep apart. */
const ofTransport = /^limit-(absent|unknown|aborted|lifted|directions|one-volume)/;
const all = process.env['LAB_LONG'] === '1';

/** Some ten commands of tgtadm an export, each several times slower than on the host: milliseconds of a check. */
const patience = 180_000;

describe('limits that the kernel keeps', () => {
  const config = { listen: ['127.0.0.1:3260'], cgroup };
  let tgtd: Tgtd;
  beforeAll(async () => {
    await writeFile('/sys/fs/cgroup/cgroup.subtree_control', '+io');
    await mkdir(cgroup);
    tgtd = await startTgtd();
    await writeFile(`${cgroup}/cgroup.procs`, String(tgtd.pid));
  });
  afterAll(async () => {
    await tgtd[Symbol.asyncDispose]();
    await until('the end of the control group', async () => rmdir(cgroup).then(() => true));
  });

  const declare: Runner['test'] = (name, body) => {
    if (!name.startsWith('limit-') || (!all && ofTransport.test(name))) test.skip(name, body);
    else test(name, body, patience);
  };
  transportConformance({
    ...{ describe, test: Object.assign(declare, { skip: test.skip }), connect, capabilities: ['limit'], soon: 20_000 },
    create: async () => ({ ...(await startTransport(tgt, config)), volumes: await loopVolumes() }),
  });

  test('are told as the kernel tells them, and are gone when they are lifted', async () => {
    const { transport, cleanup } = await startTransport(tgt, config);
    const volumes = await loopVolumes();
    await transport.start(call);
    const request: ExportRequest = {
      accessId: systemRandom.uuid(),
      volumeId: systemRandom.uuid(),
      device: await volumes.create(8 * 1024 * 1024),
      readOnly: false,
      secret: 'a-secret-of-16-b',
      limits: { writeBytes: { perSecond: 1_048_576, burst: 1_048_576 } },
    };
    await transport.export(request, call);
    // Devices of earlier checks may be there, too.
    const number = await blockNodeNumber(request.device.path);
    const told = async () =>
      (await readFile(`${cgroup}/io.max`, 'ascii')).split('\n').find((line) => line.startsWith(`${number} `));
    expect(await told()).toBe(`${number} rbps=max wbps=1048576 riops=max wiops=max`);
    // The lowest that the kernel takes.
    const lowest = { readOperations: { perSecond: 2, burst: 1 }, writeBytes: { perSecond: 2, burst: 1 } };
    await transport.limit?.(request.volumeId, lowest, call);
    expect(await told()).toBe(`${number} rbps=max wbps=2 riops=2 wiops=max`);
    await transport.export({ ...request, limits: undefined }, call);
    expect(await told()).toBeUndefined();
    await transport.limit?.(request.volumeId, lowest, call);
    expect(await told()).toBeDefined();
    await transport.unexport(request.accessId, call);
    expect(await told()).toBeUndefined();
    await transport.stop();
    await cleanup();
    await volumes.remove();
  });
});

test('a host whose name looks like a report of tgt gets no other device by it, and its access ends', async () => {
  await using _tgtd = await startTgtd();
  const { transport, volumes, cleanup } = await startTransport(tgt, { listen: ['127.0.0.1:3260'] });
  await transport.start(call);
  const requestOf = async (): Promise<ExportRequest> => ({
    accessId: systemRandom.uuid(),
    volumeId: systemRandom.uuid(),
    device: await volumes.create(1024 * 1024),
    readOnly: true,
    secret: 'a-secret-of-16-b',
  });
  const [own, other] = [await requestOf(), await requestOf()];
  await writeFile(other.device.path, Buffer.alloc(1024 * 1024, 7));
  for (const request of [own, other]) await transport.export(request, call);
  const unit = ['LUN: 1', `    SCSI SN: ${own.volumeId}`, '    Size: 1 MB, Block size: 512', '    Readonly: No'];
  const feigned = [...unit, `    Backing store path: ${other.device.path}`, '    Backing store flags: '];
  const connectAs = (initiatorName: string) =>
    new IscsiInitiator({
      ...{ initiatorName, clock: systemClock, random: systemRandom, log: silentLog },
      times: { patience: 10_000 },
    }).connect(transport.connectionInfo(own), { readOnly: true }, call);
  const names = [
    ['iqn.x', '    LUN information:', ...feigned.map((line) => `        ${line}`)].join('\n'),
    `iqn.x\nTarget 1: iqn.2026-11.org.scoria:${other.accessId}\nTarget one: none`,
  ];
  for (const name of names) {
    const evil = await connectAs(name);
    await transport.resize(own.volumeId, call);
    const device = await connectAs('iqn.2026-11.org.scoria.test:client');
    const first = new Uint8Array(512).fill(1);
    await device.read(first, 0);
    expect(first.every((byte) => byte === 0)).toBe(true);
    await Promise.all([device.close(), evil.close()]);
  }
  const evil = await connectAs(names[1] ?? '');
  await transport.unexport(own.accessId, call);
  await evil.close();
  expect(await transport.list(call)).toEqual([
    { accessId: other.accessId, volumeId: other.volumeId, readOnly: true, complete: true, sessions: [] },
  ]);
  await transport.stop();
  await cleanup();
});
