import { describe, expect, test } from 'vitest';
import { blockDeviceCommands } from '../src/scsi/command-set.ts';
import { reservationType } from '../src/scsi/reservation-state.ts';
import { persistentReserveIn, persistentReserveOut, reserved, reserveOut, ScsiFixture } from './scsi-fixture.ts';

// What the standards let an initiator do that neither holds the reservation nor is registered: under the types that write
// exclusively, and under those of exclusive access (SPC-4, table 66; SBC-3, table 13); and beside RESERVE(6) (SPC-2, table 9).
type Verdict = 'allowed' | 'conflict';
const [a, c] = ['allowed', 'conflict'] as const;
const block = Buffer.alloc(512);
const table: readonly (readonly [string, number[], Buffer | undefined, Verdict, Verdict, Verdict])[] = [
  ['TEST UNIT READY', [0x00], undefined, a, a, c],
  ['REQUEST SENSE', [0x03, 0, 0, 0, 18], undefined, a, a, a],
  ['INQUIRY', [0x12, 0, 0, 0, 96], undefined, a, a, a],
  ['REPORT LUNS', [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16], undefined, a, a, a],
  ['REPORT SUPPORTED OPERATION CODES', [0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 16], undefined, a, c, c],
  ['REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS', [0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 4], undefined, a, c, c],
  ['MODE SENSE(6)', [0x1a, 0x08, 0x3f, 0, 255], undefined, a, c, c],
  ['MODE SENSE(10)', [0x5a, 0x08, 0x3f, 0, 0, 0, 0, 0, 255], undefined, a, c, c],
  ['MODE SELECT(6)', [0x15, 0x10], undefined, c, c, c],
  ['MODE SELECT(10)', [0x55, 0x10], undefined, c, c, c],
  ['READ CAPACITY(10)', [0x25], undefined, a, a, a],
  ['READ CAPACITY(16)', [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32], undefined, a, a, a],
  ['GET LBA STATUS', [0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32], undefined, a, c, c],
  ['READ DEFECT DATA(10)', [0x37, 0, 0, 0, 0, 0, 0, 0, 4], undefined, a, c, c],
  ['READ DEFECT DATA(12)', [0xb7, 0, 0, 0, 0, 0, 0, 0, 0, 8], undefined, a, c, c],
  ['READ(6)', [0x08, 0, 0, 0, 1], undefined, a, c, c],
  ['READ(10)', [0x28, 0, 0, 0, 0, 0, 0, 0, 1], undefined, a, c, c],
  ['READ(12)', [0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 1], undefined, a, c, c],
  ['READ(16)', [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], undefined, a, c, c],
  ['VERIFY(10)', [0x2f, 0, 0, 0, 0, 0, 0, 0, 1], undefined, a, c, c],
  ['VERIFY(12)', [0xaf, 0, 0, 0, 0, 0, 0, 0, 0, 1], undefined, a, c, c],
  ['VERIFY(16)', [0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], undefined, a, c, c],
  ['PRE-FETCH(10)', [0x34, 0, 0, 0, 0, 0, 0, 0, 1], undefined, a, c, c],
  ['PRE-FETCH(16)', [0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], undefined, a, c, c],
  ['SYNCHRONIZE CACHE(10)', [0x35], undefined, c, c, c],
  ['SYNCHRONIZE CACHE(16)', [0x91], undefined, c, c, c],
  ['START STOP UNIT that starts', [0x1b, 0, 0, 0, 1], undefined, a, a, a],
  ['START STOP UNIT that stops', [0x1b, 0, 0, 0, 0], undefined, c, c, c],
  ['PREVENT ALLOW MEDIUM REMOVAL that allows', [0x1e, 0, 0, 0, 0], undefined, a, a, a],
  ['PREVENT ALLOW MEDIUM REMOVAL that prevents', [0x1e, 0, 0, 0, 1], undefined, c, c, c],
  ['WRITE(6)', [0x0a, 0, 0, 0, 1], block, c, c, c],
  ['WRITE(10)', [0x2a, 0, 0, 0, 0, 0, 0, 0, 1], block, c, c, c],
  ['WRITE(12)', [0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 1], block, c, c, c],
  ['WRITE(16)', [0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], block, c, c, c],
  ['WRITE AND VERIFY(10)', [0x2e, 0, 0, 0, 0, 0, 0, 0, 1], block, c, c, c],
  ['WRITE AND VERIFY(12)', [0xae, 0, 0, 0, 0, 0, 0, 0, 0, 1], block, c, c, c],
  ['WRITE AND VERIFY(16)', [0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], block, c, c, c],
  ['WRITE SAME(10)', [0x41, 0, 0, 0, 0, 0, 0, 0, 1], block, c, c, c],
  ['WRITE SAME(16)', [0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], block, c, c, c],
  ['UNMAP', [0x42], undefined, c, c, c],
  ['COMPARE AND WRITE', [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], Buffer.alloc(1024), c, c, c],
  ['ORWRITE(16)', [0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], block, c, c, c],
  ['WRITE ATOMIC(16)', [0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8], Buffer.alloc(4096), c, c, c],
  ['RESERVE(6)', [0x16], undefined, c, c, c],
  ['RESERVE(10)', [0x56], undefined, c, c, c],
  ['RELEASE(6)', [0x17], undefined, c, c, a],
  ['RELEASE(10)', [0x57], undefined, c, c, a],
  ['PERSISTENT RESERVE IN', persistentReserveIn(0), undefined, a, a, c],
];

const judged = (outcome: string): Verdict => (outcome === 'conflict' ? 'conflict' : 'allowed');

test('every command has its place in the table', () => {
  const listed = new Set(table.map(([, [opcode]]) => opcode));
  const missing = blockDeviceCommands.all.filter(({ opcode }) => !listed.has(opcode) && opcode !== 0x5f);
  expect(missing.map(({ opcode }) => opcode.toString(16))).toEqual([]);
});

describe.each([
  ['write exclusive', reservationType.writeExclusive],
  ['exclusive access', reservationType.exclusiveAccess],
  ['write exclusive, registrants only', reservationType.writeExclusiveRegistrants],
  ['exclusive access, registrants only', reservationType.exclusiveAccessRegistrants],
  ['write exclusive, all registrants', reservationType.writeExclusiveAll],
  ['exclusive access, all registrants', reservationType.exclusiveAccessAll],
] as const)('under a reservation of type %s', (_name, type) => {
  const writesExclusively = ([1, 5, 7] as number[]).includes(type);
  const forRegistrants = type >= 5;

  test.each(table)('%s', async (_command, cdb, data, whileWriteExclusive, whileExclusiveAccess) => {
    const fixture = new ScsiFixture();
    const holder = fixture.nexus('holder');
    const registrant = fixture.nexus('registrant');
    const other = fixture.nexus('other');
    await reserved(fixture, type, holder, registrant);
    const others = writesExclusively ? whileWriteExclusive : whileExclusiveAccess;
    const asOther = forRegistrants ? 'allowed' : others;
    expect(judged(await fixture.outcome(other, cdb, data))).toBe(others);
    expect(judged(await fixture.outcome(registrant, cdb, data))).toBe(asOther);
    expect(judged(await fixture.outcome(holder, cdb, data))).toBe('allowed');
  });
});

describe('while another initiator has reserved by RESERVE(6)', () => {
  test.each(table)('%s', async (_name, cdb, data, _writeExclusive, _exclusiveAccess, beside) => {
    const fixture = new ScsiFixture();
    const holder = fixture.nexus('holder');
    const other = fixture.nexus('other');
    expect(await fixture.outcome(holder, [0x16])).toBe('good');
    expect(judged(await fixture.outcome(other, cdb, data))).toBe(beside);
    // Persistent reservations are refused to everybody (SPC-2, 5.5.1).
    expect(judged(await fixture.outcome(holder, cdb, data))).toBe(cdb[0] === 0x5e ? 'conflict' : 'allowed');
  });

  test('PERSISTENT RESERVE OUT', async () => {
    const fixture = new ScsiFixture();
    const holder = fixture.nexus('holder');
    await fixture.run(holder, [0x16]);
    expect(await fixture.outcome(holder, ...persistentReserveOut(reserveOut.register, { actionKey: 1n }))).toBe('conflict');
  });
});

test('without a reservation registrations hinder nobody', async () => {
  const fixture = new ScsiFixture();
  const other = fixture.nexus('other');
  await fixture.run(fixture.nexus('holder'), ...persistentReserveOut(reserveOut.register, { actionKey: 1n }));
  expect(await fixture.outcome(other, [0x2a, 0, 0, 0, 0, 0, 0, 0, 1], block)).toBe('good');
});
