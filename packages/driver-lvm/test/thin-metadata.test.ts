import type { Extent } from '@scoria/core';
import { expect, test } from 'vitest';
import { ExtentList } from '../src/extent-list.ts';
import { extentsIn } from '../src/thin-metadata.ts';
import { call, LvmBench } from './lvm-bench.ts';

const KiB = 1024;

/** As thin_dump and thin_delta of thin-provisioning-tools 0.9.0 print it. */
const dump = `<superblock uuid="" time="1" transaction="2" flags="0" version="2" data_block_size="128" nr_data_blocks="0">
  <device dev_id="1" mapped_blocks="6" transaction="0" creation_time="0" snap_time="1">
    <single_mapping origin_block="0" data_block="7" time="0"/>
    <range_mapping origin_begin="1" data_begin="0" length="3" time="1"/>
    <single_mapping origin_block="9" data_block="8" time="0"/>
  </device>
</superblock>`;
const delta = `<superblock uuid="" time="1" transaction="2" data_block_size="128" nr_data_blocks="0">
  <diff left="1" right="2">
    <same begin="0" length="2"/>
    <left_only begin="2" length="1"/>
    <different begin="3" length="1"/>
    <same begin="4" length="4"/>
    <right_only begin="8" length="4"/>
  </diff>
</superblock>`;

async function* lines(text: string): AsyncGenerator<string> {
  yield* text.split('\n');
}
async function extents(text: string, limit = 1024 * KiB): Promise<Extent[]> {
  const found: Extent[] = [];
  for await (const extent of extentsIn(lines(text), limit)) found.push(extent);
  return found;
}

test('mappings are extents in bytes, neighbours joined, cut at the end of the volume', async () => {
  expect(await extents(dump)).toEqual([
    { offset: 0, length: 256 * KiB },
    { offset: 576 * KiB, length: 64 * KiB },
  ]);
  expect(await extents(dump, 600 * KiB)).toEqual([
    { offset: 0, length: 256 * KiB },
    { offset: 576 * KiB, length: 24 * KiB },
  ]);
});

test('a difference is what either side has alone, and what both have differently', async () => {
  expect(await extents(delta)).toEqual([
    { offset: 128 * KiB, length: 128 * KiB },
    { offset: 512 * KiB, length: 256 * KiB },
  ]);
});

test.each([
  ['cut off', dump.slice(0, dump.indexOf('</superblock>'))],
  ['empty', ''],
  ['without a block size', dump.replace('data_block_size="128"', '')],
  ['out of order', dump.replace('origin_block="9"', 'origin_block="2"')],
  ['without its figures', dump.replace('length="3"', '')],
  ['beyond every device', dump.replace('origin_block="9"', 'origin_block="9007199254740991"')],
])('metadata that are %s are backend-failed, and never taken for the whole', async (_what, text) => {
  await expect(extents(text)).rejects.toMatchObject({ code: 'backend-failed' });
});

test('the metadata are read to their end, and let go, before the first extent is told', async () => {
  const bench = new LvmBench();
  const driver = await bench.checked();
  const volume = await bench.volume(driver);
  bench.lvm.counted();
  bench.lvm.instead = (verb) => (verb === 'thin_dump' ? { exitCode: 0, stdout: dump, stderr: '' } : undefined);
  for await (const extent of driver.allocatedExtents?.(volume, call) ?? []) {
    expect(extent).toEqual({ offset: 0, length: 256 * KiB });
    expect(bench.lvm.commands.map(({ program, args }) => `${program} ${args[0]}`)).toEqual([
      expect.stringMatching(/^lvm lvs/),
      'dmsetup message',
      'thin_dump --metadata-snap',
      'dmsetup message',
    ]);
    break;
  }
});

test('too many extents are told as fewer that hold all of them', () => {
  const list = new ExtentList(4);
  const ends: number[] = [];
  for (let at = 0; at < 100; at++) {
    list.add({ offset: at * at * 10, length: 5 });
    ends.push(at * at * 10 + 5);
  }
  const told = [...list];
  expect(told.length).toBeLessThanOrEqual(4);
  for (const end of ends) expect(told.some(({ offset, length }) => offset <= end - 5 && end <= offset + length)).toBe(true);
  for (const [index, { offset }] of told.entries()) {
    const before = told[index - 1];
    if (before) expect(offset).toBeGreaterThan(before.offset + before.length);
  }
});
