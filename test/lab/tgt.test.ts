import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { startTransport } from '@scoria/conformance';
import { silentLog, systemClock, systemRandom, type ExportRequest, type PluginCall } from '@scoria/core';
import { expect, test } from 'vitest';
import { IscsiInitiator } from '../../packages/driver-iscsi/src/initiator/index.ts';
import tgt from '../../packages/driver-iscsi/src/tgt/index.ts';
import { until } from '../system/polling.ts';
import { connect } from './fixtures/iscsi-client.ts';
import { loopVolumes } from './fixtures/loop-volumes.ts';
import { startTgtd } from './fixtures/tgtd.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const cgroup = '/sys/fs/cgroup/tgtd';
const perSecond = 50;
const reads = 250;

test('the kernel holds volumes that tgt serves to their limits, also while they are in use', async () => {
  await writeFile('/sys/fs/cgroup/cgroup.subtree_control', '+io');
  await mkdir(cgroup);
  const volumes = await loopVolumes();
  {
    await using tgtd = await startTgtd();
    await writeFile(`${cgroup}/cgroup.procs`, String(tgtd.pid));
    const { transport, cleanup } = await startTransport(tgt, { listen: ['127.0.0.1:3260'], cgroup });
    await transport.start(call);
    const request: ExportRequest = {
      accessId: systemRandom.uuid(),
      volumeId: systemRandom.uuid(),
      device: await volumes.create(8 * 1024 * 1024),
      readOnly: false,
      secret: 'a-secret-of-16-b',
      limits: { readOperations: { perSecond, burst: perSecond } },
    };
    await transport.export(request, call);
    const client = await connect(transport.connectionInfo(request), request);
    /** Seconds that the reads take. */
    const measure = async (): Promise<number> => {
      const begin = systemClock.monotonic();
      const block = new Uint8Array(4096);
      for (let count = 0; count < reads; count++) await client.read(block, count * block.length);
      return (systemClock.monotonic() - begin) / 1000;
    };
    const limited = await measure();
    await transport.limit?.(request.volumeId, null, call);
    const lifted = await measure();
    console.log(
      `${reads} reads: ${limited.toFixed(1)} s with ${perSecond} a second allowed, ${lifted.toFixed(1)} s without a limit`,
    );
    expect(reads / limited).toBeLessThan(perSecond * 1.05);
    expect(await readFile(`${cgroup}/io.max`, 'ascii')).toBe('');

    await transport.limit?.(request.volumeId, { writeBytes: { perSecond: 1_048_576, burst: 1_048_576 } }, call);
    expect(await readFile(`${cgroup}/io.max`, 'ascii')).toMatch(/^\d+:\d+ rbps=max wbps=1048576 riops=max wiops=max\n$/);
    await client.close();
    await transport.stop();
    await cleanup();
  }
  await until('the end of the control group', async () => rmdir(cgroup).then(() => true));
  await volumes.remove();
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
    { accessId: other.accessId, volumeId: other.volumeId, readOnly: true, sessions: [] },
  ]);
  await transport.stop();
  await cleanup();
});
