import { silentLog, SystemExec, systemClock } from '@scoria/core';
import lvm from '@scoria/driver-lvm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeArray, type ConfiguredArray } from '../crash/arrays.ts';
import { CrashHarness, type CrashPoint } from '../crash/crash-harness.ts';
import type { Scenario } from '../crash/scenario.ts';
import { scenarios } from '../crash/scenarios.ts';
import { withHarness } from '../crash/scenario-sites.ts';
import { Site } from '../crash/site.ts';
import { run } from '../system/programs.ts';
import { volumeGroup, type VolumeGroup } from './fixtures/volume-group.ts';

// The crashes of test/crash on real logical volumes. By default processes die after each verb by which an operation
// changes a thin pool, when nobody has heard of it; with LAB_LONG=1 at every commit, verb and program, on thick volumes too.

const long = process.env['LAB_LONG'] === '1';
const MiB = 1024 ** 2;
const exec = new SystemExec({ clock: systemClock, log: silentLog });

const layouts = {
  thin: { provisioning: 'thin', thinPool: { name: 'thin-pool', size: 64 * MiB } },
  thick: { provisioning: 'thick', freeSpace: 'zeroed' },
} as const;

/** Whether a process dies here: at a verb that changes what is on an array, or anywhere. */
const counts = ({ moment, what }: CrashPoint): boolean => long || (moment === 'after' && changing.test(what));
const changing = /^driver\.(create|delete|extend|shrink|clone|revert|manage|unmanage|(create|delete)(From)?Snapshot)$/;

/** A group of small extents, so that volumes have the sizes that scenarios ask for. Scenarios know it as `pool`. */
async function smallExtents(): Promise<VolumeGroup> {
  const group = await volumeGroup({ name: 'pool' });
  await run('vgchange', ['--physicalextentsize', '128k', group.name], { must: true });
  return group;
}

/** An array of logical volumes, the strays of which are told by LVM itself. */
function lvmArray(group: string, layout: object): ConfiguredArray {
  return {
    plugin: lvm,
    config: { volumeGroups: [group], ...layout },
    strays: async (placementIds) => {
      const columns = ['--noheadings', '--separator', ' ', '--options', 'lv_name,lv_tags'];
      const { stdout } = await run('lvs', [...columns, group], { must: true });
      const ours = stdout.split('\n').flatMap((line) => {
        const [name = '', tags = ''] = line.trim().split(' ');
        return tags.includes('scoria') && name !== layouts.thin.thinPool.name ? [name] : [];
      });
      // A thick volume stays under this name for its snapshots, and goes with the last of them.
      const hidden = placementIds.size > 0 ? ['deleted-'] : [];
      return ours.filter(
        (name) =>
          !['volume-', 'snap-'].some((role) => name.startsWith(role) && placementIds.has(name.slice(role.length))) &&
          !hidden.some((role) => name.startsWith(role)),
      );
    },
  };
}

const fitting = scenarios.filter(({ arrays }) => arrays.includes('instant'));
/** Whether a scenario is another way through verbs that one of the same operation goes through. */
const isVariant = ({ name, operation }: Scenario): boolean =>
  /^(attachment|access)\./.test(operation) || (name.endsWith('in use') && operation !== 'volume.migrate');
const chosen = fitting.filter((scenario) => long || (scenario.broken === undefined && !isVariant(scenario)));
/** Points at which a process of an operation has died. */
const crashed = new Set<string>();

/** Where the process of a scenario shall die, in their order. */
async function pointsOf(scenario: Scenario, harness: CrashHarness): Promise<readonly CrashPoint[]> {
  // The verbs are the same on every array that copies by itself, and those in memory are quick.
  if (!long) return withHarness(scenario, 'instant', async (quick) => (await quick.record()).points.filter(counts));
  return (await harness.record()).points;
}

describe.each(Object.entries(layouts).filter(([name]) => long || name === 'thin'))('%s', (_name, layout) => {
  let group: VolumeGroup;
  /** One for all scenarios: each of them leaves nothing, or fails. */
  let site: Site | undefined;
  beforeAll(async () => {
    group = await smallExtents();
  });
  afterEach(async ({ task }) => {
    if (task.result?.state !== 'fail') return;
    await site?.close();
    site = undefined;
  });
  afterAll(async () => {
    await site?.close();
    await group[Symbol.asyncDispose]();
  });

  async function openSite(): Promise<Site> {
    await run('lvremove', ['--yes', group.name], { must: true });
    const array = lvmArray(group.name, layout);
    return Site.open({ exec, array: (name, backendId) => (name === 'here' ? array : makeArray('instant', backendId, '')) });
  }

  test.each(chosen)('$operation: $name', { timeout: long ? 3_600_000 : 600_000 }, async (scenario) => {
    site ??= await openSite();
    const harness = new CrashHarness(site, scenario);
    for (const [index, point] of (await pointsOf(scenario, harness)).entries()) {
      const where = `${point.moment} ${point.what}`;
      // One operation has the same verb in several scenarios.
      if (!long && crashed.has(`${scenario.operation} ${where}`)) continue;
      crashed.add(`${scenario.operation} ${where}`);
      const died = await harness.crashAt(index, counts).catch((error: unknown) => {
        throw new Error(`killed ${where} (point ${index}): ${String(error)}`, { cause: error });
      });
      expect(died).toEqual(point);
    }
  });
});
