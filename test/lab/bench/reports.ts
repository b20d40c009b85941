import { readFile, writeFile } from 'node:fs/promises';
import { systemRandom, type BackendObject, type PluginCall } from '@scoria/core';
import { figure, figureHeader, type Section } from '../../bench/report.ts';
import { quantile, spreadOf, timed } from '../../bench/statistics.ts';
import { run } from '../../system/programs.ts';
import { volumeGroup } from '../fixtures/volume-group.ts';
import { driverFor } from './logical-volumes.ts';

const mebibyte = 1024 ** 2;
const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const metadata = '/tmp/metadata';

/**
 * Gives a group `count` volumes that look like the only one in it. They are written into the group's metadata in one go
 * (vgcfgbackup(8), vgcfgrestore(8)): making a thousand by commands would take minutes.
 */
async function multiply(group: string, count: number): Promise<void> {
  await run('vgcfgbackup', ['--file', metadata, group], { must: true });
  const text = await readFile(metadata, 'utf8');
  const [block = '', placement = ''] = /\n\t\tvolume-([0-9a-f-]{36}) \{[^]*?\n\t\t\}\n/.exec(text) ?? [];
  if (block === '') throw new Error('The metadata of the group has no volume of ours');
  const others = Array.from({ length: count - 1 }, (_, index) =>
    block
      .replaceAll(placement, systemRandom.uuid())
      .replace(/id = "[^"]*"/, `id = "${identifier()}"`)
      .replace(/"pv0", \d+/, `"pv0", ${index + 1}`),
  );
  await writeFile(metadata, text.replace(block, [block, ...others].join('')));
  await run('vgcfgrestore', ['--yes', '--file', metadata, group], { must: true });
}

/** An id as LVM writes them. */
function identifier(): string {
  const letters = `${systemRandom.uuid()}${systemRandom.uuid()}`.replaceAll('-', '').slice(0, 32);
  return letters.replace(/^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/, '$1-$2-$3-$4-$5-$6-$7');
}

/** A request for a volume. */
const request = (pool: string): BackendObject => ({
  ...{ placementId: systemRandom.uuid(), pool, backendRef: null, size: 4 * mebibyte },
});

/** What a report of the driver costs as the number of volumes grows. */
export async function measureReports(counts: readonly number[], rounds: number): Promise<Section> {
  const rows: string[][] = [];
  const [ours, byHand]: [number[], number[]] = [[], []];
  for (const count of counts) {
    await using group = await volumeGroup({ name: 'reports' });
    const installationId = systemRandom.uuid();
    const thick = { provisioning: 'thick' } as const;
    const driver = driverFor(group.name, thick, { installationId });
    await driver.check(call);
    await driver.create(request(group.name), call);
    await multiply(group.name, count);
    const thin = driverFor(group.name, { provisioning: 'thin', thinPool: { size: 32 * mebibyte } }, { installationId });
    // As at the start of a service: from here on the drivers know the group.
    for (const each of [driver, thin]) await each.check(call);
    await thin.create(request(group.name), call);
    let listed = 0;
    const lists: number[] = [];
    const pools = await timed(rounds, () => driver.pools(call));
    const thinPools = await timed(rounds, () => thin.pools(call));
    lists.push(
      ...(await timed(rounds, async () => {
        listed = 0;
        for await (const _ of driver.list(call)) listed++;
      })),
    );
    if (listed !== count + 1) throw new Error(`The driver lists ${listed} of ${count + 1} volumes`);
    const bare = await timed(rounds, async () => {
      for (const program of ['vgs', 'lvs', 'pvs']) await run(program, ['--reportformat', 'json'], { must: true });
    });
    ours.push(quantile(thinPools, 0.5));
    byHand.push(quantile(bare, 0.5));
    rows.push(
      figure(`capacities of a thin pool, ${count} volumes`, 'ms', spreadOf(thinPools)),
      figure(`capacities of a thick group, ${count} volumes`, 'ms', spreadOf(pools)),
      figure(`list, ${count} volumes`, 'ms', spreadOf(lists)),
      figure(`vgs, lvs and pvs once, ${count} volumes`, 'ms', spreadOf(bare)),
    );
  }
  const growth = (medians: readonly number[]) => spreadOf([(medians.at(-1) ?? Number.NaN) / (medians[0] ?? Number.NaN)]);
  const beside = `${counts.at(-1)} volumes beside ${counts[0]}`;
  rows.push(
    figure(`capacities of a thin pool, ${beside}`, 'times', growth(ours), { atMost: 1.5 }),
    figure(`vgs, lvs and pvs once, ${beside}`, 'times', growth(byHand)),
  );
  const notes = [
    'Capacities of a thin pool are one question to the kernel; those of a thick group without snapshots are known, and cost no command. Every minute ("refreshInterval"), and for every list, LVM is asked once: it reads all of the metadata of a group.',
  ];
  return { title: 'Reports of a volume group', header: figureHeader, rows, notes };
}
