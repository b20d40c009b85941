import { beforeEach, describe, expect, test } from 'vitest';
import type { Nexus } from '../src/scsi/command.ts';
import { formatDescriptorSense, formatSense } from '../src/scsi/sense.ts';
import { ScsiFixture } from './scsi-fixture.ts';

let fixture: ScsiFixture;
let a: Nexus;
let b: Nexus;
beforeEach(() => {
  fixture = new ScsiFixture();
  a = fixture.nexus('a');
  b = fixture.nexus('b');
});

const page = { caching: 0x08, control: 0x0a, all: 0x3f } as const;
const control = { current: 0x00, changeable: 0x40, defaults: 0x80, saved: 0xc0 } as const;
const sense6 = (code: number, options = 0, subpage = 0): number[] => [0x1a, 0x08, options | code, subpage, 255, 0];
const sense10 = (code: number, flags = 0x08): number[] => [0x5a, flags, code, 0, 0, 0, 0, 0, 255, 0];
const select6 = (list: Buffer, flags = 0x10): [number[], Buffer] => [[0x15, flags, 0, 0, list.length, 0], list];
const select10 = (list: Buffer): [number[], Buffer] => [[0x55, 0x10, 0, 0, 0, 0, 0, 0, list.length, 0], list];

/** A page as it is, without the header. */
const current = async (code: number, options = 0): Promise<Buffer> =>
  (await fixture.run(a, sense6(code, options))).data.subarray(4);

/** Parameter list of a MODE SELECT(6) with a page whose byte is changed. */
async function changed(code: number, byte: number, value: number): Promise<Buffer> {
  const list = Buffer.concat([Buffer.alloc(4), await current(code)]);
  list[4 + byte] = value;
  return list;
}

describe('MODE SENSE', () => {
  test('tells current, changeable and default values', async () => {
    expect((await current(page.caching))[2]).toBe(0x04);
    expect((await current(page.caching, control.changeable)).toString('hex')).toBe(`0812${'00'.repeat(18)}`);
    expect((await current(page.control, control.changeable)).toString('hex')).toBe('0a0a04000800000000000000');
    await fixture.run(a, ...select6(await changed(page.control, 2, 4)));
    expect((await current(page.control))[2]).toBe(0x04);
    expect((await current(page.control, control.defaults))[2]).toBe(0x00);
  });

  test('has no saved values, and tells so', async () => {
    expect(await fixture.outcome(a, sense6(page.all, control.saved))).toBe('5/39/00');
  });

  test('gives all pages, with all subpages too, and no other', async () => {
    const all = await current(page.all);
    expect([all[0], all[20], all.length]).toEqual([page.caching, page.control, 32]);
    expect((await fixture.run(a, sense6(page.all, 0, 0xff))).data.subarray(4).equals(all)).toBe(true);
    expect((await fixture.run(a, sense6(page.control, 0, 0xff))).data[4]).toBe(page.control);
    expect(await fixture.outcome(a, sense6(page.control, 0, 1))).toBe('5/24/00');
    expect(await fixture.outcome(a, sense6(0x1c))).toBe('5/24/00');
  });

  test('has a block descriptor unless that is unwanted, of 16 bytes where asked for', async () => {
    const { data: short } = await fixture.run(a, [0x1a, 0x00, page.control, 0, 255, 0]);
    expect([short[0], short[3], short.readUInt32BE(4), short.readUInt32BE(8)]).toEqual([short.length - 1, 8, 2048, 512]);
    const { data: long } = await fixture.run(a, sense10(page.control, 0x10));
    expect([long.readUInt16BE(0), long[4], long.readUInt16BE(6)]).toEqual([long.length - 2, 1, 16]);
    expect([long.readBigUInt64BE(8), long.readUInt32BE(20)]).toEqual([2048n, 512]);
    const { data: without } = await fixture.run(a, sense10(page.control));
    expect([without[4], without.readUInt16BE(6), without[8]]).toEqual([0, 0, page.control]);
  });

  test('tells DPOFUA, and WP where one may not write', async () => {
    expect((await fixture.run(a, sense6(page.all))).data[2]).toBe(0x10);
    const reader = fixture.nexus('c', 't', { readOnly: true });
    expect((await fixture.run(reader, sense6(page.all))).data[2]).toBe(0x90);
    expect((await fixture.run(reader, sense10(page.all))).data[3]).toBe(0x90);
  });
});

describe('MODE SELECT', () => {
  const write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];

  test('does not turn the write cache off', async () => {
    expect(await fixture.outcome(a, ...select6(await changed(page.caching, 2, 0)))).toBe('5/26/00');
    expect(await fixture.outcome(a, ...select6(await changed(page.caching, 2, 4)))).toBe('good');
    expect((await current(page.caching))[2]).toBe(0x04);
  });

  test('tells other initiators, and only where something changed', async () => {
    await fixture.run(a, ...select6(await changed(page.control, 2, 0)));
    expect(b.unitAttentions).toEqual([]);
    await fixture.run(a, ...select6(await changed(page.control, 2, 4)));
    expect(a.unitAttentions).toEqual([]);
    expect(await fixture.outcome(b, [0])).toBe('6/2a/01');
  });

  test('protects from writing by software, and lifts that', async () => {
    await fixture.run(a, ...select6(await changed(page.control, 4, 0x08)));
    b.unitAttentions.length = 0;
    for (const nexus of [a, b]) expect(await fixture.outcome(nexus, write, Buffer.alloc(512))).toBe('7/27/02');
    expect((await fixture.run(b, sense6(page.all))).data[2]! & 0x80).toBe(0x80);
    await fixture.run(a, ...select6(await changed(page.control, 4, 0)));
    expect(await fixture.outcome(a, write, Buffer.alloc(512))).toBe('good');
  });

  test('asks for sense data in descriptor format', async () => {
    const sense = { key: 0xe, asc: 0x1d, ascq: 0, information: 7 };
    expect(fixture.unit.formatSense(sense)).toEqual(formatSense(sense));
    await fixture.run(a, ...select10(Buffer.concat([Buffer.alloc(4), await changed(page.control, 2, 0x04)])));
    expect(fixture.unit.formatSense(sense)).toEqual(formatDescriptorSense(sense));
  });

  test('is taken back by a reset', async () => {
    await fixture.run(a, ...select6(await changed(page.control, 2, 4)));
    fixture.unit.reset();
    expect((await current(page.control))[2]).toBe(0x00);
  });

  test('takes the block descriptor that there is, or none', async () => {
    const { data } = await fixture.run(a, [0x1a, 0x00, page.caching, 0, 255, 0]);
    const list = Buffer.from(data);
    list[0] = 0;
    expect(await fixture.outcome(a, ...select6(list))).toBe('good');
    list.writeUInt32BE(0, 4);
    expect(await fixture.outcome(a, ...select6(list))).toBe('good');
    list.writeUInt32BE(4096, 8);
    expect(await fixture.outcome(a, ...select6(list))).toBe('5/26/00');
  });

  test('changes all or nothing, and nothing that cannot be changed', async () => {
    const list = Buffer.concat([await changed(page.control, 2, 4), await current(page.caching)]);
    list[4 + 12 + 2] = 0x00;
    expect(await fixture.outcome(a, ...select6(list))).toBe('5/26/00');
    expect((await current(page.control))[2]).toBe(0x00);
  });

  test.each([
    ['with a page that is not known', (list: Buffer) => (list[4] = 0x1c), '5/26/00'],
    ['with a page of another length', (list: Buffer) => (list[5] = 0x10), '5/26/00'],
    ['with a subpage', (list: Buffer) => (list[4] = 0x48), '5/26/00'],
    ['with a block descriptor beyond the list', (list: Buffer) => (list[3] = 64), '5/1a/00'],
  ])('is refused %s', async (_what, damage, sense) => {
    const list = await changed(page.control, 2, 4);
    damage(list);
    expect(await fixture.outcome(a, ...select6(list))).toBe(sense);
  });

  test('is refused when it is cut off, when it is to be saved, and without the page format', async () => {
    const list = await changed(page.control, 2, 4);
    expect(await fixture.outcome(a, ...select6(list.subarray(0, 10)))).toBe('5/1a/00');
    expect(await fixture.outcome(a, ...select6(list.subarray(0, 3)))).toBe('5/1a/00');
    expect(await fixture.outcome(a, ...select6(list, 0x11))).toBe('5/24/00');
    expect(await fixture.outcome(a, ...select6(list, 0x00))).toBe('5/24/00');
    expect(await fixture.outcome(a, ...select6(Buffer.alloc(0)))).toBe('good');
  });

  test('is not for who may not write', async () => {
    const reader = fixture.nexus('c', 't', { readOnly: true });
    expect(await fixture.outcome(reader, ...select6(await changed(page.control, 4, 0x08)))).toBe('7/27/00');
  });
});
