import { expect, test } from 'vitest';
import { parseThinPoolStatus } from '../src/thin-pool-status.ts';

const pool = { size: 64 * 1024 ** 2, chunkSize: 65_536 };
const parse = (text: string) => parseThinPoolStatus('vg-pool-tpool', text, pool);

test.each([
  ['rw no_discard_passdown queue_if_no_space - 256', ''],
  ['rw discard_passdown error_if_no_space - 1024', ''],
  ['ro discard_passdown error_if_no_space needs_check 1024', 'metadata_read_only'],
  ['out_of_data_space discard_passdown error_if_no_space - 1024', 'out_of_data'],
  // Kernels before 4.20 tell no low water mark of the metadata; before 4.1, not whether they need a check.
  ['rw discard_passdown error_if_no_space -', ''],
  ['rw discard_passdown error_if_no_space', ''],
])('the status of a pool that is %s', (mode, health) => {
  for (const root of ['-', '17']) {
    expect(parse(`0 131072 thin-pool 3 112/1024 100/1024 ${root} ${mode} \n`)).toEqual({
      size: 64 * 1024 ** 2,
      used: 100 * 65_536,
      metadataSize: 4 * 1024 ** 2,
      metadataUsed: 112 * 4096,
      health,
    });
  }
});

test.each(['Fail', 'Error'])('a pool in state %s tells no figures', (state) => {
  expect(parse(`0 131072 thin-pool ${state}\n`)).toMatchObject({ size: 64 * 1024 ** 2, used: undefined, health: 'failed' });
});

test('a device that is no thin pool has no such status', () => {
  expect(parse('0 131072 linear \n')).toBeUndefined();
});

test.each(['0 131072 thin-pool 3 112/1024', '0 131072 thin-pool 3 112/1024 100/1024 - odd discard_passdown'])(
  'what cannot be read is told: %s',
  (text) => {
    expect(() => parse(text)).toThrow(/^The status of thin pool vg-pool-tpool cannot be read: "0 131072 thin-pool 3/);
  },
);
