import assert from 'node:assert/strict';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { assertMoment, writeRounds } from '../rounds.ts';
import { exportedSize, plainCall } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';

const MiB = 1024 * 1024;

/** Holding writes back, and copies of one moment, while clients write. */
export const pointInTimeSessionChecks: TransportChecks = {
  'hold-holds': {
    verb: 'hold',
    contract: 'Holds back writes to an exported volume and waits until those under way are on stable storage.',
    demand: 'a hold keeps writes back until it is released, and lets reads pass',
    run: async (bench) => {
      const request = await bench.export();
      const client = await bench.connect(request);
      await writePattern(client, 1, 0, MiB);
      const token = await bench.pointInTime.hold(request.volumeId, 30_000, plainCall);
      assert(token);
      const device = await bench.open(request.device, true);
      await assertPattern(device, 1, 0, MiB, 'what was written before the hold');
      let written = false;
      const writing = client.write(pattern(2, 0, 4096), 0).then(() => (written = true));
      const reader = await bench.connect(await bench.exportAgain(request));
      await assertPattern(reader, 1, 0, MiB, 'read during the hold');
      await assertPattern(device, 1, 0, MiB, 'the volume during the hold');
      assert.equal(written, false);
      assert.deepEqual(await bench.pointInTime.release(token, plainCall), { held: true });
      await writing;
      await assertPattern(client, 2, 0, 4096, 'written after the hold');
    },
  },

  'hold-ends': {
    verb: 'hold',
    contract: 'The hold ends by {@link release} or by itself after `ms` milliseconds.',
    demand: 'a hold ends by itself, and release then tells that it was not held',
    run: async (bench) => {
      const request = await bench.export();
      const client = await bench.connect(request);
      const token = await bench.pointInTime.hold(request.volumeId, 50, plainCall);
      assert(token);
      await bench.settles('a write after the hold', client.write(pattern(1, 0, 4096), 0));
      assert.deepEqual(await bench.pointInTime.release(token, plainCall), { held: false });
    },
  },

  'copy-moment': {
    verb: 'copy',
    contract:
      'Copies a volume as it is at one moment during the call from `source` into `target`, while it is or comes into use: what is about to be overwritten is copied first.',
    demand: 'a copy of a volume in use is a point in time',
    run: async (bench) => {
      const size = 4 * exportedSize;
      const request = await bench.export({ device: await bench.volumes.create(size) });
      const client = await bench.connect(request);
      await writePattern(client, 1, 0, size);
      const target = await bench.volumes.create(size);
      await writeRounds(client, size, () => bench.pointInTime.copy(request.volumeId, request.device, target, plainCall));
      await assertMoment(await bench.open(target, true), size);
    },
  },

  'copy-then-export': {
    verb: 'copy',
    contract: 'an export that comes meanwhile shares it.',
    demand: 'a copy of a volume that comes into use meanwhile is a point in time',
    run: async (bench) => {
      const size = 4 * exportedSize;
      const request = await bench.request({ device: await bench.volumes.create(size) });
      const source = await bench.open(request.device);
      await writePattern(source, 1, 0, size);
      await source.flush();
      const target = await bench.volumes.create(size);
      const copy = bench.pointInTime.copy(request.volumeId, request.device, target, plainCall);
      const copied = Promise.allSettled([copy]);
      try {
        await bench.transport.export(request, plainCall);
        const client = await bench.connect(request);
        await writeRounds(client, size, () => copied);
      } finally {
        await copied;
      }
      await copy;
      await assertMoment(await bench.open(target, true), size);
      assert.equal((await bench.list()).length, 1, 'the export outlives the copy');
    },
  },

  'hold-one-volume': {
    verb: 'hold',
    contract: 'Holds back writes to an exported volume',
    demand: 'a hold of one volume lets writes to others pass',
    run: async (bench) => {
      const [held, free] = [await bench.export(), await bench.export()];
      const client = await bench.connect(free);
      const token = await bench.pointInTime.hold(held.volumeId, 30_000, plainCall);
      assert(token);
      await bench.settles('a write to another volume', client.write(pattern(1, 0, 4096), 0));
      assert.deepEqual(await bench.pointInTime.release(token, plainCall), { held: true });
    },
  },
};
