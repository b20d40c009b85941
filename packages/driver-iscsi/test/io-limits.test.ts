import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from './manual-clock.ts';
import { MemoryDevice } from './memory-device.ts';
import { reserved, ScsiFixture } from './scsi-fixture.ts';
import { accessId, eventually, gate, iqn, mebibyte, TargetFixture, volumeId } from './target-fixture.ts';
import { cdbs } from './test-initiator.ts';

const one = { totalOperations: { perSecond: 1, burst: 1 } };
const secondAccess = '33333333-3333-4333-8333-333333333333';

describe('a logical unit with limits', () => {
  let clock: ManualClock;
  let fixture: ScsiFixture;
  beforeEach(() => {
    clock = new ManualClock();
    fixture = new ScsiFixture({ size: 8 * 1_048_576 });
  });

  /** How many of some commands have ended. */
  function watch(commands: readonly Promise<unknown>[]): () => Promise<number> {
    let ended = 0;
    for (const command of commands) void command.then(() => ended++);
    return async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return ended;
    };
  }

  test('answers what moves no data, and holds what does', async () => {
    const host = fixture.nexus('a');
    fixture.unit.limit(one, clock);
    const reads = Array.from({ length: 3 }, () => fixture.run(host, cdbs.read10(0, 1)));
    const ended = watch(reads);
    for (const cdb of [cdbs.testUnitReady, cdbs.inquiry(null), cdbs.readCapacity16, cdbs.synchronizeCache10]) {
      expect(await fixture.outcome(host, cdb)).toBe('good');
    }
    expect(await ended()).toBe(1);
    clock.advance(1000);
    expect(await ended()).toBe(2);
    clock.advance(1000);
    expect((await Promise.all(reads)).map(({ outcome }) => outcome)).toEqual(['good', 'good', 'good']);
  });

  test('counts bytes of reads and writes, those of every access together', async () => {
    const [a, b] = [fixture.nexus('a'), fixture.nexus('b')];
    fixture.unit.limit({ totalBytes: { perSecond: 4096, burst: 4096 } }, clock);
    const commands = [
      fixture.run(a, cdbs.write10(0, 8), Buffer.alloc(4096, 1)),
      fixture.run(b, cdbs.read10(0, 8)),
      fixture.run(b, cdbs.write10(8, 4), Buffer.alloc(2048, 2)),
      // Deallocating moves no bytes.
      fixture.run(a, cdbs.writeSame10(64, 64, 0x08), Buffer.alloc(512)),
      fixture.run(b, cdbs.writeSame10(64, 8), Buffer.alloc(512)),
    ];
    const ended = watch(commands);
    const progress: number[] = [await ended()];
    for (let step = 0; step < 6; step++) {
      clock.advance(500);
      progress.push(await ended());
    }
    expect(progress).toEqual([1, 1, 2, 4, 4, 5, 5]);
  });

  test('charges a read that is refused nothing beyond what can be read at once', async () => {
    const host = fixture.nexus('a');
    fixture.unit.limit({ totalBytes: { perSecond: 1024, burst: 1024 } }, clock);
    const absurd = [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0];
    expect(await fixture.outcome(host, absurd)).not.toBe('good');
    expect(await fixture.outcome(host, cdbs.read10(0, 2))).toBe('good');
  });

  test('goes on by new limits, and without any lets all go', async () => {
    const host = fixture.nexus('a');
    fixture.unit.limit(one, clock);
    const ended = watch(Array.from({ length: 20 }, () => fixture.run(host, cdbs.read10(0, 1))));
    expect(await ended()).toBe(1);
    fixture.unit.limit({ totalOperations: { perSecond: 10, burst: 1 } }, clock);
    clock.advance(1000);
    expect(await ended()).toBe(11);
    fixture.unit.limit(null, clock);
    expect(await ended()).toBe(20);
    expect(await fixture.outcome(host, cdbs.read10(0, 1))).toBe('good');
  });

  test('asks for reservations when a command goes on, not when it came', async () => {
    const [a, b] = [fixture.nexus('a'), fixture.nexus('b')];
    fixture.unit.limit(one, clock);
    expect(await fixture.outcome(a, cdbs.read10(0, 1))).toBe('good');
    const waiting = fixture.outcome(b, cdbs.write10(0, 1), Buffer.alloc(512, 1));
    // Write exclusive (SPC-4, 6.15.3).
    await reserved(fixture, 1, a);
    clock.advance(1000);
    expect(await waiting).toBe('conflict');
  });

  test('drops an aborted command at once, and what it would have written never comes', async () => {
    const [a, b] = [fixture.nexus('a'), fixture.nexus('b')];
    fixture.unit.limit(one, clock);
    await fixture.run(a, cdbs.read10(0, 1));
    const dropped = fixture.outcome(a, cdbs.write10(0, 1), Buffer.alloc(512, 1));
    const next = fixture.outcome(b, cdbs.write10(1, 1), Buffer.alloc(512, 2));
    await fixture.unit.taskSet.abort(({ nexus }) => nexus === a);
    expect(await dropped).toBe('aborted');
    clock.advance(1000);
    expect(await next).toBe('good');
    expect([fixture.device.content[0], fixture.device.content[512]]).toEqual([0, 2]);
  });
});

describe('limits of an export', () => {
  let clock: ManualClock;
  let target: TargetFixture;
  beforeEach(async () => {
    clock = new ManualClock();
    target = new TargetFixture(clock);
    await target.service.start();
  });
  afterEach(() => target.stop());

  test('come with it, are changed by a later one and by the verb, and stay with the session', async () => {
    await target.export({ limits: one });
    const initiator = await target.session();
    await initiator.command(cdbs.read10(0, 1));
    const held = initiator.command(cdbs.read10(0, 1));
    await target.export({ limits: { totalOperations: { perSecond: 1000, burst: 100 } } });
    clock.advance(1);
    expect((await held).status).toBe(0);
    await target.service.limit({ volumeId, limits: one });
    const order: string[] = [];
    const heldAgain = initiator.command(cdbs.read10(0, 1)).finally(() => order.push('read'));
    // Sent later, and answered first.
    await initiator.command(cdbs.testUnitReady).finally(() => order.push('ready'));
    await target.service.limit({ volumeId, limits: null });
    expect((await heldAgain).status).toBe(0);
    expect(order).toEqual(['ready', 'read']);
    await target.service.limit({ volumeId: secondAccess, limits: one });
    expect(target.opened).toBe(1);
  });

  test('let commands wait without memory that other volumes need', async () => {
    target.devices.set('/other', new MemoryDevice(8 * mebibyte));
    await target.export({ limits: one });
    await target.export({ accessId: secondAccess, volumeId: secondAccess, device: target.locator('/other') });
    // More than all sessions together may have under way.
    for (let index = 0; index < 5; index++) {
      const session = await target.session({ isid: `00002300000${index}` });
      for (let count = 0; count < 8; count++)
        void session.command(cdbs.read10(0, 8192), { expect: 4 * mebibyte }).catch(() => {});
      await session.command(cdbs.testUnitReady);
    }
    const other = await target.session({ user: secondAccess, target: iqn(secondAccess) });
    const { opened, open } = gate();
    let reading = 0;
    target.devices.get('/other')!.delays.read = () => {
      reading++;
      return opened;
    };
    const reads = [1, 2, 3].map(() => other.command(cdbs.read10(0, 8192), { expect: 4 * mebibyte }));
    await eventually(() => reading === 3, 'reads side by side');
    open();
    for (const { status } of await Promise.all(reads)) expect(status).toBe(0);
  });

  test('do not hold up the end of an access or of a session, and what waited is never written', async () => {
    await target.export({ limits: one });
    await target.export({ accessId: secondAccess, limits: one });
    const [first, second] = [await target.session(), await target.session({ user: secondAccess, target: iqn(secondAccess) })];
    const sessions = async () => (await target.service.list()).flatMap((each) => each.sessions).length;
    await first.command(cdbs.read10(0, 1));
    for (const initiator of [first, second]) {
      void initiator.command(cdbs.write10(0, 1), { data: Buffer.alloc(512, 0xff) }).catch(() => {});
      void initiator.command(cdbs.write10(1, 1), { data: Buffer.alloc(512, 0xff) }).catch(() => {});
      // Answered after the writes were taken.
      await initiator.command(cdbs.testUnitReady);
    }
    second.close();
    await eventually(async () => (await sessions()) === 1, 'the end of a session');
    await target.service.unexport({ accessId });
    expect(await sessions()).toBe(0);
    clock.advance(5000);
    await target.service.unexport({ accessId: secondAccess });
    expect(target.device.content.subarray(0, 1024).every((byte) => byte === 0)).toBe(true);
  });
});
