import assert from 'node:assert/strict';
import { systemClock } from '@scoria/core';
import { assertPattern, pattern, seedOf, writePattern } from '../pattern.ts';
import { exportedSize, plainCall } from './transport-bench.ts';
import type { TransportTests } from './transport-conformance.ts';

const MiB = 1024 * 1024;

/** What a client sees. */
export const sessionTests: TransportTests = {
  'a client reads what it wrote, and a flush puts it on the volume': async (bench) => {
    const request = await bench.export();
    const client = await bench.connect(request);
    assert.equal(client.size, exportedSize);
    await assertPattern(client, 0, 0, exportedSize, 'a new volume');
    await writePattern(client, 1, MiB, 2 * MiB);
    await client.flush();
    await assertPattern(client, 1, MiB, 2 * MiB, 'what was written');
    const device = await bench.open(request.device, true);
    await assertPattern(device, 1, MiB, 2 * MiB, 'the volume');
    await assertPattern(device, 0, 3 * MiB, MiB, 'the rest of the volume');
  },

  'the serial number is the id of the volume': async (bench) => {
    const first = await bench.export();
    const second = await bench.exportAgain(first);
    for (const request of [first, second]) {
      const { serial } = await bench.connect(request);
      if (serial !== undefined) assert.equal(serial, first.volumeId);
    }
  },

  'a session is listed while it lasts': async (bench) => {
    const request = await bench.export();
    const sessions = async () => (await bench.list())[0]?.sessions.length;
    const client = await bench.connect(request);
    await bench.until('the session is listed', async () => (await sessions()) === 1);
    await bench.close(client);
    await bench.until('the session is gone', async () => (await sessions()) === 0);
  },

  'an export asked for again leaves its session alone': async (bench) => {
    const request = await bench.export();
    const client = await bench.connect(request);
    await writePattern(client, 1, 0, MiB);
    await bench.transport.export(request, plainCall);
    await assertPattern(client, 1, 0, MiB, 'after the repeat');
  },

  'a wrong secret is refused': async (bench) => {
    const request = await bench.export();
    await assert.rejects(bench.connect({ ...request, secret: 'not-the-secret-1' }));
    await bench.connect(request);
  },

  'the secret of one access does not open another': async (bench) => {
    const first = await bench.export();
    const second = await bench.exportAgain(first);
    await assert.rejects(bench.connect({ ...second, secret: first.secret }));
  },

  'a read-only access reads and does not write': async (bench) => {
    const request = await bench.export({ readOnly: true });
    const client = await bench.connect(request);
    await assertPattern(client, 0, 0, MiB, 'the volume');
    await assert.rejects(client.write(pattern(1, 0, 4096), 0));
    const device = await bench.open(request.device, true);
    await assertPattern(device, 0, 0, MiB, 'the volume');
  },

  'accesses of one volume see what each other writes': async (bench) => {
    const first = await bench.export();
    const second = await bench.exportAgain(first);
    const [a, b] = [await bench.connect(first), await bench.connect(second)];
    await writePattern(a, 1, 0, MiB);
    await assertPattern(b, 1, 0, MiB, 'seen by the other');
    await writePattern(b, 2, 0, MiB);
    await assertPattern(a, 2, 0, MiB, 'seen by the other');
  },

  'after unexport nothing is written any more, and the old secret is refused': async (bench) => {
    const request = await bench.export();
    const other = await bench.exportAgain(request);
    const [client, stays] = [await bench.connect(request), await bench.connect(other)];
    await writePattern(client, 1, 0, MiB);
    // Keeps writes in flight while the access ends.
    let running = true;
    const writing = (async () => {
      for (let seed = 2; running; seed++) {
        await client.write(pattern(seed, 0, 65_536), 0);
        await systemClock.sleep(0);
      }
    })().catch(() => {});
    try {
      await bench.transport.unexport(request.accessId, plainCall);
      const device = await bench.open(request.device, true);
      const after = new Uint8Array(65_536);
      await device.read(after, 0);
      await assert.rejects(client.write(pattern(999, 0, 65_536), 0));
      await writing;
      const later = new Uint8Array(65_536);
      await device.read(later, 0);
      assert.equal(Buffer.compare(after, later), 0, 'a write reached the volume after unexport had settled');
    } finally {
      running = false;
    }
    await assert.rejects(bench.connect(request));
    await writePattern(stays, 7, 2 * MiB, MiB);
    await assertPattern(stays, 7, 2 * MiB, MiB, 'the other access');
  },

  'an access of the same volume made later does not revive the old session': async (bench) => {
    const request = await bench.export();
    const client = await bench.connect(request);
    await bench.transport.unexport(request.accessId, plainCall);
    await bench.exportAgain(request);
    await assert.rejects(client.write(pattern(1, 0, 4096), 0));
    const device = await bench.open(request.device, true);
    await assertPattern(device, 0, 0, MiB, 'the volume');
  },

  'resize makes the new size visible': async (bench) => {
    const request = await bench.export();
    const client = await bench.connect(request);
    await bench.volumes.resize(request.device, 2 * exportedSize);
    await bench.transport.resize(request.volumeId, plainCall);
    assert.equal(await client.refreshSize(), 2 * exportedSize);
    await writePattern(client, 1, 2 * exportedSize - MiB, MiB);
    await assertPattern(client, 1, 2 * exportedSize - MiB, MiB, 'the new part');
    const again = await bench.connect(await bench.exportAgain(request));
    assert.equal(again.size, 2 * exportedSize);
  },

  'a hold keeps writes back until it is released, and lets reads pass': async (bench) => {
    const request = await bench.export();
    const client = await bench.connect(request);
    await writePattern(client, 1, 0, MiB);
    const token = await bench.transport.hold(request.volumeId, 30_000, plainCall);
    assert(token);
    const device = await bench.open(request.device, true);
    await assertPattern(device, 1, 0, MiB, 'what was written before the hold');
    let written = false;
    const writing = client.write(pattern(2, 0, 4096), 0).then(() => (written = true));
    const reader = await bench.connect(await bench.exportAgain(request));
    await assertPattern(reader, 1, 0, MiB, 'read during the hold');
    await assertPattern(device, 1, 0, MiB, 'the volume during the hold');
    assert.equal(written, false);
    assert.deepEqual(await bench.transport.release(token, plainCall), { held: true });
    await writing;
    await assertPattern(client, 2, 0, 4096, 'written after the hold');
  },

  'a hold ends by itself, and release then tells that it was not held': async (bench) => {
    const request = await bench.export();
    const client = await bench.connect(request);
    const token = await bench.transport.hold(request.volumeId, 50, plainCall);
    assert(token);
    await client.write(pattern(1, 0, 4096), 0);
    assert.deepEqual(await bench.transport.release(token, plainCall), { held: false });
  },

  'a copy of a volume in use is a point in time': async (bench) => {
    const size = 4 * exportedSize;
    const unit = 64 * 1024;
    const request = await bench.export({ device: await bench.volumes.create(size) });
    const client = await bench.connect(request);
    await writePattern(client, 1, 0, size);
    const target = await bench.volumes.create(size);
    let copying = true;
    const copy = bench.transport.copy(request.volumeId, request.device, target, plainCall).finally(() => (copying = false));
    // One write at a time, round after round with the next seed. Blocks are taken in an order that no copier takes: two
    // that go steadily through a volume meet once, and what a smear leaves then looks like one moment.
    const order = Array.from({ length: size / unit }, (_, index) => ((index * 203) % (size / unit)) * unit);
    for (let seed = 2; copying; seed++) {
      for (const [index, offset] of order.entries()) {
        if (!copying) break;
        await client.write(pattern(seed, offset, unit), offset);
        if (index % 8 === 0) await systemClock.sleep(0);
      }
    }
    await copy;
    const device = await bench.open(target, true);
    const seeds: number[] = [];
    for (const offset of order) {
      const found = new Uint8Array(unit);
      await device.read(found, offset);
      const seed = seedOf(found);
      assert.equal(Buffer.compare(found, pattern(seed, offset, unit)), 0, `the copy has a torn block at ${offset}`);
      seeds.push(seed);
    }
    // At any moment some round has reached some block: those before it have its seed, the others that of the round before.
    const [newest = 0] = seeds;
    const reached = seeds.findIndex((seed) => seed !== newest);
    assert(
      reached === -1 || seeds.slice(reached).every((seed) => seed === newest - 1),
      `the copy mixes moments, in the order of writing: ${seeds.join(' ')}`,
    );
  },

  'stats count what went through': async (bench) => {
    const request = await bench.export();
    const client = await bench.connect(request);
    await writePattern(client, 1, 0, MiB);
    await assertPattern(client, 1, 0, MiB, 'the volume');
    const stats = (await bench.transport.stats(plainCall)).find(({ volumeId }) => volumeId === request.volumeId);
    assert(stats, 'the volume has no stats');
    assert(stats.writtenBytes >= MiB && stats.readBytes >= MiB, `${stats.writtenBytes} written, ${stats.readBytes} read`);
    assert(stats.writes > 0 && stats.reads > 0);
  },
};
