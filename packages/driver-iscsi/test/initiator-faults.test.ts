import { afterEach, describe, expect, test } from 'vitest';
import type { ConnectedDevice } from '@scoria/core';
import type { DigestOffer } from '../src/initiator/index.ts';
import { flag, makeHeader, opcodeOf, responseOpcode, taskTagOf } from '../src/protocol/pdu.ts';
import { ContentOracle } from './content-oracle.ts';
import { FaultyProxy, type ProxyFault } from './faulty-proxy.ts';
import { HostileTarget } from './hostile-target.ts';
import { connectDevice, shortTimes } from './initiator-fixture.ts';
import { accessId, eventually, TargetFixture, volumeId } from './target-fixture.ts';

const cleanup: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const each of cleanup.splice(0).toReversed()) await each();
});

async function startTarget(): Promise<TargetFixture> {
  const target = await TargetFixture.exporting();
  cleanup.push(() => target.stop());
  return target;
}

/** A target behind a proxy, and a device that reaches it there. */
async function connectThrough(
  faults: readonly ProxyFault[],
  seed: number,
  digest: DigestOffer = 'None',
): Promise<{ target: TargetFixture; proxy: FaultyProxy; device: ConnectedDevice }> {
  const target = await startTarget();
  const proxy = new FaultyProxy(() => target.port, faults, seed);
  cleanup.push(() => proxy.stop());
  const port = await proxy.start();
  // Short segments, so that connections break between those of one command, too.
  const offer = { headerDigest: digest, dataDigest: digest, maxRecvDataSegmentLength: seed === 1 ? 262_144 : 8_192 };
  const device = await connectDevice(port, { offer, times: { ...shortTimes, pingInterval: 100, patience: 15_000 } });
  cleanup.push(() => device.close());
  return { target, proxy, device };
}

describe('a device over a bad network', { timeout: 30_000 }, () => {
  test.each([1, 2, 3])('loses no write and gives no wrong byte when connections are cut (seed %i)', async (seed) => {
    const { target, proxy, device } = await connectThrough(['cut', 'truncate', 'delay'], seed);
    const oracle = new ContentOracle(device, seed);
    await oracle.run(8, 60);
    proxy.rest();
    await oracle.check();
    expect(target.device.content.equals(oracle.content)).toBe(true);
    expect(proxy.done.cut + proxy.done.truncate).toBeGreaterThan(0);
  });

  test.each([4, 5])('sees by digests what was corrupted on the way (seed %i)', async (seed) => {
    const { target, proxy, device } = await connectThrough(['corrupt'], seed, 'CRC32C');
    const oracle = new ContentOracle(device, seed);
    await oracle.run(8, 60);
    proxy.rest();
    await oracle.check();
    expect(target.device.content.equals(oracle.content)).toBe(true);
    expect(proxy.done.corrupt).toBeGreaterThan(0);
  });

  test('sends again what was on its way when the connection broke', async () => {
    const { target, proxy, device } = await connectThrough([], 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    target.device.delays.write = () => {
      target.device.delays = {};
      resolve();
      return new Promise((done) => setTimeout(done, 50));
    };
    const data = Buffer.alloc(300_032, 3);
    const writing = device.write(data, 0);
    await promise;
    proxy.cut();
    await writing;
    expect(target.device.content.subarray(0, data.length).equals(data)).toBe(true);
  });

  test('has no write of a broken connection land after a later one', async () => {
    const { target, proxy, device } = await connectThrough([], 1);
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: opened, resolve: open } = Promise.withResolvers<void>();
    target.device.delays.write = () => {
      target.device.delays = {};
      begin();
      return opened;
    };
    const first = device.write(Buffer.alloc(4096, 1), 0);
    await begun;
    proxy.cut();
    const second = first.then(() => device.write(Buffer.alloc(4096, 2), 0));
    await Promise.race([second, new Promise((resolve) => setTimeout(resolve, 100))]);
    open();
    await second;
    await device.flush();
    expect(target.device.content[0]).toBe(2);
  });

  test('is gone when nobody answers for longer than it is patient', async () => {
    const target = await startTarget();
    const device = await connectDevice(target.port, { times: { ...shortTimes, patience: 300 } });
    await target.service.stop();
    await expect(device.read(Buffer.alloc(512), 0)).rejects.toMatchObject({ code: 'device-gone' });
    await expect(device.flush()).rejects.toMatchObject({ code: 'device-gone' });
    await device.close();
  });

  test('is gone when another volume has taken its place', async () => {
    const { target, proxy, device } = await connectThrough([], 1);
    await target.service.unexport({ accessId });
    await target.export({ volumeId: volumeId.replaceAll('2', '3') });
    proxy.cut();
    await expect(device.write(Buffer.alloc(512, 1), 0)).rejects.toMatchObject({ code: 'device-gone' });
    expect(target.device.content[0]).toBe(0);
  });
});

describe('a device whose target is slow', { timeout: 30_000 }, () => {
  const times = { loginDeadline: 1_000, patience: 1_500, pingInterval: 25, commandDeadline: 100, answerDeadline: 500 };

  test('has a command aborted that takes too long, and repeats it', async () => {
    const target = await startTarget();
    const device = await connectDevice(target.port, { times });
    cleanup.push(() => device.close());
    await device.write(Buffer.alloc(4096, 8), 0);
    let held = 0;
    target.device.delays.read = async () => {
      if (held++ === 0) await new Promise((resolve) => setTimeout(resolve, 300));
    };
    const found = Buffer.alloc(4096);
    await device.read(found, 0);
    expect(found.equals(Buffer.alloc(4096, 8))).toBe(true);
    expect(held).toBeGreaterThan(1);
  });

  test('gives a command up that never ends', async () => {
    const target = await startTarget();
    const { promise: opened, resolve: open } = Promise.withResolvers<void>();
    cleanup.push(async () => open());
    const device = await connectDevice(target.port, { times });
    target.device.delays.read = () => opened;
    await expect(device.read(Buffer.alloc(4096), 0)).rejects.toMatchObject({ code: 'device-gone' });
    open();
    await device.close();
  });

  test('asks again when it is busy, or has no room for a command', async () => {
    const target = await startTarget();
    const refusals = [0x08, 0x28, 0x28];
    const server = HostileTarget.between(
      () => target.port,
      (bhs, data) => {
        const answers = opcodeOf(bhs) === responseOpcode.scsiResponse || opcodeOf(bhs) === responseOpcode.dataIn;
        const status = answers ? refusals.shift() : undefined;
        if (status === undefined) return [[bhs, data]];
        const refusal = makeHeader(responseOpcode.scsiResponse, flag.final, taskTagOf(bhs));
        bhs.copy(refusal, 24, 24, 36);
        refusal[3] = status;
        return [[refusal, Buffer.alloc(0)]];
      },
    );
    cleanup.push(() => server.stop());
    const device = await connectDevice(await server.start(), { times });
    expect(refusals).toEqual([]);
    await device.close();
  });

  test('is pinged while it is silent, and left alone while it answers', async () => {
    const target = await startTarget();
    const pings: number[] = [];
    let deaf = false;
    const server = HostileTarget.between(
      () => target.port,
      (bhs, data) => {
        if (opcodeOf(bhs) === responseOpcode.nopIn) pings.push(performance.now());
        return deaf ? [] : [[bhs, data]];
      },
    );
    cleanup.push(() => server.stop());
    const device = await connectDevice(await server.start(), { times: { ...times, patience: 200 } });
    await eventually(() => pings.length >= 5, 'five pings');
    await device.read(Buffer.alloc(512), 0);
    deaf = true;
    await expect(device.read(Buffer.alloc(512), 0)).rejects.toMatchObject({ code: 'device-gone' });
    await device.close();
  });
});
