import { ScoriaError } from '@scoria/core/device';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Nexus } from '../src/scsi/command.ts';
import { formatDescriptorSense, formatSense, senseFromError, senseOf } from '../src/scsi/sense.ts';
import { gate } from './target-fixture.ts';
import { ScsiFixture } from './scsi-fixture.ts';

let fixture: ScsiFixture;
let a: Nexus;
beforeEach(() => {
  fixture = new ScsiFixture();
  a = fixture.nexus('a');
});

const filled = (blocks: number, value: number): Buffer => Buffer.alloc(512 * blocks, value);
/** A CDB of 10, 12 or 16 bytes with a range. */
function ranged(opcode: number, lba: number, blocks: number, flags = 0): number[] {
  const cdb = Buffer.alloc(16);
  cdb[0] = opcode;
  cdb[1] = flags;
  if (opcode >> 5 === 4) {
    cdb.writeBigUInt64BE(BigInt(lba), 2);
    cdb.writeUInt32BE(blocks, 10);
  } else {
    cdb.writeUInt32BE(lba, 2);
    if (opcode >> 5 === 5) cdb.writeUInt32BE(blocks, 6);
    else cdb.writeUInt16BE(blocks, 7);
  }
  return [...cdb];
}
const content = (lba: number, blocks: number): Buffer => fixture.device.content.subarray(512 * lba, 512 * (lba + blocks));

describe.each([
  ['VERIFY(10)', 0x2f],
  ['VERIFY(12)', 0xaf],
  ['VERIFY(16)', 0x8f],
])('%s', (_name, opcode) => {
  beforeEach(() => {
    content(0, 4).fill(3);
    content(2, 1)[100] = 4;
  });

  test('reads, compares with all the data, or each block with one, by BYTCHK', async () => {
    expect(await fixture.outcome(a, ranged(opcode, 0, 4))).toBe('good');
    expect(await fixture.outcome(a, ranged(opcode, 0, 2, 0x02), filled(2, 3))).toBe('good');
    expect(await fixture.outcome(a, ranged(opcode, 0, 2, 0x06), filled(1, 3))).toBe('good');
    expect(await fixture.outcome(a, ranged(opcode, 0, 2, 0x04), filled(1, 3))).toBe('5/24/00');
  });

  test('tells the offset of the first byte that differs', async () => {
    for (const [flags, blocks] of [
      [0x02, 4],
      [0x06, 1],
    ] as const) {
      const { outcome, sense } = await fixture.run(a, ranged(opcode, 0, 4, flags), filled(blocks, 3));
      expect([outcome, sense?.information]).toEqual(['e/1d/00', 1124]);
    }
  });

  test('takes the length of data that BYTCHK asks for, and stays within the medium', async () => {
    expect(await fixture.outcome(a, ranged(opcode, 0, 2, 0x02), filled(1, 3))).toBe('5/24/00');
    expect(await fixture.outcome(a, ranged(opcode, 0, 2, 0x06), filled(2, 3))).toBe('5/24/00');
    expect(await fixture.outcome(a, ranged(opcode, 2047, 2))).toBe('5/21/00');
    expect(await fixture.outcome(a, ranged(opcode, 0, 0, 0x02))).toBe('good');
    expect(await fixture.outcome(a, ranged(opcode, 0, 1, 0x20))).toBe('5/24/00');
  });
});

describe.each([
  ['WRITE AND VERIFY(10)', 0x2e],
  ['WRITE AND VERIFY(12)', 0xae],
  ['WRITE AND VERIFY(16)', 0x8e],
])('%s', (_name, opcode) => {
  test('writes to stable storage, and finds what cannot be read back', async () => {
    expect(await fixture.outcome(a, ranged(opcode, 1, 2), filled(2, 5))).toBe('good');
    expect(fixture.device.calls).toEqual(['write 512 1024 fua']);
    fixture.device.delays.read = () => Promise.reject(new ScoriaError('device-medium-error', 'unreadable'));
    expect(await fixture.outcome(a, ranged(opcode, 1, 2), filled(2, 5))).toBe('3/0c/00');
  });

  test('with BYTCHK compares what it wrote', async () => {
    expect(await fixture.outcome(a, ranged(opcode, 1, 2, 0x02), filled(2, 5))).toBe('good');
    fixture.device.delays.read = async () => void content(1, 1).fill(6);
    const { outcome, sense } = await fixture.run(a, ranged(opcode, 1, 2, 0x02), filled(2, 5));
    expect([outcome, sense?.information]).toEqual(['e/1d/00', 0]);
    expect(await fixture.outcome(a, ranged(opcode, 1, 2, 0x06), filled(1, 5))).toBe('5/24/00');
  });

  test('with BYTCHK compares with nothing that came in between', async () => {
    const held = gate();
    fixture.device.delays.read = () => held.opened;
    const writing = fixture.outcome(a, ranged(opcode, 1, 1, 0x02), filled(1, 5));
    const other = fixture.outcome(fixture.nexus('b'), ranged(0x2a, 1, 1), filled(1, 6));
    held.open();
    expect(await Promise.all([writing, other])).toEqual(['good', 'good']);
    expect(content(1, 1).equals(filled(1, 6))).toBe(true);
  });
});

describe('ORWRITE(16)', () => {
  test('sets bits of what is there', async () => {
    content(3, 2).fill(0x0f);
    expect(await fixture.outcome(a, ranged(0x8b, 3, 2, 0x08), filled(2, 0xa5))).toBe('good');
    expect(content(3, 2).equals(filled(2, 0xaf))).toBe(true);
    expect(fixture.device.calls).toEqual(['write 1536 1024 fua']);
    expect(await fixture.outcome(a, ranged(0x8b, 3, 2), filled(1, 1))).toBe('5/24/00');
  });

  test('of many at once loses no bit', async () => {
    await Promise.all(Array.from({ length: 8 }, (_, bit) => fixture.run(a, ranged(0x8b, 0, 1), filled(1, 1 << bit))));
    expect(content(0, 1).equals(filled(1, 0xff))).toBe(true);
  });
});

describe('WRITE ATOMIC(16)', () => {
  const atomic = (lba: number, blocks: number, boundary = 0): number[] => {
    const cdb = Buffer.from(ranged(0x9c, lba, 0));
    cdb.writeUInt16BE(boundary, 10);
    cdb.writeUInt16BE(blocks, 12);
    return [...cdb];
  };

  test('writes a physical block in one piece, with nothing beside it', async () => {
    const held = gate();
    fixture.device.delays.write = () => held.opened;
    const before = fixture.outcome(a, ranged(0x2a, 100, 1), filled(1, 1));
    const writing = fixture.outcome(a, atomic(8, 8), filled(8, 2));
    const after = fixture.outcome(a, ranged(0x2a, 12, 1), filled(1, 3));
    held.open();
    expect(await Promise.all([before, writing, after])).toEqual(['good', 'good', 'good']);
    expect(fixture.device.calls).toEqual(['write 51200 512', 'write 4096 4096', 'write 6144 512']);
  });

  test.each([
    ['longer', atomic(0, 16), 16, '5/24/00'],
    ['shorter', atomic(0, 4), 4, '5/24/00'],
    ['not aligned', atomic(4, 8), 8, '5/24/00'],
    ['with a boundary', atomic(0, 8, 8), 8, '5/24/00'],
    ['beyond the end', atomic(2048, 8), 8, '5/21/00'],
    ['of no blocks', atomic(0, 0), 0, 'good'],
  ])('%s than the block limits say is judged', async (_what, cdb, blocks, outcome) => {
    expect(await fixture.outcome(a, cdb, filled(blocks, 1))).toBe(outcome);
    expect(fixture.device.calls).toEqual([]);
  });

  test('has its limits in the block limits page', async () => {
    const { data } = await fixture.run(a, [0x12, 1, 0xb0, 0, 255, 0]);
    expect([44, 48, 52, 56, 60].map((at) => data.readUInt32BE(at))).toEqual([8, 8, 8, 0, 0]);
  });
});

describe('PRE-FETCH, SYNCHRONIZE CACHE and START STOP UNIT', () => {
  test.each([0x34, 0x90, 0x35, 0x91])('%i takes a range up to the end, and none beyond', async (opcode) => {
    expect(await fixture.outcome(a, ranged(opcode, 0, 0))).toBe('good');
    expect(await fixture.outcome(a, ranged(opcode, 2047, 1, 0x02))).toBe('good');
    expect(await fixture.outcome(a, ranged(opcode, 2047, 2))).toBe('5/21/00');
    expect(await fixture.outcome(a, ranged(opcode, 2048, 0))).toBe('5/21/00');
  });

  test('a stop flushes, and the volume stays ready for others', async () => {
    expect(await fixture.outcome(a, [0x1b, 0, 0, 0, 0, 0])).toBe('good');
    expect(fixture.device.calls).toEqual(['flush']);
    expect(await fixture.outcome(a, [0x1b, 0, 0, 0, 0x04, 0])).toBe('good');
    expect(await fixture.outcome(a, [0x1b, 0, 0, 0, 0x01, 0])).toBe('good');
    expect(await fixture.outcome(a, [0x1b, 0, 0, 0, 0x10, 0])).toBe('5/24/00');
    expect(await fixture.outcome(a, [0x1b, 0, 0, 0, 0x02, 0])).toBe('5/24/00');
    expect(fixture.device.calls).toEqual(['flush']);
    expect(await fixture.outcome(a, [0])).toBe('good');
  });

  test('a failed flush is told', async () => {
    fixture.device.delays.flush = () => Promise.reject(new ScoriaError('device-no-space', 'full'));
    for (const cdb of [ranged(0x35, 0, 0), ranged(0x91, 0, 0, 0x02), [0x1b, 0, 0, 0, 0, 0]]) {
      expect(await fixture.outcome(a, cdb)).toBe('7/27/07');
    }
  });
});

test('READ with FUA gives what is on stable storage', async () => {
  await fixture.run(a, ranged(0x28, 0, 1, 0x08));
  expect(fixture.device.calls).toEqual(['flush']);
});

describe('sense data', () => {
  test('of a medium error name the first block that cannot be read', async () => {
    const read = fixture.device.read.bind(fixture.device);
    const bad = [1000, 1003];
    fixture.device.read = async (into, offset) => {
      if (bad.some((lba) => lba * 512 >= offset && lba * 512 < offset + into.length)) {
        throw new ScoriaError('device-medium-error', 'unreadable');
      }
      await read(into, offset);
    };
    for (const cdb of [ranged(0x28, 998, 40), ranged(0x88, 1000, 1), ranged(0x2f, 0, 2048)]) {
      const { outcome, sense } = await fixture.run(a, cdb);
      expect([outcome, sense?.information]).toEqual(['3/11/00', 1000]);
    }
    expect(await fixture.outcome(a, ranged(0x28, 1004, 8))).toBe('good');
  });

  test('of an error that goes away while its block is looked for name none', async () => {
    let failures = 1;
    fixture.device.delays.read = async () => {
      if (failures-- > 0) throw new ScoriaError('device-medium-error', 'unreadable');
      throw new ScoriaError('device-gone', 'gone');
    };
    const { outcome, sense } = await fixture.run(a, ranged(0x28, 0, 8));
    expect([outcome, sense?.information]).toEqual(['3/11/00', undefined]);
  });

  test.each([
    ['device-no-space', false, '7/27/7'],
    ['device-medium-error', false, '3/c/0'],
    ['device-medium-error', true, '3/11/0'],
    ['device-not-permitted', false, '7/27/0'],
    ['device-out-of-range', true, '5/21/0'],
    ['device-gone', true, '2/4/0'],
    ['backend-failed', true, '4/44/0'],
  ] as const)('of %s (reading: %s)', (code, reading, expected) => {
    const { key, asc, ascq } = senseFromError(new ScoriaError(code, 'it fails'), reading);
    expect([key, asc, ascq].map((value) => value.toString(16)).join('/')).toBe(expected);
  });

  test('have their information in both formats, of more than 32 bits in descriptors alone', () => {
    const sense = { ...senseOf.unrecoveredReadError, information: 0x1_0000_0002 };
    expect(formatDescriptorSense(sense).toString('hex')).toBe('720311000000000c000a80000000000100000002');
    expect(formatSense(sense).toString('hex', 0, 8)).toBe('700003000000000a');
    expect(formatSense({ ...sense, information: 2 }).toString('hex', 0, 8)).toBe('f00003000000020a');
    expect(formatDescriptorSense(senseOf.noSense).toString('hex')).toBe('7200000000000000');
  });

  test('point to the byte of the CDB that is wrong, in both formats', async () => {
    const { sense } = await fixture.run(a, [0xa3, 0x0c, 4, 0x28, 0, 0, 0, 0, 16, 0, 0, 0]);
    expect(formatSense(sense!).toString('hex')).toBe('700005000000000a00000000240000c00002');
    expect(formatDescriptorSense(sense!).toString('hex')).toBe('720524000000000802060000c0000200');
  });
});

describe('UNMAP', () => {
  const unmap = (
    descriptors: readonly (readonly [number, number])[],
    length = 8 + 16 * descriptors.length,
  ): [number[], Buffer] => {
    const list = Buffer.alloc(8 + 16 * descriptors.length);
    list.writeUInt16BE(list.length - 2, 0);
    list.writeUInt16BE(list.length - 8, 2);
    for (const [index, [lba, blocks]] of descriptors.entries()) {
      list.writeBigUInt64BE(BigInt(lba), 8 + 16 * index);
      list.writeUInt32BE(blocks, 16 + 16 * index);
    }
    return [[0x42, 0, 0, 0, 0, 0, 0, length >> 8, length & 255, 0], list.subarray(0, length)];
  };

  test('frees each range', async () => {
    expect(
      await fixture.outcome(
        a,
        ...unmap([
          [8, 8],
          [24, 0],
          [32, 16],
        ]),
      ),
    ).toBe('good');
    expect(fixture.device.calls).toEqual(['discard 4096 4096', 'discard 16384 8192']);
  });

  test('frees nothing where one range is wrong', async () => {
    expect(
      await fixture.outcome(
        a,
        ...unmap([
          [8, 8],
          [2040, 9],
        ]),
      ),
    ).toBe('5/21/00');
    expect(fixture.device.calls).toEqual([]);
  });

  test('is held to its limits, and to whole lists', async () => {
    expect(await fixture.outcome(a, ...unmap(Array.from({ length: 257 }, (_, index) => [index, 1] as const)))).toBe('5/26/00');
    expect(await fixture.outcome(a, ...unmap([[0, 8]], 7))).toBe('5/1a/00');
    expect(await fixture.outcome(a, ...unmap([], 0))).toBe('good');
    const [cdb, list] = unmap([[0, 8]]);
    expect(await fixture.outcome(a, cdb.with(1, 1), list)).toBe('5/24/00');
    expect(fixture.device.calls).toEqual([]);
  });
});

test('WRITE SAME refuses ANCHOR, and more than the block limits allow', async () => {
  expect(await fixture.outcome(a, ranged(0x93, 0, 8, 0x18), filled(1, 0))).toBe('5/24/00');
  expect(await fixture.outcome(a, ranged(0x93, 0, 8, 0x09))).toBe('good');
  expect(fixture.device.calls).toEqual(['discard 0 4096']);
});

describe('REPORT SUPPORTED OPERATION CODES', () => {
  const report = (options: number, opcode: number, action: number): number[] => [
    0xa3,
    0x0c,
    options,
    opcode,
    action >> 8,
    action & 255,
    0,
    0,
    16,
    0,
    0,
    0,
  ];

  test.each([
    [1, 0x28, 0, '3'],
    [1, 0x5e, 0, '5/24/00'],
    [1, 0xff, 0, '1'],
    [2, 0x5e, 2, '3'],
    [2, 0x5e, 9, '1'],
    [2, 0x28, 0, '5/24/00'],
    [3, 0x28, 0, '3'],
    [3, 0x28, 1, '1'],
    [3, 0x9e, 0x12, '3'],
    [3, 0x9e, 0x1012, '1'],
    [4, 0x28, 0, '5/24/00'],
  ])('with option %i, opcode %i and service action %i', async (options, opcode, action, expected) => {
    const { outcome, data } = await fixture.run(a, report(options, opcode, action));
    expect(outcome === 'good' ? String(data[1]! & 7) : outcome).toBe(expected);
  });

  test('has usage data as long as the CDB, and timeouts where asked for', async () => {
    const { data } = await fixture.run(a, report(0x83, 0x8b, 0));
    expect([data[1], data.readUInt16BE(2), data[4], data.readUInt16BE(20), data.length]).toEqual([0x83, 16, 0x8b, 10, 32]);
  });
});

test('REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS has a short and an extended form', async () => {
  expect((await fixture.run(a, [0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 255])).data.toString('hex')).toBe('da000000');
  expect((await fixture.run(a, [0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 255])).data.toString('hex', 0, 4)).toBe('da00000c');
  expect(await fixture.outcome(a, [0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 3])).toBe('5/24/00');
});

test('a service action that an opcode does not have is an invalid field', async () => {
  expect(await fixture.outcome(a, [0x9e, 0x1f])).toBe('5/24/00');
  expect(await fixture.outcome(a, [0x84, 0x00])).toBe('5/20/00');
});
