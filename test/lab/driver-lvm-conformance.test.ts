import { driverConformance, startDriver } from '@scoria/conformance';
import { systemRandom } from '@scoria/core';
import plugin from '@scoria/driver-lvm';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { volumeGroup, type VolumeGroup } from './fixtures/volume-group.ts';

const MiB = 1024 ** 2;

/** Backups of metadata and the memory that LVM locks cost more than its work in a guest. */
const lvmConfig = 'backup { backup = 0 archive = 0 } activation { reserved_memory = 256 reserved_stack = 64 }';

/** Layouts that differ in how volumes are made. */
const layouts = {
  thin: { provisioning: 'thin', thinPool: { size: 512 * MiB } },
  thick: { provisioning: 'thick' },
} as const;

describe.each(Object.entries(layouts))('%s', (name, layout) => {
  // One group for all checks: making one takes longer than most of them.
  let group: VolumeGroup;
  const installationId = systemRandom.uuid();
  beforeAll(async () => {
    group = await volumeGroup({ name });
  });
  afterAll(() => group[Symbol.asyncDispose]());
  driverConformance({
    describe,
    test,
    capabilities: plugin.capabilities,
    soon: 30_000,
    create: () => startDriver(plugin, { volumeGroups: [name], lvmConfig, ...layout }, { sweep: true, installationId }),
  });
});
