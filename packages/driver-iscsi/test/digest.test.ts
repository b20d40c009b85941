import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dataTrailer, digestMatches, framePdu, headerWithDigest } from '../src/protocol/digest.ts';
import { defaultParameters, OperationalNegotiation } from '../src/protocol/negotiation.ts';
import { flag, makeHeader, opcodeOf, rejectReason, requestOpcode, responseOpcode } from '../src/protocol/pdu.ts';
import { PduDecoder, PduFormatError } from '../src/protocol/pdu-decoder.ts';
import { TargetFixture } from './target-fixture.ts';
import { cdbs } from './test-initiator.ts';

describe('a digest', () => {
  // RFC 7143, appendix A.4.
  test.each([
    ['32 bytes of zeroes', Buffer.alloc(32), 'aa36918a'],
    ['32 bytes of ones', Buffer.alloc(32, 0xff), '43aba862'],
    ['32 bytes that increment', Buffer.from(Array.from({ length: 32 }, (_, index) => index)), '4e79dd46'],
    ['32 bytes that decrement', Buffer.from(Array.from({ length: 32 }, (_, index) => 31 - index)), '5cdb3f11'],
  ])('of %s is that of the standard', (_what, bytes, wire) => {
    expect(dataTrailer(bytes, true).toString('hex')).toBe(wire);
    expect(digestMatches(bytes, Buffer.from(wire, 'hex'))).toBe(true);
  });

  test('covers the padding', () => {
    const data = Buffer.from('odd');
    const trailer = dataTrailer(data, true);
    expect(trailer).toHaveLength(5);
    expect(digestMatches(data, trailer)).toBe(true);
    trailer[0] = 1;
    expect(digestMatches(data, trailer)).toBe(false);
  });

  test('covers additional header segments', () => {
    const bhs = makeHeader(0x01, 0x80, 7);
    bhs[4] = 2;
    const ahs = Buffer.from('12345678');
    const digest = dataTrailer(Buffer.concat([bhs, ahs]), true);
    for (const cut of [1, 20, 50, 58, 60]) {
      const found: number[] = [];
      const decoder = new PduDecoder({ place: () => null, pdu: (header) => found.push(header.readUInt32BE(16)) }, 8192);
      decoder.digests = { header: true, data: true };
      const stream = Buffer.concat([bhs, ahs, digest]);
      decoder.push(stream.subarray(0, cut));
      decoder.push(stream.subarray(cut));
      expect(found).toEqual([7]);
      stream[50]! ^= 1;
      expect(() => decoder.push(stream)).toThrow(PduFormatError);
    }
  });

  test.each([
    ['None', false, 'None'],
    ['CRC32C', true, 'CRC32C'],
    ['CRC32C,None', true, 'CRC32C'],
    ['None,CRC32C', false, 'None'],
    ['X-org.example.sum,CRC32C,None', true, 'CRC32C'],
    ['X-org.example.sum', false, 'Reject'],
  ])('is agreed on by the order of the offer %s', (offer, agreed, answer) => {
    const negotiation = new OperationalNegotiation();
    expect(negotiation.take('HeaderDigest', offer)).toBe(answer);
    expect(negotiation.take('DataDigest', offer)).toBe(answer);
    expect(negotiation.settle()).toMatchObject({ ...defaultParameters(), headerDigest: agreed, dataDigest: agreed });
  });
});

describe('a session with digests', () => {
  let target: TargetFixture;
  beforeEach(async () => {
    target = await TargetFixture.exporting();
  });
  afterEach(() => target.stop());

  const both = { HeaderDigest: 'CRC32C', DataDigest: 'CRC32C' };
  const agreed = { header: true, data: true };
  /** Adds one to the last byte, which is part of a digest. */
  const damaged = (pdu: Buffer): Buffer => {
    pdu[pdu.length - 1] = (pdu.at(-1)! + 1) & 0xff;
    return pdu;
  };
  const rejected = async (pdu: Promise<{ bhs: Buffer; data: Buffer } | null>) => {
    const answer = await pdu;
    return answer === null ? null : [opcodeOf(answer.bhs), answer.bhs[2]];
  };

  test.each([
    [{ HeaderDigest: 'CRC32C', DataDigest: 'None' }],
    [{ HeaderDigest: 'None', DataDigest: 'CRC32C' }],
    [both],
    [{ ...both, InitialR2T: 'No', MaxRecvDataSegmentLength: '4096', MaxBurstLength: '65536', FirstBurstLength: '16384' }],
    [{ ...both, ImmediateData: 'No', MaxOutstandingR2T: '2' }],
  ])('moves data both ways with %o', async (keys) => {
    const initiator = await target.session({ keys });
    const data = Buffer.from(Array.from({ length: 600 * 512 }, (_, index) => (index * 31) & 255));
    expect(await initiator.command(cdbs.write10(7, 600), { data, immediate: 4096 })).toMatchObject({ status: 0 });
    expect((await initiator.command(cdbs.read10(7, 600), { expect: data.length })).data.equals(data)).toBe(true);
    // Lengths that need padding, in an answer with data and in one with sense.
    expect((await initiator.command(cdbs.inquiry(0x80, 255), { expect: 255 })).status).toBe(0);
    expect((await initiator.command(cdbs.inquiry(0x77), { expect: 255 })).sense).toBe('5/24/00');
    initiator.sendPdu(initiator.header(requestOpcode.nopOut, flag.final), Buffer.from('are you there'));
    expect((await initiator.next())!.data.toString()).toBe('are you there');
  });

  test('ends with a header that was damaged', async () => {
    const initiator = await target.session({ keys: both });
    initiator.send(damaged(headerWithDigest(initiator.header(requestOpcode.nopOut, flag.final))));
    await initiator.ended();
    expect((await (await target.session()).command(cdbs.testUnitReady)).status).toBe(0);
  });

  test('rejects a request with damaged data, and goes on when it is sent again', async () => {
    const initiator = await target.session({ keys: both });
    const nop = initiator.header(requestOpcode.nopOut, flag.final);
    initiator.send(damaged(framePdu(nop, Buffer.from('ping'), agreed)));
    expect(await rejected(initiator.next())).toEqual([responseOpcode.reject, rejectReason.dataDigestError]);
    const later = initiator.command(cdbs.testUnitReady);
    initiator.send(framePdu(nop, Buffer.from('ping'), agreed));
    expect((await initiator.next())!.data.toString()).toBe('ping');
    expect((await later).status).toBe(0);
  });

  test('ends a write with damaged data with CHECK CONDITION once all that was asked for has come', async () => {
    const initiator = await target.session({ keys: { ...both, MaxBurstLength: '1024', MaxOutstandingR2T: '2' } });
    const bhs = initiator.writeHeader(8);
    initiator.sendPdu(bhs);
    const first = (await initiator.next())!.bhs;
    const second = (await initiator.next())!.bhs;
    expect([opcodeOf(first), opcodeOf(second)]).toEqual([responseOpcode.r2t, responseOpcode.r2t]);
    const dataOut = (r2t: Buffer): Buffer => {
      const header = makeHeader(requestOpcode.dataOut, flag.final, bhs.readUInt32BE(16));
      header.writeUInt32BE(r2t.readUInt32BE(20), 20);
      header.writeUInt32BE(r2t.readUInt32BE(40), 40);
      return framePdu(header, Buffer.alloc(1024, 5), agreed);
    };
    initiator.send(damaged(dataOut(first)));
    expect(await rejected(initiator.next())).toEqual([responseOpcode.reject, rejectReason.dataDigestError]);
    initiator.send(dataOut(second));
    const answer = (await initiator.next())!;
    expect([opcodeOf(answer.bhs), answer.bhs[3]]).toEqual([responseOpcode.scsiResponse, 0x02]);
    // Aborted command, protocol service CRC error (RFC 7143, 11.4.7.2).
    expect([answer.data[4]! & 0x0f, answer.data[14], answer.data[15]]).toEqual([0x0b, 0x47, 0x05]);
    expect(target.device.calls).toEqual([]);
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
  });

  test('lets an initiator abort a command that was lost to a damaged segment', async () => {
    const initiator = await target.session({ keys: both });
    const lost = initiator.writeHeader(1);
    initiator.send(damaged(framePdu(lost, Buffer.alloc(512, 1), agreed)));
    expect(await rejected(initiator.next())).toEqual([responseOpcode.reject, rejectReason.dataDigestError]);
    const later = initiator.command(cdbs.testUnitReady);
    const abort = initiator.header(requestOpcode.taskManagement, flag.final | 1, true);
    lost.copy(abort, 20, 16, 20);
    lost.copy(abort, 32, 24, 28);
    initiator.sendPdu(abort);
    expect((await initiator.next())!.bhs[2]).toBe(0);
    expect((await later).status).toBe(0);
    expect(initiator.maxCmdSN - initiator.cmdSN + 1).toBe(128);
    expect(target.device.calls).toEqual([]);
  });
});
