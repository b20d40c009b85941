import fc from 'fast-check';
import { systemRandom } from '@scoria/core/device';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { framePdu, type Digests } from '../src/protocol/digest.ts';
import { LoginNegotiator } from '../src/protocol/login.ts';
import { flag, joinData, makeHeader, requestOpcode, reservedTag } from '../src/protocol/pdu.ts';
import { TargetRegistry } from '../src/protocol/target-registry.ts';
import { formatText } from '../src/protocol/text.ts';
import { accessId, iqn, TargetFixture } from './target-fixture.ts';
import { cdbs, type TestInitiator } from './test-initiator.ts';

// Whatever an initiator that knows the secret sends costs at most its own connection.

/** Runs of each property; many thousand of them find what a few hundred do not. */
const numRuns = z.coerce.number().int().positive().default(150).parse(process.env['SCORIA_FUZZ_RUNS']);
/** Time for them, ms. */
const patience = 30_000 + 100 * numRuns;

let target: TargetFixture;
let witness: TestInitiator;
beforeAll(async () => {
  target = await TargetFixture.exporting();
  witness = await target.session({ isid: '0000230000ff' });
});
afterAll(async () => {
  // Nothing of all those sessions is left that keeps the device open.
  await target.service.unexport({ accessId });
  expect(target.device.closed).toBe(true);
  await target.stop();
});

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
/** The other session goes on. What ends it, a cold reset, is told at its next login, and so are other resets. */
async function expectWitness(): Promise<void> {
  const answer = await witness.command(cdbs.testUnitReady).catch(async () => {
    witness = await target.session({ isid: '0000230000ff' });
    return witness.command(cdbs.testUnitReady);
  });
  expect([null, '6/29/03', '6/29/00', '6/2f/00', '6/2a/09', '6/2a/03', '6/2a/04', '6/2a/05', '6/2a/01']).toContain(answer.sense);
}

/** A way to spoil a stream of bytes. */
const spoil = fc.oneof(
  fc.record({ kind: fc.constant('change' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant('remove' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(), by: fc.integer({ min: 1, max: 600 }) }),
);

const nothing = Buffer.alloc(0);

/** Requests that are all in order. */
function orderlyRequests(initiator: TestInitiator, digests: Digests): Buffer {
  const parts: Buffer[] = [];
  const add = (opcode: number, flags: number, immediate: boolean, fill: (bhs: Buffer) => void, data: Buffer = nothing): void => {
    const bhs = initiator.header(opcode, flags, immediate);
    fill(bhs);
    parts.push(framePdu(bhs, data, digests));
  };
  const scsi = (cdb: readonly number[], length: number) => (bhs: Buffer) => {
    bhs.writeUInt32BE(length, 20);
    Buffer.from(cdb).copy(bhs, 32);
  };
  add(requestOpcode.scsiCommand, flag.final | flag.write | 1, false, scsi(cdbs.write10(0, 2), 1024), Buffer.alloc(1024, 1));
  add(requestOpcode.scsiCommand, flag.final | flag.read | 1, false, scsi(cdbs.read10(0, 4), 2048));
  add(requestOpcode.scsiCommand, flag.final | flag.write | 1, false, scsi(cdbs.write10(8, 8), 4096), Buffer.alloc(512, 2));
  add(requestOpcode.nopOut, flag.final, true, () => {}, Buffer.from('ping'));
  add(requestOpcode.text, flag.final, false, (bhs) => bhs.writeUInt32BE(reservedTag, 20), formatText([['SendTargets', '']]));
  add(requestOpcode.taskManagement, flag.final | 1, true, (bhs) => bhs.writeUInt32BE(0, 20));
  add(requestOpcode.scsiCommand, flag.final | flag.read | 1, false, scsi(cdbs.inquiry(0x83), 255));
  add(requestOpcode.logout, flag.final, false, () => {});
  return Buffer.concat(parts);
}

describe('a session of random requests', () => {
  test(
    'leaves the target and its other sessions well',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.oneof({ weight: 4, arbitrary: command }, { weight: 1, arbitrary: other }), { maxLength: 12 }),
          async (pdus) => {
            await attempt(pdus);
            await expectWitness();
          },
        ),
        { numRuns },
      );
    },
    patience,
  );
});

describe('an orderly session', () => {
  test(
    'whose bytes are spoiled leaves the target and its other sessions well',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(spoil, { minLength: 1, maxLength: 4 }),
          fc.boolean(),
          fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 8 }),
          async (spoils, digest, cuts) => {
            const offer = digest ? 'CRC32C' : 'None';
            const initiator = await target.session({ keys: { HeaderDigest: offer, DataDigest: offer } });
            try {
              let stream = orderlyRequests(initiator, { header: digest, data: digest });
              for (const { kind, at, by } of spoils) {
                const place = at % stream.length;
                if (kind === 'change') stream[place] = (stream[place]! + by) & 0xff;
                else {
                  const rest = kind === 'remove' ? place + by : Math.max(0, place - by);
                  stream = Buffer.concat([stream.subarray(0, place), stream.subarray(rest), Buffer.alloc(1)]);
                }
              }
              for (let at = 0, turn = 0; at < stream.length; turn++) {
                const length = cuts[turn % cuts.length]!;
                initiator.send(stream.subarray(at, at + length));
                at += length;
              }
              // By its answer the bytes above were read, too.
              await expectWitness();
            } finally {
              initiator.close();
            }
            await expectWitness();
          },
        ),
        { numRuns },
      );
    },
    patience,
  );
});

describe('a login of random text', () => {
  const names = ['InitiatorName', 'TargetName', 'SessionType', 'AuthMethod', 'CHAP_A', 'CHAP_N', 'CHAP_R', 'CHAP_I', 'CHAP_C'];
  const keys = ['HeaderDigest', 'MaxBurstLength', 'InitialR2T', 'ErrorRecoveryLevel', 'IFMarkInt', 'X-org.example.key'];
  const value = fc.oneof(
    fc.constantFrom('CHAP', 'None', 'CHAP,None', 'Normal', 'Discovery', iqn(), '5', '7', 'Yes', '0x00', '0b', '512', ''),
    fc.string({ maxLength: 40, unit: 'binary' }),
  );
  const pair = fc.tuple(fc.constantFrom(...names, ...keys), value);
  const request = fc.record({
    flags: fc.oneof(fc.constantFrom(0x00, 0x04, 0x81, 0x87, 0x40), fc.integer({ min: 0, max: 255 })),
    pairs: fc.array(pair, { maxLength: 6 }),
    noise: fc.oneof(
      { weight: 4, arbitrary: fc.constant('') },
      { weight: 1, arbitrary: fc.string({ maxLength: 20, unit: 'binary' }) },
    ),
  });

  test(
    'gives an answer or a refusal, and never lets anybody in',
    () => {
      const registry = new TargetRegistry();
      fc.assert(
        fc.property(fc.array(request, { minLength: 1, maxLength: 8 }), (requests) => {
          const negotiator = new LoginNegotiator(registry, systemRandom, { authentication: 'chap' });
          for (const { flags, pairs, noise } of requests) {
            const answer = negotiator.answer(makeHeader(0x43, flags, 0), Buffer.concat([formatText(pairs), Buffer.from(noise)]));
            // Discovery may do without a secret; it is told nothing.
            if (answer.kind === 'finish') expect([answer.result.target, answer.result.chapName]).toEqual([null, null]);
            if (answer.kind !== 'continue') return;
          }
        }),
        { numRuns: 10 * numRuns },
      );
    },
    patience,
  );
});
