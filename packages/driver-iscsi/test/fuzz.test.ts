import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { flag, joinData, requestOpcode, reservedTag } from '../src/protocol/pdu.ts';
import { TargetFixture } from './target-fixture.ts';
import { cdbs, type TestInitiator } from './test-initiator.ts';

// Whatever an initiator that knows the secret sends costs at most its own connection.

let target: TargetFixture;
let witness: TestInitiator;
beforeAll(async () => {
  target = new TargetFixture();
  await target.service.start();
  await target.export();
  witness = await target.session({ isid: '0000230000ff' });
});
afterAll(() => target.stop());

const knownOpcodes = [
  0x00, 0x03, 0x08, 0x0a, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x42, 0x5a, 0x88, 0x89, 0x8a, 0x8f, 0x91, 0x93, 0x9e,
  0xa0, 0xa3,
];

/** Small numbers make sense more often than random ones. */
const byte = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(0, 0, 1, 8, 16) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }) },
);
const command = fc.record({
  kind: fc.constant('command' as const),
  cdb: fc.tuple(
    fc.oneof(fc.constantFrom(...knownOpcodes), fc.integer({ min: 0, max: 255 })),
    fc.array(byte, { minLength: 15, maxLength: 15 }),
  ),
  flags: fc.constantFrom(0x80, 0xa0, 0xc0, 0x20, 0xe0),
  attribute: fc.integer({ min: 0, max: 7 }),
  expected: fc.constantFrom(0, 24, 512, 1024, 8192, 0xffffffff),
  data: fc.uint8Array({ maxLength: 2048 }),
  lun: fc.constantFrom(0, 0, 0, 1, 255),
});
const other = fc.record({
  kind: fc.constant('other' as const),
  header: fc.uint8Array({ minLength: 48, maxLength: 48 }),
  opcode: fc.oneof(fc.constantFrom(0x40, 0x42, 0x44, 0x05), fc.integer({ min: 0, max: 0x7f })),
  length: fc.integer({ min: 0, max: 64 }),
});

type RandomPdu =
  typeof command extends fc.Arbitrary<infer C> ? (typeof other extends fc.Arbitrary<infer O> ? C | O : never) : never;

async function attempt(pdus: readonly RandomPdu[]): Promise<void> {
  const initiator = await target.session({ keys: { InitialR2T: 'No' } });
  try {
    for (const pdu of pdus) {
      if (pdu.kind === 'command') {
        const bhs = initiator.header(requestOpcode.scsiCommand, pdu.flags | pdu.attribute);
        bhs[9] = pdu.lun;
        bhs.writeUInt32BE(pdu.expected, 20);
        Buffer.from([pdu.cdb[0], ...pdu.cdb[1]]).copy(bhs, 32);
        initiator.send(joinData(bhs, Buffer.from(pdu.data)));
      } else {
        const bhs = Buffer.from(pdu.header);
        bhs[0] = pdu.opcode;
        bhs[4] = 0;
        initiator.send(joinData(bhs, Buffer.alloc(pdu.length, 0x41)));
      }
    }
    const nop = initiator.header(requestOpcode.nopOut, flag.final, true);
    nop.writeUInt32BE(reservedTag, 20);
    initiator.send(nop);
    await initiator.next();
  } finally {
    initiator.close();
  }
}
describe('a session of random requests', () => {
  test('leaves the target and its other sessions well', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ weight: 4, arbitrary: command }, { weight: 1, arbitrary: other }), { maxLength: 12 }),
        async (pdus) => {
          await attempt(pdus);
          // A cold reset among the requests ends the other session too; its next login must succeed.
          const answer = await witness.command(cdbs.testUnitReady).catch(async () => {
            witness = await target.session({ isid: '0000230000ff' });
            return witness.command(cdbs.testUnitReady);
          });
          // And a reset is told of.
          expect([null, '6/29/03', '6/29/00', '6/2f/00', '6/2a/09']).toContain(answer.sense);
        },
      ),
      { numRuns: 150 },
    );
    await target.service.unexport({ accessId: '11111111-1111-4111-8111-111111111111' });
    expect(target.device.closed).toBe(true);
  }, 30_000);
});
