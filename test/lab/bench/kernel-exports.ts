import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  silentLog,
  SystemExec,
  systemClock,
  systemRandom,
  type AnyTransport,
  type ExportRequest,
  type PluginCall,
} from '@scoria/core';
import lio from '@scoria/driver-iscsi/lio';
import { figure, figureHeader, type Section } from '../../bench/report.ts';
import { spreadOf } from '../../bench/statistics.ts';
import { run } from '../../system/programs.ts';
import { exportThroughKernel } from '../fixtures/kernel-target.ts';
import { volumeGroup } from '../fixtures/volume-group.ts';
import { comparison, comparisonHeader, costOf, forks, type Cost } from './comparison.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const portal = '127.0.0.1:3260';

function transport(baseDirectory: string): AnyTransport {
  return lio.create({
    name: 'bench',
    config: { listen: [portal] },
    installationId: systemRandom.uuid(),
    baseDirectory,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    exec: new SystemExec({ clock: systemClock, log: silentLog }),
  });
}

const requestFor = (path: string): ExportRequest => ({
  accessId: systemRandom.uuid(),
  volumeId: systemRandom.uuid(),
  device: { kind: 'path', path, blockSize: 512 },
  readOnly: false,
  secret: 'a secret of the access',
});

/** Attach and detach on the target's side, beside bare writes to configfs, in turns. */
export async function measureAttach(directory: string, rounds: number): Promise<Section> {
  await using group = await volumeGroup();
  await run('lvcreate', ['--yes', '--name', 'ours', '--size', '32m', group.name], { must: true });
  await run('lvcreate', ['--yes', '--name', 'bare', '--size', '32m', group.name], { must: true });
  const target = transport(directory);
  await target.start(call);
  const costs = { attach: [] as Cost[], detach: [] as Cost[], bareAttach: [] as Cost[], bareDetach: [] as Cost[] };
  try {
    for (let round = 0; round < rounds; round++) {
      const request = requestFor(`/dev/${group.name}/ours`);
      costs.attach.push(await costOf(forks, () => target.export(request, call)));
      costs.detach.push(await costOf(forks, () => target.unexport(request.accessId, call)));
      let bare: AsyncDisposable | undefined;
      const wanted = {
        name: 'bare',
        device: `/dev/${group.name}/bare`,
        target: `iqn.2026-01.org.scoria.bench:${round}`,
        // One portal of the kernel serves all targets of that address.
        portals: [portal],
        initiator: 'iqn.2026-01.org.scoria.bench:host',
        user: request.accessId,
        secret: request.secret,
      };
      costs.bareAttach.push(await costOf(forks, async () => (bare = await exportThroughKernel(wanted))));
      costs.bareDetach.push(await costOf(forks, async () => bare?.[Symbol.asyncDispose]()));
    }
  } finally {
    await target.stop();
  }
  return {
    title: "An export through the kernel's target, beside bare writes to configfs",
    header: comparisonHeader('forks'),
    rows: [
      comparison({ what: 'attach', ours: costs.attach, bare: costs.bareAttach }, 1.2),
      comparison({ what: 'detach', ours: costs.detach, bare: costs.bareDetach }, 1.2),
    ],
    notes: [
      'No program should be forked; a thread of the kernel counts as one fork, too. The target alone is measured: no initiator logs in.',
    ],
  };
}

/** Exports many files anew, as after a restart of the machine, and once more, as after one of the service. */
export async function measureRestart(directory: string, count: number): Promise<Section> {
  const files = await mkdtemp(join(tmpdir(), 'exports-'));
  const requests: ExportRequest[] = [];
  for (let index = 0; index < count; index++) {
    const path = join(files, String(index));
    await using file = await open(path, 'w');
    await file.truncate(1024 ** 2);
    requests.push(requestFor(path));
  }
  const first = transport(directory);
  await first.start(call);
  const anew = await costOf(forks, () => Promise.all(requests.map((request) => first.export(request, call))));
  // The kernel goes on without the service: one that is killed leaves its exports behind.
  const second = transport(directory);
  const again = await costOf(forks, async () => {
    await second.start(call);
    await Promise.all(requests.map((request) => second.export(request, call)));
  });
  const removed = await costOf(forks, () => Promise.all(requests.map(({ accessId }) => second.unexport(accessId, call))));
  await second.stop();
  const bare: AsyncDisposable[] = [];
  const byHand = await costOf(forks, async () => {
    for (const [index, { device, accessId, secret }] of requests.entries()) {
      const names = {
        name: `bare-${index}`,
        target: `iqn.2026-01.org.scoria.bench:${index}`,
        initiator: 'iqn.2026-01.org.scoria.bench:host',
      };
      bare.push(
        await exportThroughKernel({ ...names, device: device.path, portals: [portal], user: accessId, secret, kind: 'file' }),
      );
    }
  });
  for (const each of bare) await each[Symbol.asyncDispose]();
  await rm(files, { recursive: true });
  const seconds = ({ milliseconds }: Cost) => spreadOf([milliseconds / 1000]);
  return {
    title: `${count} exports through the kernel's target`,
    header: figureHeader,
    rows: [
      figure('made where none are: the machine was restarted', 's', seconds(anew), { atMost: 5 }),
      figure('found where all are: the service was restarted', 's', seconds(again), { atMost: 5 }),
      figure('removed', 's', seconds(removed)),
      figure('made by bare writes to configfs', 's', seconds(byHand)),
      figure('ratio of made to bare', '', spreadOf([anew.milliseconds / byHand.milliseconds]), { atMost: 1.2 }),
    ],
    notes: [`Forks while they were made: ${anew.count}; while they were found: ${again.count}.`],
  };
}
