import { silentLog, SystemExec, systemClock } from '@scoria/core';
import lvm from '@scoria/driver-lvm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeArray, type ConfiguredArray } from '../crash/arrays.ts';
import { CrashHarness, type CrashPoint } from '../crash/crash-harness.ts';
import type { Scenario } from '../crash/scenario.ts';
import { scenarios } from '../crash/scenarios.ts';
import { withHarness } from '../crash/scenario-sites.ts';
import { Site } from '../crash/site.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { run } from '../system/programs.ts';
import { volumeGroup, type VolumeGroup } from './fixtures/volume-group.ts';

// The crashes of test/crash on real logical volumes. By default processes die after each verb by which an operation
// changes a thin pool, when nobody has heard of it. With LAB_LONG=1 they die after every program and write that changes a
// thin or a thick volume, in every scenario, and after one of its commits or verbs of the target: LAB_SEED says which.

const long = process.env['LAB_LONG'] === '1';
const seed = Number(process.env['LAB_SEED'] ?? 1);
const MiB = 1024 ** 2;
const exec = new SystemExec({ clock: systemClock, log: silentLog });

const layouts = {
  thin: { provisioning: 'thin', thinPool: { name: 'thin-pool', size: 64 * MiB } },
  thick: { provisioning: 'thick', freeSpace: 'zeroed' },
} as const;

/** Whether a process dies here: after a verb that changes what is on an array, or after anything that outlives it. */
const counts = ({ moment, what }: CrashPoint): boolean => moment === 'after' && (long ? lasts(what) : changing.test(what));
const changing = /^driver\.(create|delete|extend|shrink|clone|revert|manage|unmanage|(create|delete)(From)?Snapshot)$/;
const lasts = (what: string): boolean => /^(commit|program|device|transport)\b/.test(what) && !reading.test(what);
const reading = /^(program\.(lvm (lvs|vgs|pvs|fullreport)|dmsetup info)|device\.flush|transport\.(list|stats))$/;
/** Whether it is storage that differs from any point before. What else lasts is the same on all arrays. */
const isOfArray = ({ what }: CrashPoint): boolean => /^(program|device)\./.test(what);

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

/** A point at which the process of a scenario shall die, with its number among those that count. */
type NumberedPoint = readonly [index: number, point: CrashPoint];

async function pointsOf(scenario: Scenario, harness: CrashHarness): Promise<readonly NumberedPoint[]> {
  if (long) {
    const numbered = [...(await harness.record()).points.filter(counts).entries()];
    const others = numbered.filter(([, point]) => !isOfArray(point));
    const drawn = others[new SeededRandom(seed).below(others.length)]?.[0];
    return numbered.filter(([index, point]) => isOfArray(point) || index === drawn);
  }
  // The verbs are the same on every array that copies by itself, and those in memory are quick.
  const { points } = await withHarness(scenario, 'instant', (quick) => quick.record());
  return [...points.filter(counts).entries()];
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
    for (const [index, point] of await pointsOf(scenario, harness)) {
      const where = `${point.moment} ${point.what}`;
      // One operation has the same verb in several scenarios.
      if (!long && crashed.has(`${scenario.operation} ${where}`)) continue;
      const died = await harness.crashAt(index, counts).catch((error: unknown) => {
        throw new Error(`killed ${where} (point ${index}): ${String(error)}`, { cause: error });
      });
      expect(died).toEqual(point);
      crashed.add(`${scenario.operation} ${where}`);
    }
  });
});
