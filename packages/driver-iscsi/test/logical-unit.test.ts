import { ScoriaError } from '@scoria/core/device';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { naaDesignator } from '../src/scsi/inquiry.ts';
import { MemoryDevice } from './memory-device.ts';
import { accessId, iqn, mebibyte, TargetFixture, volumeId } from './target-fixture.ts';
import { cdbs, type TestInitiator } from './test-initiator.ts';

let target: TargetFixture;
let initiator: TestInitiator;
beforeEach(async () => {
  target = await TargetFixture.exporting();
  initiator = await target.session();
});
afterEach(() => target.stop());

const page = async (code: number): Promise<Buffer> => (await initiator.command(cdbs.inquiry(code), { expect: 255 })).data;

describe('what the logical unit says of itself', () => {
  test('vendor, product and command queueing', async () => {
    const { data } = await initiator.command(cdbs.inquiry(null), { expect: 255 });
    expect(data.toString('latin1', 8, 32)).toBe('SCORIA  Scoria          ');
    expect(data[7]! & 0x02).toBe(0x02);
  });

  test('the serial number is the volume id', async () => {
    expect((await page(0x80)).toString('latin1', 4)).toBe(volumeId);
  });

  test('designators follow from the volume id', async () => {
    const data = await page(0x83);
    expect(data.includes(naaDesignator(volumeId))).toBe(true);
    expect(data.includes(Buffer.from(`SCORIA  ${volumeId}`))).toBe(true);
    expect(data.includes(Buffer.from(`${iqn()},t,0x0001`))).toBe(true);
    expect(naaDesignator(volumeId)[0]! >> 4).toBe(3);
  });

  test('every page that is listed exists', async () => {
    const listed = (await page(0x00)).subarray(4);
    expect([...listed]).toEqual([0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    for (const code of listed) expect((await page(code))[1]).toBe(code);
    expect((await initiator.command(cdbs.inquiry(0xc0), { expect: 255 })).sense).toBe('5/24/00');
  });

  test('capacity, block size and thin provisioning', async () => {
    const { data } = await initiator.command(cdbs.readCapacity16, { expect: 32 });
    expect([data.readBigUInt64BE(0), data.readUInt32BE(8), data[13], data[14]]).toEqual([16_383n, 512, 3, 0xc0]);
  });

  test('a write cache that is on', async () => {
    const { data } = await initiator.command([0x1a, 0x08, 0x08, 0, 255, 0], { expect: 255 });
    expect([data[2], data[4], data[6]! & 0x04]).toEqual([0x10, 0x08, 0x04]);
  });

  test('LUN 0 only', async () => {
    const { data } = await initiator.command([0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], { expect: 16 });
    expect([data.readUInt32BE(0), data.readUInt32BE(8)]).toEqual([8, 0]);
    expect((await initiator.command(cdbs.testUnitReady, { lun: 1 })).sense).toBe('5/25/00');
    expect((await initiator.command(cdbs.inquiry(null), { expect: 255, lun: 1 })).data[0]).toBe(0x7f);
  });

  test('which commands it knows, with as many bytes as they have', async () => {
    const { data } = await initiator.command([0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0], { expect: 4096 });
    const opcodes = Array.from({ length: (data.length - 4) / 8 }, (_, index) => data[4 + 8 * index]);
    expect(opcodes).toEqual(expect.arrayContaining([0x00, 0x28, 0x88, 0x2a, 0x8a, 0x35, 0x42, 0x89, 0x93]));
    const { data: one } = await initiator.command([0xa3, 0x0c, 1, 0x2a, 0, 0, 0, 0, 1, 0, 0, 0], { expect: 256 });
    expect([one[1], one.readUInt16BE(2), one[4]]).toEqual([3, 10, 0x2a]);
  });
});

describe('reads and writes', () => {
  test('of 6, 10, 12 and 16 bytes reach the same blocks', async () => {
    const writes = [
      [0x0a, 0, 0, 5, 1, 0],
      cdbs.write10(5, 1),
      [0xaa, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0],
      [0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0],
    ];
    const reads = [
      [0x08, 0, 0, 5, 1, 0],
      cdbs.read10(5, 1),
      [0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0],
      [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0],
    ];
    for (const [index, cdb] of writes.entries()) {
      await initiator.command(cdb, { data: Buffer.alloc(512, index + 1) });
      for (const read of reads) expect((await initiator.command(read, { expect: 512 })).data[511]).toBe(index + 1);
    }
  });

  test('with FUA are on stable storage, and a flush reaches the device', async () => {
    await initiator.command(cdbs.write10(0, 1, 0x08), { data: Buffer.alloc(512) });
    await initiator.command(cdbs.write10(1, 1), { data: Buffer.alloc(512) });
    await initiator.command(cdbs.synchronizeCache10);
    expect(target.device.calls).toEqual(['write 0 512 fua', 'write 512 512', 'flush']);
  });

  test('beyond the end are refused', async () => {
    expect((await initiator.command(cdbs.read10(16_384, 1), { expect: 512 })).sense).toBe('5/21/00');
    expect((await initiator.command(cdbs.write10(16_383, 2), { data: Buffer.alloc(1024) })).sense).toBe('5/21/00');
    expect(target.device.calls).toEqual([]);
  });

  test.each([
    ['device-no-space', '7/27/07'],
    ['device-medium-error', '3/0c/00'],
    ['device-not-permitted', '7/27/00'],
    ['device-gone', '2/04/00'],
    ['backend-failed', '4/44/00'],
  ] as const)('that fail with %s tell sense %s', async (code, sense) => {
    target.device.delays.write = () => Promise.reject(new ScoriaError(code, 'the device fails'));
    expect((await initiator.command(cdbs.write10(0, 1), { data: Buffer.alloc(512) })).sense).toBe(sense);
  });

  test('work on blocks of 4 KiB', async () => {
    target.devices.set('/large', new MemoryDevice(mebibyte, 4096));
    const id = '44444444-4444-4444-8444-444444444444';
    const volume = '55555555-5555-4555-8555-555555555555';
    await target.export({ accessId: id, volumeId: volume, device: { ...target.locator('/large'), blockSize: 4096 } });
    const other = await target.session({ user: id });
    await other.command(cdbs.write10(3, 2), { data: Buffer.alloc(8192, 9) });
    expect(target.devices.get('/large')!.content.subarray(12_288, 20_480).equals(Buffer.alloc(8192, 9))).toBe(true);
    expect((await other.command(cdbs.readCapacity16, { expect: 32 })).data.readUInt32BE(8)).toBe(4096);
  });
});

describe('an access that may not write', () => {
  const id = '66666666-6666-4666-8666-666666666666';
  test('is refused every change, while another access of the volume writes', async () => {
    await target.export({ accessId: id, readOnly: true });
    const reader = await target.session({ user: id, isid: '000023000003' });
    const block = Buffer.alloc(512, 1);
    expect((await reader.command(cdbs.write10(0, 1), { data: block })).sense).toBe('7/27/00');
    expect((await reader.command(cdbs.writeSame10(0, 1), { data: block })).sense).toBe('7/27/00');
    expect((await reader.command(cdbs.unmap(24), { data: Buffer.alloc(24) })).sense).toBe('7/27/00');
    expect((await reader.command(cdbs.compareAndWrite(0, 1), { data: Buffer.alloc(1024) })).sense).toBe('7/27/00');
    expect((await reader.command([0x1a, 0x08, 0x3f, 0, 255, 0], { expect: 255 })).data[2]! & 0x80).toBe(0x80);
    expect(target.device.calls).toEqual([]);
    expect((await initiator.command(cdbs.write10(0, 1), { data: block })).status).toBe(0);
    expect((await reader.command(cdbs.read10(0, 1), { expect: 512 })).data[0]).toBe(1);
    expect(accessId).not.toBe(id);
  });
});

describe('VERIFY', () => {
  const verify = (check: number, blocks: number): number[] => [0x2f, check << 1, 0, 0, 0, 0, 0, 0, blocks, 0];

  test('compares the medium with all the data, or each block with one', async () => {
    await initiator.command(cdbs.write10(0, 4), { data: Buffer.alloc(2048, 3) });
    expect((await initiator.command(verify(0, 4))).status).toBe(0);
    expect((await initiator.command(verify(1, 4), { data: Buffer.alloc(2048, 3) })).status).toBe(0);
    expect((await initiator.command(verify(3, 4), { data: Buffer.alloc(512, 3) })).status).toBe(0);
    expect((await initiator.command(verify(1, 5), { data: Buffer.alloc(2560, 3) })).sense).toBe('e/1d/00');
    expect((await initiator.command(verify(3, 5), { data: Buffer.alloc(512, 3) })).sense).toBe('e/1d/00');
    expect((await initiator.command(verify(1, 4), { data: Buffer.alloc(512, 3) })).sense).toBe('5/24/00');
  });
});

describe('thin provisioning', () => {
  const unmapList = (lba: number, blocks: number): Buffer => {
    const list = Buffer.alloc(24);
    list.writeUInt16BE(22, 0);
    list.writeUInt16BE(16, 2);
    list.writeBigUInt64BE(BigInt(lba), 8);
    list.writeUInt32BE(blocks, 16);
    return list;
  };

  test('UNMAP frees blocks, which then read as zeroes', async () => {
    await initiator.command(cdbs.write10(0, 16), { data: Buffer.alloc(8192, 1) });
    expect((await initiator.command(cdbs.unmap(24), { data: unmapList(4, 8) })).status).toBe(0);
    expect(target.device.calls.at(-1)).toBe('discard 2048 4096');
    const { data } = await initiator.command(cdbs.read10(0, 16), { expect: 8192 });
    expect([data[2047], data[2048], data[6143], data[6144]]).toEqual([1, 0, 0, 1]);
    expect((await initiator.command(cdbs.unmap(24), { data: unmapList(16_380, 8) })).sense).toBe('5/21/00');
  });

  test('WRITE SAME of zeroes frees, of a pattern writes', async () => {
    await initiator.command(cdbs.writeSame10(0, 4096), { data: Buffer.alloc(512, 0xab) });
    expect(target.device.content.subarray(0, 2 * mebibyte).equals(Buffer.alloc(2 * mebibyte, 0xab))).toBe(true);
    await initiator.command(cdbs.writeSame10(8, 8), { data: Buffer.alloc(512) });
    await initiator.command(cdbs.writeSame10(16, 8, 0x08), { data: Buffer.alloc(512) });
    expect(target.device.calls.slice(-2)).toEqual(['zeroes 4096 4096', 'discard 8192 4096']);
    expect((await initiator.command(cdbs.writeSame10(0, 0), { data: Buffer.alloc(512) })).sense).toBe('5/24/00');
  });

  test('GET LBA STATUS tells what is mapped', async () => {
    await initiator.command(cdbs.write10(8, 8), { data: Buffer.alloc(4096, 1) });
    const { data } = await initiator.command(cdbs.getLbaStatus(0, 40), { expect: 40 });
    expect([data.readBigUInt64BE(8), data.readUInt32BE(16), data[20]]).toEqual([0n, 8, 1]);
    expect([data.readBigUInt64BE(24), data[36]]).toEqual([8n, 0]);
  });
});

describe('COMPARE AND WRITE', () => {
  test('writes only where it compares equal, and tells where not', async () => {
    const old = Buffer.alloc(512, 1);
    const fresh = Buffer.alloc(512, 2);
    await initiator.command(cdbs.write10(0, 1), { data: old });
    expect((await initiator.command(cdbs.compareAndWrite(0, 1), { data: Buffer.concat([old, fresh]) })).status).toBe(0);
    const again = await initiator.command(cdbs.compareAndWrite(0, 1), { data: Buffer.concat([old, fresh]) });
    expect(again.sense).toBe('e/1d/00');
    expect(target.device.content[0]).toBe(2);
  });

  test('of many initiators at once lets one win', async () => {
    const others = await Promise.all(['a', 'b', 'c'].map((digit) => target.session({ isid: `00002300000${digit}` })));
    const zero = Buffer.alloc(512);
    const results = await Promise.all(
      [initiator, ...others].map((each, index) =>
        each.command(cdbs.compareAndWrite(0, 1), { data: Buffer.concat([zero, Buffer.alloc(512, index + 1)]) }),
      ),
    );
    expect(results.filter(({ status }) => status === 0)).toHaveLength(1);
  });
});

describe('unit attention', () => {
  test('tells of power on once', async () => {
    const other = await target.connect();
    await other.login({ target: iqn(), user: accessId, secret: 'a secret of the access', isid: '000023000004' });
    expect((await other.command(cdbs.inquiry(null), { expect: 96 })).status).toBe(0);
    expect((await other.command(cdbs.testUnitReady)).sense).toBe('6/29/00');
    expect((await other.command(cdbs.testUnitReady)).status).toBe(0);
  });

  test('tells every initiator of a new size', async () => {
    target.device.nextSize = 16 * mebibyte;
    await target.service.resize({ volumeId });
    expect((await initiator.command(cdbs.testUnitReady)).sense).toBe('6/2a/09');
    expect((await initiator.command(cdbs.readCapacity16, { expect: 32 })).data.readBigUInt64BE(0)).toBe(32_767n);
  });
});

test('what is not known is refused', async () => {
  expect((await initiator.command([0xff, 0, 0, 0, 0, 0])).sense).toBe('5/20/00');
  expect((await initiator.command([0x5e, 9, 0, 0, 0, 0, 0, 0, 8, 0], { expect: 8 })).sense).toBe('5/24/00');
  expect((await initiator.command([0x00, 0, 0, 0, 0, 0x04])).sense).toBe('5/24/00');
});
