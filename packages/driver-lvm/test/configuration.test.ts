import { lvmConfigSchema } from '@scoria/driver-lvm';
import { expect, test } from 'vitest';

const least = { volumeGroups: ['vg'] };

test('a volume group is all that has to be said', () => {
  const config = lvmConfigSchema.parse(least);
  expect(config).toMatchObject({ provisioning: 'thin', thinPool: { name: 'scoria-pool', create: true, percent: 90 } });
  expect(config.snapshotReserve).toBe(1);
});

test.each([
  ['no group', { volumeGroups: [] }],
  ['a group named twice', { volumeGroups: ['vg', 'vg'] }],
  ['a name that is an option', { volumeGroups: ['--config'] }],
  ['a name that leads elsewhere', { volumeGroups: ['../vg'] }],
  ['a name with a space', { volumeGroups: ['v g'] }],
  ['an unknown key', { ...least, thinpool: {} }],
  ['space that is to stay zeroed and is not', { ...least, provisioning: 'thick', freeSpace: 'zeroed', erase: 'discard' }],
  ['a chunk that LVM does not know', { ...least, thinPool: { chunkSize: 100_000 } }],
])('%s is refused', (_what, config) => {
  expect(lvmConfigSchema.safeParse(config).success).toBe(false);
});
