import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CallerGone } from '../src/target/target-service.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryDevice } from './memory-device.ts';
import { accessId, eventually, gate, mebibyte, TargetFixture, volumeId } from './target-fixture.ts';
import { cdbs, type TestInitiator } from './test-initiator.ts';

let target: TargetFixture;
beforeEach(async () => {
  target = new TargetFixture();
  target.devices.set('/new', new MemoryDevice(8 * mebibyte));
  target.devices.get('/new')!.content.fill(0xee);
  await target.service.start();
  await target.export();
});
afterEach(() => target.stop());

const secondAccess = '33333333-3333-4333-8333-333333333333';
const block = (byte: number): Buffer => Buffer.alloc(512, byte);
const fresh = (): MemoryDevice => target.devices.get('/new')!;

interface Following {
  readonly controller: AbortController;
  readonly progress: number[];
  readonly done: Promise<null>;
}
function mirror(path = '/new', source = '/volume'): Following {
  const controller = new AbortController();
  const progress: number[] = [];
  const done = target.service.mirror(
    { volumeId, source: target.locator(source), target: target.locator(path) },
    { signal: controller.signal, progress: (bytes) => progress.push(bytes) },
  );
  done.catch(() => {});
  return { controller, progress, done };
}
const commit = () => target.service.commitMirror({ volumeId });
const end = (keep: 'source' | 'target') => target.service.endMirror({ volumeId, keep });

/** Makes every write to the new device wait; tells when the first one does. */
function slowTarget(): { readonly reached: Promise<void>; open: () => void } {
  const [reached, writes] = [gate(), gate()];
  fresh().delays.write = () => {
    reached.open();
    return writes.opened;
  };
  return { reached: reached.opened, open: writes.open };
}

/** Writes block after block to the volume until told to stop; notes what was written last and the longest time without an answer. */
class Writer {
  readonly written = new Map<number, number>();
  readonly #initiator: TestInitiator;
  longestGap = 0;
  completed = 0;
  #stopped = false;
  readonly #lanes: Promise<void>[];

  constructor(initiator: TestInitiator) {
    this.#initiator = initiator;
    let last = performance.now();
    this.#lanes = Array.from({ length: 4 }, async (_, lane) => {
      for (let turn = 0; !this.#stopped; turn++) {
        const lba = lane * 4096 + ((turn * 37) % 4096);
        const byte = 1 + (turn % 255);
        const { status, sense } = await this.#initiator.command(cdbs.write10(lba, 1), { data: block(byte) });
        if (status !== 0) throw new Error(`a write ended with sense ${sense}`);
        this.written.set(lba, byte);
        this.completed++;
        this.longestGap = Math.max(this.longestGap, performance.now() - last);
        last = performance.now();
      }
    });
  }

  async some(): Promise<void> {
    const wanted = this.completed + 50;
    await eventually(() => this.completed >= wanted, 'writes that get on');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#lanes);
  }
}

describe('a mirror of a volume in use', () => {
  test('moves it under load: no error, a short pause, every byte, the same session', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.writeSame10(0, 8192), { data: block(9) });
    const serial = await initiator.command(cdbs.inquiry(0x80), { expect: 255 });
    const writer = new Writer(initiator);
    await writer.some();
    const following = mirror();
    await following.done;
    expect(following.progress.at(-1)).toBe(8 * mebibyte);
    expect(following.progress).toEqual(following.progress.toSorted((one, other) => one - other));
    await writer.some();
    // Until here the devices in memory, which share the processor with the initiator, say how long it takes.
    writer.longestGap = 0;
    expect(await commit()).toEqual({ source: target.locator(), target: target.locator('/new') });
    await writer.some();
    expect(await end('target')).toEqual({ source: target.locator(), target: target.locator('/new') });
    expect(target.device.closed).toBe(true);
    const before = Buffer.from(target.device.content);
    await writer.some();
    await writer.stop();
    expect(writer.longestGap).toBeLessThan(100);
    expect(target.device.content.equals(before)).toBe(true);
    for (const [lba, byte] of writer.written) expect(fresh().content[lba * 512]).toBe(byte);
    expect((await initiator.command(cdbs.inquiry(0x80), { expect: 255 })).data).toEqual(serial.data);
    // No unit attention: nothing has changed for the initiator.
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
    expect(target.opened).toBe(2);
    await target.service.unexport({ accessId });
    expect(fresh().calls.at(-1)).toBe('flush');
    expect(fresh().closed).toBe(true);
  });

  test('given up leaves it where it was, and the target alone', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.writeSame10(0, 16_384), { data: block(1) });
    await mirror().done;
    await commit();
    await end('source');
    expect(fresh().closed).toBe(true);
    const calls = fresh().calls.length;
    await initiator.command(cdbs.write10(0, 1), { data: block(2) });
    expect(fresh().calls).toHaveLength(calls);
    expect(target.device.content[0]).toBe(2);
    expect(await end('source')).toBeNull();
    expect(await end('target')).toBeNull();
    await expect(commit()).rejects.toMatchObject({ code: 'transport-failed' });
  });

  test('is broken by its target, and nobody at the initiator notices', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.writeSame10(0, 16_384), { data: block(1) });
    fresh().delays.write = () => Promise.reject(new Error('the target is full'));
    await expect(mirror().done).rejects.toThrow('the target is full');
    expect(fresh().closed).toBe(true);
    expect((await initiator.command(cdbs.write10(0, 1), { data: block(2) })).status).toBe(0);
    await expect(commit()).rejects.toMatchObject({ code: 'transport-failed' });
    expect(await end('source')).toBeNull();
    fresh().delays = {};
    await mirror().done;
    expect(fresh().content.equals(target.device.content)).toBe(true);
  });

  test('is broken by its target also when nobody waits any more', async () => {
    const initiator = await target.session();
    await mirror().done;
    const copy = fresh();
    copy.delays.write = () => Promise.reject(new Error('the target is full'));
    expect((await initiator.command(cdbs.write10(0, 1), { data: block(2) })).status).toBe(0);
    await expect(commit()).rejects.toMatchObject({ code: 'transport-failed' });
    await eventually(() => copy.closed, 'the end of the mirror');
    expect(target.device.content[0]).toBe(2);
  });

  test('once committed lets no write succeed that its target does not have', async () => {
    const initiator = await target.session();
    await mirror().done;
    await expect(end('target')).rejects.toMatchObject({ code: 'invalid-state' });
    await commit();
    await commit();
    fresh().delays.write = () => Promise.reject(new Error('the target is full'));
    expect(await initiator.command(cdbs.write10(0, 1), { data: block(2) })).toMatchObject({ status: 2, sense: '4/44/00' });
    fresh().delays = {};
    expect((await initiator.command(cdbs.write10(0, 1), { data: block(3) })).status).toBe(0);
    await end('source');
    expect((await initiator.command(cdbs.read10(0, 1), { expect: 512 })).data[0]).toBe(3);
  });

  test('ends soon when it is aborted', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.writeSame10(0, 16_384), { data: block(1) });
    const slow = slowTarget();
    const { controller, done } = mirror();
    await slow.reached;
    controller.abort(new Error('no longer wanted'));
    slow.open();
    await expect(done).rejects.toThrow('no longer wanted');
    expect(fresh().closed).toBe(true);
    expect((await initiator.command(cdbs.write10(0, 1), { data: block(2) })).status).toBe(0);
    expect(target.device.content[0]).toBe(2);
  });

  test('ends also when its target hangs; nothing is mirrored there again before that lets go', async () => {
    await target.stop();
    const clock = new ManualClock();
    const devices = target.devices;
    target = new TargetFixture(clock);
    target.devices.set('/new', devices.get('/new')!);
    await target.device.write(block(1), 0);
    await target.service.start();
    await target.export();
    const slow = slowTarget();
    const { controller, done } = mirror();
    await slow.reached;
    controller.abort(new Error('no longer wanted'));
    await new Promise((resolve) => setImmediate(resolve));
    const initiator = await target.session();
    expect((await initiator.command(cdbs.write10(0, 1), { data: block(2) })).status).toBe(0);
    clock.advance(5_000);
    await expect(done).rejects.toThrow('no longer wanted');
    const ended = end('source');
    const again = mirror();
    for (const late of [ended, again.done]) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(5_000);
      await expect(late).rejects.toMatchObject({ code: 'deadline-exceeded' });
    }
    await target.service.unexport({ accessId });
    expect(target.device.closed).toBe(false);
    const old = fresh();
    slow.open();
    await eventually(() => old.closed && target.device.closed, 'the end of both devices');
    expect(await end('source')).toBeNull();
    fresh().delays = {};
    await mirror().done;
    expect(fresh().content.equals(target.device.content)).toBe(true);
  });

  test('is joined by a repeat, and goes on when a caller is gone', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.writeSame10(0, 16_384), { data: block(1) });
    const slow = slowTarget();
    const first = mirror();
    await slow.reached;
    first.controller.abort(new CallerGone());
    await expect(first.done).rejects.toMatchObject({ code: 'transport-failed' });
    target.devices.set('/elsewhere', new MemoryDevice(8 * mebibyte));
    await expect(mirror('/elsewhere').done).rejects.toMatchObject({ code: 'conflict' });
    const second = mirror();
    await eventually(() => second.progress.length > 0, 'word of how far it is');
    slow.open();
    await second.done;
    await mirror().done;
    expect(target.opened).toBe(2);
    expect(fresh().content.equals(target.device.content)).toBe(true);
  });

  test('is shared by exports that come and go, whichever of the two devices they name', async () => {
    const initiator = await target.session();
    await mirror().done;
    await target.export({ accessId: secondAccess, device: target.locator('/new') });
    await target.export({ device: target.locator('/new') });
    await commit();
    await end('target');
    await target.export();
    await target.export({ device: target.locator('/new') });
    const other = await target.session({ user: secondAccess });
    await other.command(cdbs.write10(0, 1), { data: block(5) });
    expect((await initiator.command(cdbs.read10(0, 1), { expect: 512 })).data[0]).toBe(5);
    expect(target.opened).toBe(2);
    // Where it was is no way to move it once more.
    await expect(mirror('/new').done).rejects.toMatchObject({ code: 'conflict' });
  });

  test('keeps the volume open after its last access has gone', async () => {
    await mirror().done;
    await target.service.unexport({ accessId });
    expect([target.device.closed, fresh().closed]).toEqual([false, false]);
    await commit();
    await end('target');
    expect([target.device.closed, fresh().closed]).toEqual([true, true]);
  });

  test('opens a volume that is not exported, also for what is only read', async () => {
    await target.service.unexport({ accessId });
    await mirror().done;
    await target.export({ readOnly: true });
    await target.export({ accessId: secondAccess });
    const writer = await target.session({ user: secondAccess });
    expect((await writer.command(cdbs.write10(0, 1), { data: block(5) })).status).toBe(0);
    await commit();
    await end('target');
    expect(fresh().content[0]).toBe(5);
  });

  test('takes what is exported for reading only', async () => {
    await target.service.unexport({ accessId });
    await target.export({ readOnly: true });
    const reader = await target.session();
    await mirror().done;
    await commit();
    await end('target');
    expect((await reader.command(cdbs.read10(0, 1), { expect: 512 })).status).toBe(0);
    expect(await reader.command(cdbs.write10(0, 1), { data: block(5) })).toMatchObject({ status: 2, sense: '7/27/00' });
  });

  test('onto a larger device makes the volume as large as that, and says so', async () => {
    target.devices.set('/larger', new MemoryDevice(10 * mebibyte));
    const initiator = await target.session();
    await mirror('/larger').done;
    expect((await initiator.command(cdbs.readCapacity16, { expect: 32 })).data.readBigUInt64BE(0)).toBe(16_383n);
    await expect(target.service.resize({ volumeId })).rejects.toMatchObject({ code: 'invalid-state' });
    await commit();
    await end('target');
    expect((await initiator.command(cdbs.testUnitReady)).sense).toBe('6/2a/09');
    expect((await initiator.command(cdbs.readCapacity16, { expect: 32 })).data.readBigUInt64BE(0)).toBe(20_479n);
  });

  test('that cannot be begun leaves nothing open', async () => {
    await target.service.unexport({ accessId });
    target.devices.set('/small', new MemoryDevice(mebibyte));
    await expect(mirror('/small').done).rejects.toMatchObject({ code: 'device-out-of-range' });
    expect(target.device.closed).toBe(true);
    expect(target.devices.get('/small')!.closed).toBe(true);
  });

  test('and a copy at one moment go together, whichever begins first', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.writeSame10(0, 16_384), { data: block(1) });
    const slow = gate();
    for (const path of ['/early', '/late']) {
      target.devices.set(path, new MemoryDevice(8 * mebibyte));
      target.devices.get(path)!.delays.write = () => slow.opened;
    }
    const begun = gate();
    const copyTo = (path: string) =>
      target.service.copy(
        { volumeId, source: target.locator(), target: target.locator(path) },
        { signal: new AbortController().signal, progress: () => begun.open() },
      );
    const early = copyTo('/early');
    await begun.opened;
    await mirror().done;
    const late = copyTo('/late');
    await initiator.command(cdbs.testUnitReady);
    await commit();
    await end('target');
    const write = initiator.command(cdbs.write10(0, 1), { data: block(2) });
    slow.open();
    await Promise.all([early, late, write]);
    const moment = Buffer.alloc(8 * mebibyte, 1);
    for (const path of ['/early', '/late']) expect(target.devices.get(path)!.content.equals(moment)).toBe(true);
    expect(fresh().content[0]).toBe(2);
  });

  test('begins and ends within a hold, which lasts', async () => {
    const initiator = await target.session();
    const token = await target.service.hold({ volumeId, ms: 60_000 });
    const write = initiator.command(cdbs.write10(0, 1), { data: block(2) });
    await mirror().done;
    await commit();
    await end('target');
    expect(fresh().content[0]).toBe(0);
    expect(await target.service.release({ token: token! })).toEqual({ held: true });
    expect((await write).status).toBe(0);
    expect(fresh().content[0]).toBe(2);
  });

  test('is ended by the end of the target, which flushes both', async () => {
    await mirror().done;
    await commit();
    await target.service.stop();
    expect([target.device.closed, fresh().closed]).toEqual([true, true]);
    expect(fresh().calls.at(-1)).toBe('flush');
  });
});
