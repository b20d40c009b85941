import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { systemRandom } from '@scoria/core/device';
import { describe, expect, test } from 'vitest';
import { ChapAuthenticator, ChapError, chapResponse, decodeBinary } from '../src/protocol/chap.ts';
import { NegotiationError, OperationalNegotiation } from '../src/protocol/negotiation.ts';

describe('CHAP', () => {
  const answer = (algorithm: string, secret: string) => {
    const chap = new ChapAuthenticator(systemRandom);
    const keys = chap.challenge(algorithm);
    const challenge = decodeBinary(keys.get('CHAP_C') ?? '');
    const response = chapResponse(keys.get('CHAP_A') ?? '', Number(keys.get('CHAP_I')), secret, challenge);
    return { chap, challenge, response };
  };

  test('computes the response of RFC 1994', () => {
    const challenge = Buffer.from('challenge');
    const expected = createHash('md5')
      .update(Buffer.concat([Buffer.of(9), Buffer.from('secret'), challenge]))
      .digest();
    expect(chapResponse('5', 9, 'secret', challenge).equals(expected)).toBe(true);
    expect(chapResponse('7', 9, 'secret', challenge)).toHaveLength(32);
  });

  test('takes hexadecimal and base64 responses', () => {
    for (const form of [(bytes: Buffer) => `0x${bytes.toString('hex')}`, (bytes: Buffer) => `0b${bytes.toString('base64')}`]) {
      const { chap, response } = answer('7', 'secret');
      expect(
        chap.verify(
          new Map([
            ['CHAP_N', 'user'],
            ['CHAP_R', form(response)],
          ]),
          () => 'secret',
        ).name,
      ).toBe('user');
    }
  });

  test('takes an answer once', () => {
    const { chap, response } = answer('7', 'secret');
    const keys = new Map([
      ['CHAP_N', 'user'],
      ['CHAP_R', `0x${response.toString('hex')}`],
    ]);
    chap.verify(keys, () => 'secret');
    expect(() => chap.verify(keys, () => 'secret')).toThrow(ChapError);
  });

  test('proves the target to an initiator that asks, but never answers its own challenge', () => {
    const own = { name: 'target', secret: 'another secret' };
    const prove = (challenge: (ours: Buffer) => Buffer) => {
      const { chap, challenge: ours, response } = answer('7', 'secret');
      const keys = new Map([
        ['CHAP_N', 'user'],
        ['CHAP_R', `0x${response.toString('hex')}`],
        ['CHAP_I', '17'],
        ['CHAP_C', `0x${challenge(ours).toString('hex')}`],
      ]);
      return chap.verify(keys, () => 'secret', own).reply;
    };
    const theirs = Buffer.from('a challenge of theirs');
    expect(prove(() => theirs).get('CHAP_R')).toBe(`0x${chapResponse('7', 17, own.secret, theirs).toString('hex')}`);
    expect(() => prove((ours) => ours)).toThrow(/reflected/);
  });

  test('decodes what was encoded, and refuses the rest', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (bytes) => {
        const value = Buffer.from(bytes);
        expect(decodeBinary(`0x${value.toString('hex')}`).equals(value)).toBe(true);
        expect(decodeBinary(`0b${value.toString('base64')}`).equals(value)).toBe(true);
      }),
    );
    for (const bad of ['', '0x', '0xzz', '17', '0b***', `0x${'00'.repeat(2000)}`])
      expect(() => decodeBinary(bad)).toThrow(ChapError);
  });
});

describe('operational keys', () => {
  test.each([
    ['MaxRecvDataSegmentLength', '511'],
    ['MaxBurstLength', '16777216'],
    ['InitialR2T', 'Perhaps'],
    ['ErrorRecoveryLevel', '3'],
    ['MaxOutstandingR2T', '0'],
    ['FirstBurstLength', '-1'],
    ['FirstBurstLength', '16777216'],
    ['MaxConnections', '0'],
    ['MaxOutstandingR2T', '65536'],
    ['DefaultTime2Wait', '3601'],
    ['DefaultTime2Retain', '3601'],
    ['DataPDUInOrder', 'yes'],
    ['iSCSIProtocolLevel', '32'],
    ['MaxRecvDataSegmentLength', '0x1000000'],
    ['MaxRecvDataSegmentLength', '1e4'],
  ])('refuse %s=%s', (key, value) => {
    expect(() => new OperationalNegotiation().take(key, value)).toThrow(NegotiationError);
  });

  test.each([
    ['MaxConnections', '65535', '1'],
    ['InitialR2T', 'Yes', 'Yes'],
    ['ImmediateData', 'No', 'No'],
    ['MaxRecvDataSegmentLength', '16777215', null],
    ['MaxBurstLength', '16777215', '1048576'],
    ['MaxBurstLength', '512', '512'],
    ['FirstBurstLength', '16777215', '262144'],
    ['DefaultTime2Wait', '3600', '3600'],
    ['DefaultTime2Retain', '3600', '0'],
    ['MaxOutstandingR2T', '65535', '4'],
    ['DataPDUInOrder', 'No', 'Yes'],
    ['DataSequenceInOrder', 'No', 'Yes'],
    ['ErrorRecoveryLevel', '2', '0'],
    ['iSCSIProtocolLevel', '31', '1'],
    ['TaskReporting', 'FastAbort,RFC3720', 'RFC3720'],
    ['TaskReporting', 'FastAbort', 'Reject'],
    ['OFMarker', 'Yes', 'No'],
    ['IFMarkInt', '2048~65535', 'Irrelevant'],
    ['InitiatorAlias', 'host', null],
    ['TargetAlias', 'disk', 'Reject'],
    ['SendTargets', 'All', 'Reject'],
    ['X-org.example.unknown', '1', 'NotUnderstood'],
    ['X-org.example.unknown', 'NotUnderstood', null],
    ['MaxBurstLength', 'Irrelevant', null],
  ])('answer %s=%s with %s', (key, value, answer) => {
    expect(new OperationalNegotiation().take(key, value)).toBe(answer);
  });

  test('are negotiated once', () => {
    const negotiation = new OperationalNegotiation();
    negotiation.take('MaxBurstLength', '0x10000');
    expect(negotiation.parameters.maxBurstLength).toBe(65_536);
    expect(() => negotiation.take('MaxBurstLength', '65536')).toThrow(NegotiationError);
  });

  test('leave a first burst within a burst', () => {
    const negotiation = new OperationalNegotiation();
    negotiation.take('MaxBurstLength', '4096');
    expect(negotiation.settle().firstBurstLength).toBe(4096);
  });

  test('are told of once by the target', () => {
    const negotiation = new OperationalNegotiation();
    expect(negotiation.declarations()).toHaveLength(1);
    expect(negotiation.declarations()).toHaveLength(0);
  });
});
