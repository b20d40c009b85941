import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { requestOpcode, flag } from '../src/protocol/pdu.ts';
import { MemoryDevice } from './memory-device.ts';
import { accessId, eventually, gate, iqn, mebibyte, secret, TargetFixture, volumeId } from './target-fixture.ts';
import { cdbs } from './test-initiator.ts';

let target: TargetFixture;
beforeEach(async () => {
  target = await TargetFixture.exporting();
});
afterEach(() => target.stop());

const secondAccess = '33333333-3333-4333-8333-333333333333';
const block = (byte: number): Buffer => Buffer.alloc(512, byte);

describe('export', () => {
  test('of the same content keeps the sessions', async () => {
    const initiator = await target.session();
    await target.export();
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
    expect(target.opened).toBe(1);
  });

  test('with another secret ends the sessions, and the old secret is refused', async () => {
    const initiator = await target.session();
    await target.export({ secret: 'another secret' });
    await initiator.ended();
    expect(await (await target.connect()).login({ target: iqn(), user: accessId, secret })).toBe(0x0201);
    expect(await (await target.connect()).login({ target: iqn(), user: accessId, secret: 'another secret' })).toBe(0);
  });

  test('of the same volume from another device is refused', async () => {
    target.devices.set('/other', new MemoryDevice(mebibyte));
    await expect(target.export({ accessId: secondAccess, device: target.locator('/other') })).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  test('of a device that nobody opens is refused by name', async () => {
    const device = { kind: 'tape', path: '/x', blockSize: 512 as const };
    await expect(target.export({ accessId: secondAccess, volumeId: secondAccess, device })).rejects.toMatchObject({
      code: 'not-supported',
      message: expect.stringContaining('tape'),
    });
  });

  test('for writing opens anew what was open for reading only', async () => {
    await target.service.unexport({ accessId });
    await target.export({ readOnly: true });
    expect(target.device.readOnly).toBe(true);
    await target.export({ accessId: secondAccess });
    const initiator = await target.session({ user: secondAccess });
    expect((await initiator.command(cdbs.write10(0, 1), { data: block(1) })).status).toBe(0);
  });

  test('malformed is refused without telling the secret', async () => {
    const call = { signal: new AbortController().signal, progress: () => {} };
    const error = await target.service.call('export', { accessId: 5, secret: 'hush' }, call).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'invalid-input', message: expect.not.stringContaining('hush') });
  });
});

describe('unexport', () => {
  test('settles when the writes under way have ended, and closes the device after the last access', async () => {
    await target.export({ accessId: secondAccess });
    const initiator = await target.session();
    const hold = gate();
    target.device.delays.write = () => hold.opened;
    initiator.begin(cdbs.write10(0, 1), { data: block(1) }).result.catch(() => {});
    await initiator.command(cdbs.testUnitReady);
    let settled = false;
    const ended = target.service.unexport({ accessId }).then(() => (settled = true));
    await initiator.ended();
    expect(await (await target.connect()).login({ target: iqn(), user: accessId, secret })).toBe(0x0203);
    expect(settled).toBe(false);
    hold.open();
    await ended;
    expect(target.device.closed).toBe(false);
    const calls = target.device.calls.length;
    await target.service.unexport({ accessId: secondAccess });
    expect(target.device.calls.slice(calls)).toEqual(['flush']);
    expect(target.device.closed).toBe(true);
    await target.service.unexport({ accessId });
  });

  test('does not wait for a write that is held back, and that write never comes', async () => {
    const initiator = await target.session();
    const token = await target.service.hold({ volumeId, ms: 60_000 });
    initiator.begin(cdbs.write10(0, 1), { data: block(1) }).result.catch(() => {});
    await initiator.command(cdbs.testUnitReady);
    await target.service.unexport({ accessId });
    await target.service.release({ token: token! });
    expect(target.device.content[0]).toBe(0);
  });
});

describe('hold', () => {
  test('lets reads through and writes not, after a flush', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.write10(0, 1), { data: block(1) });
    const token = await target.service.hold({ volumeId, ms: 60_000 });
    expect(target.device.calls.at(-1)).toBe('flush');
    let written = false;
    const write = initiator.command(cdbs.write10(0, 1), { data: block(2) }).then(() => (written = true));
    expect((await initiator.command(cdbs.read10(0, 1), { expect: 512 })).data[0]).toBe(1);
    expect((await initiator.command(cdbs.synchronizeCache10)).status).toBe(0);
    expect(written).toBe(false);
    expect(await target.service.release({ token: token! })).toEqual({ held: true });
    await write;
    expect(target.device.content[0]).toBe(2);
    expect(await target.service.release({ token: token! })).toEqual({ held: false });
  });

  test('waits for the writes under way', async () => {
    const initiator = await target.session();
    const slow = gate();
    target.device.delays.write = () => slow.opened;
    const write = initiator.command(cdbs.write10(0, 1), { data: block(1) });
    await initiator.command(cdbs.testUnitReady);
    let held = false;
    const token = target.service.hold({ volumeId, ms: 60_000 }).then((value) => {
      held = true;
      return value;
    });
    await initiator.command(cdbs.testUnitReady);
    expect(held).toBe(false);
    slow.open();
    await write;
    expect(await target.service.release({ token: (await token)! })).toEqual({ held: true });
  });

  test('ends by itself, and says so', async () => {
    const initiator = await target.session();
    const token = await target.service.hold({ volumeId, ms: 20 });
    expect((await initiator.command(cdbs.write10(0, 1), { data: block(3) })).status).toBe(0);
    expect(await target.service.release({ token: token! })).toEqual({ held: false });
  });

  test('fails when the writes do not end in time', async () => {
    const initiator = await target.session();
    const slow = gate();
    target.device.delays.write = () => slow.opened;
    const write = initiator.command(cdbs.write10(0, 1), { data: block(1) });
    await initiator.command(cdbs.testUnitReady);
    await expect(target.service.hold({ volumeId, ms: 20 })).rejects.toMatchObject({ code: 'writes-not-held' });
    slow.open();
    expect((await write).status).toBe(0);
  });

  test('of a volume that is not exported gives nothing', async () => {
    expect(await target.service.hold({ volumeId: secondAccess, ms: 1000 })).toBeNull();
  });
});

describe('copy', () => {
  const copyTo = (
    path: string,
    signal = new AbortController().signal,
    progress: (done: number, total: number) => void = () => {},
  ) => target.service.copy({ volumeId, source: target.locator(), target: target.locator(path) }, { signal, progress });

  beforeEach(() => {
    const copy = new MemoryDevice(8 * mebibyte);
    copy.content.fill(0xee);
    target.devices.set('/copy', copy);
  });

  test('is as the volume was at one moment, while it is overwritten', async () => {
    const initiator = await target.session();
    for (let index = 0; index < 8; index++) {
      await initiator.command(cdbs.writeSame10(index * 2048, 2048), { data: block(index + 1) });
    }
    const before = Buffer.from(target.device.content);
    const slow = gate();
    const copied = target.devices.get('/copy')!;
    copied.delays.write = () => slow.opened;
    const progress: number[] = [];
    const done = copyTo('/copy', undefined, (bytes) => progress.push(bytes));
    await eventually(() => progress.length > 0, 'the start of the copy');
    let overwritten = 0;
    const writes = Array.from({ length: 8 }, (_, index) =>
      initiator.command(cdbs.writeSame10((7 - index) * 2048 + 5, 300), { data: block(0xff) }).then(() => overwritten++),
    );
    expect((await initiator.command(cdbs.read10(0, 1), { expect: 512 })).data[0]).toBe(1);
    expect(overwritten).toBe(0);
    slow.open();
    await Promise.all([...writes, done]);
    expect(copied.content.equals(before)).toBe(true);
    expect(copied.calls.at(-1)).toBe('flush');
    expect(target.device.content[5 * 512]).toBe(0xff);
    expect(progress.at(-1)).toBe(8 * mebibyte);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  });

  test('leaves holes as they are', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.write10(4096, 8), { data: Buffer.alloc(4096, 5) });
    await copyTo('/copy');
    const copied = target.devices.get('/copy')!;
    expect(copied.content.equals(target.device.content)).toBe(true);
    expect(copied.calls.filter((call) => call.startsWith('write')).length).toBeLessThanOrEqual(8);
  });

  test('starts inside a hold', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.write10(0, 1), { data: block(1) });
    const token = await target.service.hold({ volumeId, ms: 60_000 });
    const write = initiator.command(cdbs.write10(0, 1), { data: block(2) });
    await copyTo('/copy');
    expect(target.devices.get('/copy')!.content[0]).toBe(1);
    expect(await target.service.release({ token: token! })).toEqual({ held: true });
    await write;
    expect(target.device.content[0]).toBe(2);
  });

  test('stops soon when it is aborted, and writes go on', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.writeSame10(0, 16_384), { data: block(1) });
    const slow = gate();
    const copied = target.devices.get('/copy')!;
    copied.delays.write = () => slow.opened;
    const controller = new AbortController();
    let started = false;
    const done = copyTo('/copy', controller.signal, () => (started = true));
    await eventually(() => started, 'the start of the copy');
    const write = initiator.command(cdbs.write10(0, 1), { data: block(2) });
    controller.abort(new Error('no longer wanted'));
    slow.open();
    await expect(done).rejects.toThrow('no longer wanted');
    expect((await write).status).toBe(0);
    const calls = copied.calls.length;
    await initiator.command(cdbs.write10(8192, 1), { data: block(3) });
    expect(copied.calls).toHaveLength(calls);
  });

  test('fails when its target fails, and the volume does not', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.writeSame10(0, 16_384), { data: block(1) });
    target.devices.get('/copy')!.delays.write = () => Promise.reject(new Error('the target is full'));
    await expect(copyTo('/copy')).rejects.toThrow('the target is full');
    expect((await initiator.command(cdbs.write10(0, 1), { data: block(2) })).status).toBe(0);
  });

  test('of a volume that is not exported opens it, and an export that comes meanwhile shares it', async () => {
    const initiator = await target.session();
    await initiator.command(cdbs.writeSame10(0, 16_384), { data: block(1) });
    await target.service.unexport({ accessId });
    expect(target.device.closed).toBe(true);
    const slow = gate();
    target.devices.get('/copy')!.delays.write = () => slow.opened;
    let started = false;
    const done = copyTo('/copy', undefined, () => (started = true));
    await eventually(() => started, 'the start of the copy');
    await target.export();
    const again = await target.session();
    const write = again.command(cdbs.write10(0, 1), { data: block(2) });
    await again.command(cdbs.testUnitReady);
    slow.open();
    await Promise.all([done, write]);
    expect(target.devices.get('/copy')!.content.equals(Buffer.alloc(8 * mebibyte, 1))).toBe(true);
    expect((await again.command(cdbs.read10(0, 1), { expect: 512 })).data[0]).toBe(2);
    await target.service.unexport({ accessId });
    expect(target.device.closed).toBe(true);
  });
});

test('statistics count what initiators read and wrote', async () => {
  const initiator = await target.session();
  await initiator.command(cdbs.write10(0, 4), { data: Buffer.alloc(2048) });
  await initiator.command(cdbs.read10(0, 2), { expect: 1024 });
  expect(await target.service.stats()).toEqual([{ volumeId, readBytes: 1024, writtenBytes: 2048, reads: 1, writes: 1 }]);
});

test('a stop asks initiators to log out, flushes and closes', async () => {
  const initiator = await target.session();
  const stopped = target.service.stop();
  const message = await initiator.next();
  expect(message!.bhs[36]).toBe(1);
  initiator.send(initiator.header(requestOpcode.logout, flag.final));
  await stopped;
  expect(target.device.calls.at(-1)).toBe('flush');
  expect(target.device.closed).toBe(true);
});
