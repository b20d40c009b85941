import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { taskFunction } from '../src/protocol/pdu.ts';
import type { Nexus } from '../src/scsi/command.ts';
import { reservationType } from '../src/scsi/reservation-state.ts';
import { persistentReserveIn, persistentReserveOut, reserved, reserveOut, ScsiFixture } from './scsi-fixture.ts';
import { eventually, TargetFixture } from './target-fixture.ts';
import { cdbs } from './test-initiator.ts';

const reserve6 = [0x16, 0, 0, 0, 0, 0];
const release6 = [0x17, 0, 0, 0, 0, 0];
const reserve10 = [0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const release10 = [0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0];

describe('RESERVE and RELEASE', () => {
  let fixture: ScsiFixture;
  let a: Nexus;
  let b: Nexus;
  beforeEach(() => {
    fixture = new ScsiFixture();
    a = fixture.nexus('a');
    b = fixture.nexus('b');
  });

  test.each([
    ['6', reserve6, release6],
    ['10', reserve10, release10],
  ])('of %s bytes reserve for one initiator until it releases', async (_bytes, reserve, release) => {
    expect(await fixture.outcome(a, reserve)).toBe('good');
    expect(await fixture.outcome(a, reserve)).toBe('good');
    expect(await fixture.outcome(b, reserve)).toBe('conflict');
    expect(await fixture.outcome(b, release)).toBe('good');
    expect(await fixture.outcome(b, cdbs.testUnitReady)).toBe('conflict');
    expect(await fixture.outcome(a, release)).toBe('good');
    expect(await fixture.outcome(b, reserve)).toBe('good');
  });

  test('refuse what is obsolete: third parties and extents', async () => {
    for (const cdb of [reserve6, release6, reserve10, release10]) {
      expect(await fixture.outcome(a, cdb.with(1, 0x10))).toBe('5/24/00');
      expect(await fixture.outcome(a, cdb.with(1, 0x01))).toBe('5/24/00');
    }
  });

  test('end with the nexus and with a reset', async () => {
    await fixture.run(a, reserve6);
    fixture.unit.loseNexus(b);
    expect(await fixture.outcome(b, cdbs.testUnitReady)).toBe('conflict');
    fixture.unit.loseNexus(a);
    expect(await fixture.outcome(b, reserve6)).toBe('good');
    fixture.unit.reset();
    expect(await fixture.outcome(a, cdbs.testUnitReady)).toBe('good');
  });

  test('keep persistent reservations away, and their capabilities', async () => {
    await fixture.run(a, reserve6);
    for (const nexus of [a, b]) {
      expect(await fixture.outcome(nexus, persistentReserveIn(2))).toBe('conflict');
      expect(await fixture.outcome(nexus, ...persistentReserveOut(reserveOut.register, { actionKey: 1n }))).toBe('conflict');
    }
  });

  // What CRH in REPORT CAPABILITIES stands for (SPC-4, 5.13.3).
  test('do nothing, and succeed, for those that persistent reservations are for', async () => {
    await fixture.run(b, ...persistentReserveOut(reserveOut.register, { actionKey: 2n }));
    expect(await fixture.outcome(a, reserve6)).toBe('conflict');
    expect(await fixture.outcome(a, release6)).toBe('conflict');
    expect(await fixture.outcome(b, reserve6)).toBe('conflict');
    expect(await fixture.outcome(b, release6)).toBe('conflict');
    await reserved(fixture, reservationType.writeExclusive, a);
    expect(await fixture.outcome(a, reserve6)).toBe('good');
    expect(await fixture.outcome(a, release6)).toBe('good');
    expect(await fixture.outcome(b, reserve6)).toBe('conflict');
    expect(await fixture.outcome(b, release6)).toBe('conflict');
    expect(fixture.unit.reservations.reserver).toBeNull();
  });
});

describe('over iSCSI a reservation ends', () => {
  let target: TargetFixture;
  beforeEach(async () => {
    target = await TargetFixture.exporting();
  });
  afterEach(() => target.stop());

  test('with the connection', async () => {
    const holder = await target.session({ isid: '00002300000a' });
    const other = await target.session({ isid: '00002300000b' });
    await holder.command(reserve6);
    expect((await other.command(cdbs.testUnitReady)).status).toBe(0x18);
    holder.close();
    await eventually(async () => (await other.command(cdbs.testUnitReady)).status === 0, 'the end of the reservation');
  });

  test('with a reset of the logical unit', async () => {
    const holder = await target.session({ isid: '00002300000a' });
    const other = await target.session({ isid: '00002300000b' });
    await holder.command(reserve6);
    expect(await other.manage(taskFunction.logicalUnitReset)).toBe(0);
    expect((await other.command(cdbs.testUnitReady)).sense).toBe('6/29/03');
    expect((await other.command(cdbs.testUnitReady)).status).toBe(0);
  });
});
