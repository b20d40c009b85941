import { driverConformance, startDriver, type Runner } from '@scoria/conformance';
import { systemRandom } from '@scoria/core';
import plugin from '@scoria/driver-lvm';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { run } from '../system/programs.ts';
import { volumeGroup, type VolumeGroup } from './fixtures/volume-group.ts';

const MiB = 1024 ** 2;

/** Layouts that differ in how volumes are made. The guest's disks are empty, so that thick volumes need not be zeroed twice. */
const layouts = {
  thin: { provisioning: 'thin', thinPool: { name: 'pool', size: 512 * MiB }, erase: 'none' },
  thick: { provisioning: 'thick', freeSpace: 'zeroed' },
} as const;

/**
 * What does not depend on how volumes are laid out: the checks of it are made of thin volumes alone, unless all is asked for.
 */
const ofAnyLayout = /^(check|list|race|manage|manageable|unmanage|device|deadline|fence|secrets|restart|abort)-/;
const all = process.env['LAB_LONG'] === '1';

/** Dozens of commands a check, each several times slower than on the host: milliseconds of a check. */
const patience = 300_000;
function testOf(layout: string): Runner['test'] {
  const declare = (name: string, body: () => Promise<void>) => {
    if (layout === 'thick' && !all && ofAnyLayout.test(name)) test.skip(name, body);
    else test(name, body, patience);
  };
  return Object.assign(declare, { skip: test.skip });
}

describe.each(Object.entries(layouts))('%s', (name, layout) => {
  // One group for all checks: making one takes longer than most of them.
  let group: VolumeGroup;
  const installationId = systemRandom.uuid();
  beforeAll(async () => {
    group = await volumeGroup({ name });
  });
  afterAll(() => group[Symbol.asyncDispose]());
  // The disks zero what they discard, so that free space stays zeroed.
  const discarding = ['--config', 'devices { issue_discards = 1 }'];
  const cleanup = async () => {
    await run('lvremove', ['--yes', ...discarding, '--select', 'lv_name!=pool', name], { must: true });
  };
  driverConformance({
    describe,
    test: testOf(name),
    capabilities: plugin.capabilities,
    soon: 60_000,
    create: () => startDriver(plugin, { volumeGroups: [name], ...layout }, { installationId, cleanup }),
  });
});
