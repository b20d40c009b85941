import assert from 'node:assert/strict';
import { systemRandom, type PluginCall } from '@scoria/core';
import { assertPattern, writePattern } from '../pattern.ts';
import { exportedSize, plainCall } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';

const MiB = 1024 * 1024;

/** Holding writes back, and copies of one moment, without a client. */
export const pointInTimeChecks: TransportChecks = {
  'hold-unknown': {
    verb: 'hold',
    contract: 'Returns a token, or `null` when the volume is not exported.',
    demand: 'a hold of a volume that is not exported is null',
    run: async (bench) => {
      assert.equal(await bench.pointInTime.hold(systemRandom.uuid(), 1000, plainCall), null);
    },
  },

  'release-once': {
    verb: 'release',
    contract: 'Ends a hold. `held` tells whether no write got through since it began.',
    demand: 'a hold ends by release, once',
    run: async (bench) => {
      const { volumeId } = await bench.export();
      const token = await bench.pointInTime.hold(volumeId, 30_000, plainCall);
      assert(token, 'an exported volume can be held');
      assert.deepEqual(await bench.pointInTime.release(token, plainCall), { held: true });
      assert.deepEqual(await bench.pointInTime.release(token, plainCall), { held: false });
      assert.deepEqual(await bench.pointInTime.release('no such token', plainCall), { held: false });
    },
  },

  'copy-content': {
    verb: 'copy',
    contract: 'Holes stay holes; the target is flushed at the end. Settles when all is there.',
    demand: 'copy gives the content of a volume, exported or not, and leaves its holes',
    run: async (bench) => {
      for (const exported of [true, false]) {
        const request = await bench.request();
        const source = await bench.open(request.device);
        await writePattern(source, 1, MiB, 2 * MiB);
        await source.flush();
        if (exported) await bench.transport.export(request, plainCall);
        const target = await bench.volumes.create(exportedSize);
        await bench.pointInTime.copy(request.volumeId, request.device, target, plainCall);
        const copied = await bench.open(target, true);
        await assertPattern(copied, 0, 0, MiB, 'the copy');
        await assertPattern(copied, 1, MiB, 2 * MiB, 'the copy');
        await assertPattern(copied, 0, 3 * MiB, exportedSize - 3 * MiB, 'the copy');
        let taken = 0;
        for await (const extent of copied.allocatedExtents(0, exportedSize)) taken += extent.length;
        let had = 0;
        for await (const extent of source.allocatedExtents(0, exportedSize)) had += extent.length;
        assert(taken <= had + MiB, `the copy takes ${taken} bytes, the volume ${had}`);
        assert.equal((await bench.list()).length, 1, 'a copy exports nothing');
      }
    },
  },

  'copy-progress': {
    verb: 'copy',
    contract:
      'Aborts when the work is cancelled or out of time; the callee stops soon and leaves nothing half-made that a repeat would trip over.',
    demand: 'a copy tells its progress and stops when it is aborted',
    run: async (bench) => {
      const request = await bench.export();
      const source = await bench.open(request.device);
      await writePattern(source, 1, 0, exportedSize);
      await source.flush();
      const target = await bench.volumes.create(exportedSize);
      const seen: number[] = [];
      const progress = (done: number, total: number) => {
        assert(done >= (seen.at(-1) ?? 0) && done <= total, `progress went from ${seen.at(-1)} to ${done} of ${total}`);
        seen.push(done);
      };
      await bench.pointInTime.copy(request.volumeId, request.device, target, { ...plainCall, progress });
      assert(seen.length > 0, 'there was no progress');
      const signal = AbortSignal.abort(new Error('aborted by the conformance suite'));
      await assert.rejects(bench.pointInTime.copy(request.volumeId, request.device, target, { ...plainCall, signal }));
    },
  },

  'copy-abort-settles': {
    verb: 'copy',
    contract: 'the callee stops soon and leaves nothing half-made that a repeat would trip over.',
    demand: 'a copy ends soon after an abort, and can be repeated',
    run: async (bench) => {
      const request = await bench.export();
      const target = await bench.volumes.create(exportedSize);
      for (const turns of [0, 2, 4]) {
        const copy = (call: PluginCall) => bench.pointInTime.copy(request.volumeId, request.device, target, call);
        await bench.interrupt(copy, turns);
        await copy(plainCall);
      }
      assert.equal((await bench.list()).length, 1);
    },
  },

  'copy-missing': {
    verb: 'copy',
    contract: "Opens the volume's logical unit for the time of the copy when it is not exported",
    demand: 'a copy from or to what is not there fails, and leaves the volume free to be exported',
    run: async (bench) => {
      const request = await bench.request();
      const missing = { ...request.device, path: `${request.device.path}-missing` };
      const target = await bench.volumes.create(exportedSize);
      await assert.rejects(bench.pointInTime.copy(request.volumeId, request.device, missing, plainCall));
      await assert.rejects(bench.pointInTime.copy(systemRandom.uuid(), missing, target, plainCall));
      await bench.transport.export(request, plainCall);
      assert.equal((await bench.list()).length, 1);
      await bench.pointInTime.copy(request.volumeId, request.device, target, plainCall);
    },
  },

  'hold-apart': {
    verb: 'hold',
    contract: 'Ends a hold. `held` tells whether no write got through since it began.',
    demand: 'holds of two volumes are two, and end apart',
    run: async (bench) => {
      const [first, second] = [await bench.export(), await bench.export()];
      const a = await bench.pointInTime.hold(first.volumeId, 30_000, plainCall);
      const b = await bench.pointInTime.hold(second.volumeId, 30_000, plainCall);
      assert(a !== null && b !== null && a !== b, 'each hold has a token of its own');
      assert.deepEqual(await bench.pointInTime.release(a, plainCall), { held: true });
      assert.deepEqual(await bench.pointInTime.release(a, plainCall), { held: false });
      assert.deepEqual(await bench.pointInTime.release(b, plainCall), { held: true });
    },
  },

  'hold-aborted': {
    verb: 'hold',
    contract: 'Aborts when the work is cancelled or out of time; the callee stops soon',
    demand: 'neither a hold nor a release that is aborted before it begins does anything',
    run: async (bench) => {
      const { volumeId } = await bench.export();
      const aborted = { ...plainCall, signal: AbortSignal.abort(new Error('aborted by the conformance suite')) };
      const token = await bench.pointInTime.hold(volumeId, 30_000, plainCall);
      assert(token);
      await assert.rejects(bench.pointInTime.release(token, aborted), 'release');
      await assert.rejects(bench.pointInTime.hold(volumeId, 30_000, aborted), 'hold');
      assert.deepEqual(await bench.pointInTime.release(token, plainCall), { held: true });
    },
  },
};
