import { beforeEach, describe, expect, test } from 'vitest';
import type { Nexus } from '../src/scsi/command.ts';
import { reservationType } from '../src/scsi/reservation-state.ts';
import { attentions, persistentReserveOut, reserved, reserveOut, ScsiFixture, type ReserveOutOptions } from './scsi-fixture.ts';
import { eventually, gate, TargetFixture } from './target-fixture.ts';
import type { TestInitiator } from './test-initiator.ts';

const { writeExclusive, exclusiveAccess, writeExclusiveRegistrants, writeExclusiveAll } = reservationType;

let fixture: ScsiFixture;
let a: Nexus;
let b: Nexus;
let c: Nexus;
beforeEach(() => {
  fixture = new ScsiFixture();
  a = fixture.nexus('a');
  b = fixture.nexus('b');
  c = fixture.nexus('c');
});

const out = (nexus: Nexus, action: number, options: ReserveOutOptions): Promise<string> =>
  fixture.outcome(nexus, ...persistentReserveOut(action, options));

describe('PREEMPT', () => {
  test('takes the reservation over from its holder', async () => {
    await reserved(fixture, writeExclusive, a, b, c);
    expect(await out(b, reserveOut.preempt, { type: exclusiveAccess, key: 2n, actionKey: 1n })).toBe('good');
    expect((await fixture.keys()).keys).toEqual([2n, 3n]);
    expect(await fixture.reservation()).toEqual({ type: exclusiveAccess, key: 2n });
    expect([attentions(a), attentions(b), attentions(c)]).toEqual([['2a/5'], [], ['2a/4']]);
  });

  test('removes registrations alone where the key is not that of the holder', async () => {
    await reserved(fixture, writeExclusive, a, b, c);
    expect(await out(b, reserveOut.preempt, { type: exclusiveAccess, key: 2n, actionKey: 3n })).toBe('good');
    expect((await fixture.keys()).keys).toEqual([1n, 2n]);
    expect(await fixture.reservation()).toEqual({ type: writeExclusive, key: 1n });
    expect([attentions(a), attentions(b), attentions(c)]).toEqual([[], [], ['2a/5']]);
  });

  test("removes registrations where nothing is reserved, one's own with the same key too", async () => {
    for (const nexus of [a, b]) await out(nexus, reserveOut.register, { actionKey: 1n });
    expect(await out(a, reserveOut.preempt, { key: 1n, actionKey: 1n })).toBe('good');
    expect((await fixture.keys()).keys).toEqual([]);
    expect([attentions(a), attentions(b)]).toEqual([[], ['2a/5']]);
  });

  test('lets the holder change the type', async () => {
    await reserved(fixture, writeExclusive, a, b);
    expect(await out(a, reserveOut.preempt, { type: exclusiveAccess, key: 1n, actionKey: 1n })).toBe('good');
    expect(await fixture.reservation()).toEqual({ type: exclusiveAccess, key: 1n });
    expect((await fixture.keys()).keys).toEqual([1n, 2n]);
    expect(attentions(b)).toEqual(['2a/4']);
  });

  test('of what all registrants hold takes key zero', async () => {
    await reserved(fixture, writeExclusiveAll, a, b, c);
    expect(await out(a, reserveOut.preempt, { type: writeExclusive, key: 1n, actionKey: 3n })).toBe('good');
    expect(await fixture.reservation()).toEqual({ type: writeExclusiveAll, key: 0n });
    expect(await out(a, reserveOut.preempt, { type: writeExclusive, key: 1n, actionKey: 0n })).toBe('good');
    expect((await fixture.keys()).keys).toEqual([1n]);
    expect(await fixture.reservation()).toEqual({ type: writeExclusive, key: 1n });
    expect([attentions(b), attentions(c)]).toEqual([['2a/5'], ['2a/5']]);
  });

  test('is refused without registration, for a key that nobody has, and for key zero', async () => {
    await reserved(fixture, writeExclusive, a, b);
    expect(await out(c, reserveOut.preempt, { type: writeExclusive, actionKey: 1n })).toBe('conflict');
    expect(await out(b, reserveOut.preempt, { type: writeExclusive, key: 2n, actionKey: 9n })).toBe('conflict');
    expect(await out(b, reserveOut.preempt, { type: writeExclusive, key: 2n, actionKey: 0n })).toBe('5/26/00');
    expect(await out(b, reserveOut.preempt, { type: 2, key: 2n, actionKey: 1n })).toBe('5/24/00');
    expect((await fixture.keys()).keys).toEqual([1n, 2n]);
  });

  test('AND ABORT answers when nothing of those preempted can reach the device', async () => {
    await reserved(fixture, writeExclusiveRegistrants, a, b);
    const held = gate();
    fixture.device.delays.write = () => held.opened;
    const write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1];
    const running = fixture.outcome(a, write, Buffer.alloc(512));
    const own = fixture.outcome(b, write, Buffer.alloc(512));
    const preempting = out(b, reserveOut.preemptAndAbort, { type: writeExclusive, key: 2n, actionKey: 1n });
    let answered = false;
    void preempting.then(() => (answered = true));
    await eventually(() => a.unitAttentions.length > 0, 'the preemption');
    expect(await fixture.outcome(a, write, Buffer.alloc(512))).toBe('6/2a/05');
    expect(answered).toBe(false);
    held.open();
    expect(await Promise.all([running, own, preempting])).toEqual(['aborted', 'good', 'good']);
    expect(await fixture.outcome(a, write, Buffer.alloc(512))).toBe('conflict');
  });
});

test('over iSCSI PREEMPT AND ABORT ends what a fenced host has under way, without an answer', async () => {
  const target = await TargetFixture.exporting();
  try {
    const other = '33333333-3333-4333-8333-333333333333';
    await target.export({ accessId: other });
    const fenced = await target.session();
    const survivor = await target.session({ user: other });
    const ask = async (initiator: TestInitiator, action: number, options: ReserveOutOptions): Promise<number> => {
      const [cdb, data] = persistentReserveOut(action, options);
      return (await initiator.command(cdb, { data })).status;
    };
    await ask(fenced, reserveOut.register, { actionKey: 1n });
    await ask(survivor, reserveOut.register, { actionKey: 2n });
    await ask(fenced, reserveOut.reserve, { type: writeExclusiveRegistrants, key: 1n });
    const held = gate();
    target.device.delays.write = () => held.opened;
    const write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let answered = false;
    void fenced.command(write, { data: Buffer.alloc(512) }).then(
      () => (answered = true),
      () => {},
    );
    const preempted = ask(survivor, reserveOut.preemptAndAbort, { type: writeExclusive, key: 2n, actionKey: 1n });
    await eventually(async () => (await fenced.command([0, 0, 0, 0, 0, 0])).sense === '6/2a/05', 'the preemption');
    held.open();
    expect(await preempted).toBe(0);
    expect((await fenced.command(write, { data: Buffer.alloc(512) })).status).toBe(0x18);
    expect(answered).toBe(false);
  } finally {
    await target.stop();
  }
});
