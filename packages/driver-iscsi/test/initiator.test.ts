import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ConnectedDevice } from '@scoria/core';
import { ScoriaError, systemRandom, type Extent } from '@scoria/core/device';
import type { DigestOffer } from '../src/initiator/index.ts';
import { freePort } from './free-port.ts';
import { connectDevice, infoOf, initiatorName, makeInitiator, plainCall } from './initiator-fixture.ts';
import { MemoryDevice } from './memory-device.ts';
import { accessId, eventually, iqn, mebibyte, TargetFixture, volumeId } from './target-fixture.ts';

let target: TargetFixture;
const opened: ConnectedDevice[] = [];

beforeEach(async () => {
  target = await TargetFixture.exporting();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((device) => device.close()));
  await target.stop();
});

async function connect(
  ...args: Parameters<typeof connectDevice> extends [number, ...infer Rest] ? Rest : never
): Promise<ConnectedDevice> {
  const device = await connectDevice(target.port, ...args);
  opened.push(device);
  return device;
}

/** Names of the initiators that are logged in. */
const sessions = async () => (await target.service.list())[0]?.sessions;

const bytes = (length: number): Buffer => Buffer.from(systemRandom.bytes(length));

async function extentsOf(device: ConnectedDevice, offset = 0, length = device.size): Promise<Extent[]> {
  const found: Extent[] = [];
  for await (const extent of device.allocatedExtents(offset, length)) found.push(extent);
  return found;
}

const digests: readonly DigestOffer[] = ['None', 'CRC32C'];
const combinations = [true, false].flatMap((initialR2T) =>
  [true, false].flatMap((immediateData) => digests.map((digest) => ({ initialR2T, immediateData, digest }))),
);

test.each(combinations)(
  'moves data with InitialR2T $initialR2T, ImmediateData $immediateData and digests $digest',
  async ({ initialR2T, immediateData, digest }) => {
    const offer = {
      initialR2T,
      immediateData,
      headerDigest: digest,
      dataDigest: digest,
      firstBurstLength: 16_384,
      maxBurstLength: 65_536,
    };
    const device = await connect({ offer });
    const sizes = [512, 4096, 16_384, 16_896, 300_032, 5 * mebibyte];
    for (const size of sizes) {
      const data = bytes(size);
      await device.write(data, 1024);
      expect(target.device.content.subarray(1024, 1024 + size).equals(data)).toBe(true);
      const found = Buffer.alloc(size);
      await device.read(found, 1024);
      expect(found.equals(data)).toBe(true);
    }
  },
);

describe('a connected device', () => {
  test('is the volume of the connection info', async () => {
    const device = await connect();
    expect(device).toMatchObject({ serial: volumeId, size: 8 * mebibyte, blockSize: 512, readOnly: false, path: null });
  });

  test('has many commands on their way at once, whatever order they end in', async () => {
    const device = await connect();
    const parts = Array.from({ length: 256 }, (_, index) => ({ offset: index * 8192, data: bytes(8192) }));
    await Promise.all(parts.map(({ offset, data }) => device.write(data, offset)));
    const found = parts.map(() => Buffer.alloc(8192));
    await Promise.all(parts.map(({ offset }, index) => device.read(found[index]!, offset)));
    expect(found.every((each, index) => each.equals(parts[index]!.data))).toBe(true);
  });

  test('flushes, and writes through where that is asked for', async () => {
    const device = await connect();
    await device.write(bytes(512), 0, { fua: true });
    await device.flush();
    expect(target.device.calls).toEqual(['write 0 512 fua', 'flush']);
  });

  test('frees what it discards and zeroes, and tells what is allocated', async () => {
    const device = await connect();
    await device.write(bytes(4 * mebibyte), 0);
    await device.discard(mebibyte, mebibyte);
    await device.writeZeroes(3 * mebibyte, mebibyte, { fua: true });
    expect(await extentsOf(device)).toEqual([
      { offset: 0, length: mebibyte },
      { offset: 2 * mebibyte, length: mebibyte },
    ]);
    expect(await extentsOf(device, mebibyte / 2, 2 * mebibyte)).toEqual([
      { offset: mebibyte / 2, length: mebibyte / 2 },
      { offset: 2 * mebibyte, length: mebibyte / 2 },
    ]);
    const found = bytes(mebibyte);
    await device.read(found, mebibyte);
    expect(found.equals(Buffer.alloc(mebibyte))).toBe(true);
    expect(target.device.calls.at(-1)).toBe('flush');
  });

  test('sees a new size when it asks', async () => {
    const device = await connect();
    target.device.nextSize = 16 * mebibyte;
    await target.service.resize({ volumeId });
    await device.write(bytes(512), 0);
    expect(device.size).toBe(8 * mebibyte);
    expect(await device.refreshSize()).toBe(16 * mebibyte);
    expect(device.size).toBe(16 * mebibyte);
    await device.write(bytes(512), 12 * mebibyte);
  });

  test('refuses ranges beyond its end, and parts of blocks', async () => {
    const device = await connect();
    await expect(device.read(Buffer.alloc(512), device.size)).rejects.toMatchObject({ code: 'device-out-of-range' });
    await expect(device.write(Buffer.alloc(100), 0)).rejects.toMatchObject({ code: 'device-out-of-range' });
    await expect(device.discard(100, 512)).rejects.toMatchObject({ code: 'device-out-of-range' });
  });

  test('with blocks of 4096 bytes moves data too', async () => {
    target.devices.set('/volume', new MemoryDevice(8 * mebibyte, 4096));
    await target.service.unexport({ accessId });
    await target.export({ device: { kind: 'memory', path: '/volume', blockSize: 4096 } });
    const device = await connect();
    expect(device.blockSize).toBe(4096);
    const data = bytes(64 * 4096);
    await device.write(data, 4096);
    const found = Buffer.alloc(data.length);
    await device.read(found, 4096);
    expect(found.equals(data)).toBe(true);
  });

  test.each([
    ['device-no-space', 'device-no-space'],
    ['device-medium-error', 'device-medium-error'],
    ['device-gone', 'device-gone'],
  ] as const)('tells %s of the storage behind the target', async (code, told) => {
    const device = await connect();
    target.device.write = () => Promise.reject(new ScoriaError(code, 'the storage says so'));
    await expect(device.write(bytes(512), 0)).rejects.toMatchObject({ code: told });
    // The session goes on.
    await device.read(Buffer.alloc(512), 0);
  });

  test('is read-only where the target says so, or the caller', async () => {
    const reader = await makeInitiator().connect(infoOf(target.port), { readOnly: true }, plainCall);
    opened.push(reader);
    await expect(reader.write(bytes(512), 0)).rejects.toMatchObject({ code: 'device-not-permitted' });
    await target.service.unexport({ accessId });
    await target.export({ readOnly: true });
    const device = await connect();
    expect(device.readOnly).toBe(true);
    await expect(device.writeZeroes(0, 512)).rejects.toMatchObject({ code: 'device-not-permitted' });
  });

  test('waits for what is under way when it is closed, and is gone afterwards', async () => {
    const device = await connect();
    const data = bytes(mebibyte);
    const writing = device.write(data, 0);
    await device.close();
    await writing;
    expect(target.device.content.subarray(0, data.length).equals(data)).toBe(true);
    await expect(device.read(Buffer.alloc(512), 0)).rejects.toMatchObject({ code: 'device-gone' });
    await device.close();
    await eventually(async () => (await sessions())?.length === 0, 'the end of the sessions');
  });
});

describe('an initiator', () => {
  test('says who it is', async () => {
    expect(await makeInitiator({ host: 'here' }).connector(plainCall)).toEqual({
      initiator: initiatorName,
      host: 'here',
      multipath: false,
    });
  });

  test('refuses another volume than the one that was meant', async () => {
    await expect(connect({}, { volume_id: '33333333-3333-4333-8333-333333333333' })).rejects.toMatchObject({
      code: 'device-gone',
    });
  });

  test('disconnects what is open, again and again', async () => {
    const initiator = makeInitiator();
    const info = infoOf(target.port);
    const [first, second] = [
      await initiator.connect(info, { readOnly: false }, plainCall),
      await initiator.connect(info, { readOnly: true }, plainCall),
    ];
    await initiator.disconnect(info, plainCall);
    for (const device of [first, second]) {
      await expect(device.read(Buffer.alloc(512), 0)).rejects.toMatchObject({ code: 'device-gone' });
      await device.close();
    }
    await eventually(async () => (await sessions())?.length === 0, 'the end of the sessions');
    await initiator.disconnect(info, plainCall);
  });

  test('goes to the next portal when one does not answer', async () => {
    const closed = await freePort();
    const portals = [`127.0.0.1:${closed}`, `127.0.0.1:${target.port}`];
    const device = await connect(
      {},
      { target_portal: portals[0], target_portals: portals, target_iqns: [iqn(), iqn()], target_luns: [0, 0] },
    );
    await device.read(Buffer.alloc(512), 0);
    await expect(connectDevice(closed)).rejects.toMatchObject({ code: 'transport-failed' });
  });

  test('names what is wrong with a connection info, and no secret', async () => {
    const failure = await connect({}, { target_portal: 'nowhere', auth_password: 17 }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'invalid-input' });
    expect(String(failure)).toContain('target_portal: must be host:port');
  });
});
