import { silentLog } from '@scoria/core';
import { expect, test } from 'vitest';
import { lvmConfigSchema } from '../src/configuration.ts';
import { LvmCommands } from '../src/lvm-commands.ts';
import { ThinLayout } from '../src/thin-layout.ts';
import { VolumeGroup } from '../src/volume-group.ts';
import { call, LvmBench } from './lvm-bench.ts';

test.each([
  ['is promised of whole chunks', {}, 65_536],
  ['is not promised when the pool ignores discards', { discards: 'ignore' as const }, undefined],
  ['is not promised of chunks that the kernel cuts through', { chunkSize: 3 * 65_536 }, undefined],
  ['is not promised when the pool cannot change its metadata', { health: 'metadata_read_only' }, undefined],
  ['is promised of a full pool', { health: 'out_of_data' }, 65_536],
])('what is discarded reads as zeroes: %s', async (_what, pool, unit) => {
  const { lvm: exec, clock } = new LvmBench();
  Object.assign(exec.addPool('pool'), pool);
  const config = lvmConfigSchema.parse({ volumeGroups: ['vg'], thinPool: { name: 'pool' } });
  const commands = new LvmCommands(exec, config);
  const group = new VolumeGroup('vg', commands, clock, 'nobody');
  await group.refresh(call.signal);
  expect(new ThinLayout({ config, commands, clock, log: silentLog }).zeroingDiscard(group)).toBe(unit);
});
