import { afterEach, beforeEach, expect, test } from 'vitest';
import { flag, makeHeader, opcodeOf, requestOpcode, reservedTag, responseOpcode } from '../src/protocol/pdu.ts';
import { ManualClock } from './manual-clock.ts';
import { accessId, iqn, secret, TargetFixture } from './target-fixture.ts';
import { cdbs } from './test-initiator.ts';

let clock: ManualClock;
let target: TargetFixture;
beforeEach(async () => {
  clock = new ManualClock();
  target = await TargetFixture.exporting(clock);
});
afterEach(() => target.stop());

test('a login that takes too long loses its connection', async () => {
  const initiator = await target.connect();
  await initiator.loginStep(0, null, { InitiatorName: 'iqn.2026-11.test:host', TargetName: iqn(), AuthMethod: 'CHAP' });
  clock.advance(14_000);
  expect(await initiator.loginStep(0, null, { CHAP_A: '7' })).toMatchObject({ status: 0 });
  clock.advance(1_000);
  await initiator.ended();
});

test('a silent initiator is pinged, and taken for gone when it does not answer', async () => {
  const initiator = await target.session();
  clock.advance(15_000);
  const ping = (await initiator.next())!.bhs;
  expect([opcodeOf(ping), ping.readUInt32BE(16)]).toEqual([responseOpcode.nopIn, reservedTag]);
  clock.advance(30_000);
  await initiator.ended();
});

test('an initiator that answers pings keeps its session', async () => {
  const initiator = await target.session();
  for (let round = 0; round < 5; round++) {
    clock.advance(15_000);
    const ping = (await initiator.next())!.bhs;
    const answer = makeHeader(requestOpcode.nopOut | 0x40, flag.final, reservedTag);
    answer.writeUInt32BE(ping.readUInt32BE(20), 20);
    initiator.send(answer);
    // Answered after the ping's answer was taken.
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
  }
  expect(await (await target.connect()).login({ target: iqn(), user: accessId, secret, isid: '000023000007' })).toBe(0);
});
