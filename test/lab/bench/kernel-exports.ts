import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, SystemExec, systemClock, systemRandom, type ExportRequest, type PluginCall } from '@scoria/core';
import { Configfs, lioConfiguration, lioRoot, LioTransport, type ConfigTree } from '@scoria/driver-iscsi/lio';
import { figure, figureHeader, type Section } from '../../bench/report.ts';
import { spreadOf } from '../../bench/statistics.ts';
import { run } from '../../system/programs.ts';
import { volumeGroup } from '../fixtures/volume-group.ts';
import { comparison, comparisonHeader, costOf, forks, type Cost } from './comparison.ts';
import { RecordedTree } from './recorded-changes.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const portal = '127.0.0.1:3260';

/** The kernel's target as a transport. The kernel's tree is its only memory: a second one is what a restarted service has. */
function transportOn(tree: ConfigTree): LioTransport {
  return new LioTransport({
    config: lioConfiguration.parse({ listen: [portal] }),
    tree,
    clock: systemClock,
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

/** Makes what all exports share, as the first one of them does. */
async function makeShared(target: LioTransport, path: string): Promise<void> {
  const request = requestFor(path);
  await target.export(request, call);
  await target.unexport(request.accessId, call);
}

/** Attach and detach on the target's side, beside the same changes of configfs by plain calls, in turns. */
export async function measureAttach(rounds: number): Promise<Section> {
  await using group = await volumeGroup();
  await run('lvcreate', ['--yes', '--name', 'exported', '--size', '32m', group.name], { must: true });
  const tree = new RecordedTree(new Configfs(lioRoot));
  const target = transportOn(tree);
  await target.start(call);
  await makeShared(target, `/dev/${group.name}/exported`);
  const costs = { attach: [] as Cost[], detach: [] as Cost[], bareAttach: [] as Cost[], bareDetach: [] as Cost[] };
  let changes = 0;
  try {
    for (let round = 0; round < rounds; round++) {
      const request = requestFor(`/dev/${group.name}/exported`);
      tree.take();
      costs.attach.push(await costOf(forks, () => target.export(request, call)));
      const attach = tree.take();
      costs.detach.push(await costOf(forks, () => target.unexport(request.accessId, call)));
      const detach = tree.take();
      costs.bareAttach.push(await costOf(forks, () => repeat(attach)));
      costs.bareDetach.push(await costOf(forks, () => repeat(detach)));
      changes = attach.length;
    }
  } finally {
    await target.stop();
  }
  return {
    title: "An export through the kernel's target, beside its bare changes of configfs",
    header: comparisonHeader('forks'),
    rows: [
      comparison({ what: 'attach', ours: costs.attach, bare: costs.bareAttach }, 1.2),
      comparison({ what: 'detach', ours: costs.detach, bare: costs.bareDetach }, 1.2),
    ],
    notes: [
      `Bare: the ${changes} changes of an attach, and those of a detach, once more, one after the other by plain calls of the file system. ` +
        'No program should be forked; a thread of the kernel counts as one fork, too. The target alone is measured: no initiator logs in.',
    ],
  };
}

/** Exports many files anew, as after a restart of the machine, and once more, as after one of the service. */
export async function measureRestart(count: number): Promise<Section> {
  const files = await mkdtemp(join(tmpdir(), 'exports-'));
  const requests: ExportRequest[] = [];
  for (let index = 0; index < count; index++) {
    const path = join(files, String(index));
    await using file = await open(path, 'w');
    await file.truncate(1024 ** 2);
    requests.push(requestFor(path));
  }
  const tree = new RecordedTree(new Configfs(lioRoot));
  const first = transportOn(tree);
  await first.start(call);
  for (const { device } of requests.slice(0, 1)) await makeShared(first, device.path);
  tree.take();
  const anew = await costOf(forks, () => Promise.all(requests.map((request) => first.export(request, call))));
  const makes = tree.take();
  // The kernel goes on without the service: one that is killed leaves its exports behind.
  const second = transportOn(tree);
  const again = await costOf(forks, async () => {
    await second.start(call);
    await Promise.all(requests.map((request) => second.export(request, call)));
  });
  tree.take();
  const removed = await costOf(forks, () => Promise.all(requests.map(({ accessId }) => second.unexport(accessId, call))));
  const removals = tree.take();
  const bare = await costOf(forks, () => repeat(makes));
  const bareRemoved = await costOf(forks, () => repeat(removals));
  await second.stop();
  await rm(files, { recursive: true });
  const seconds = ({ milliseconds }: Cost) => spreadOf([milliseconds / 1000]);
  return {
    title: `${count} exports through the kernel's target`,
    header: figureHeader,
    rows: [
      figure('made where none are: the machine was restarted', 's', seconds(anew)),
      figure('the same changes of configfs, bare', 's', seconds(bare)),
      figure('ratio', 'times', spreadOf([anew.milliseconds / bare.milliseconds]), { atMost: 1.2 }),
      figure('found where all are: the service was restarted', 's', seconds(again), { atMost: 5 }),
      figure('removed', 's', seconds(removed)),
      figure('the same changes of configfs, bare', 's', seconds(bareRemoved)),
    ],
    notes: [`Forks while they were made: ${anew.count}; while they were found: ${again.count}.`],
  };
}

async function repeat(changes: readonly (() => void)[]): Promise<void> {
  for (const change of changes) change();
}
