import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { PluginCall } from '@scoria/core';
import { assertPattern, writePattern } from '../pattern.ts';
import { plainCall, recorded, volumeSize } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;
const withFence = (fence: number): PluginCall => ({ ...plainCall, fence });

/** The driver as core calls it: behind the guard. */
export const guardChecks: DriverChecks = {
  'fence-stale': {
    verb: 'create',
    contract:
      "A call with a lower token than one already seen for the same object must be refused (`stale-fence`); core's wrapper does it.",
    demand: 'a verb may be repeated with the same or a higher token; one with a lower is refused and changes nothing',
    run: async (bench) => {
      const guarded = bench.guarded();
      const stale = { code: 'stale-fence' };
      const request = bench.request();
      const first = await guarded.create(request, withFence(5));
      assert.deepEqual(await guarded.create(request, withFence(5)), first, 'a repeat with the same token');
      assert.deepEqual(await guarded.create(request, withFence(7)), first, 'a repeat with a higher token');
      const volume = recorded(request, first);
      await bench.using(volume, (device) => writePattern(device, 1, 0, MiB));
      await assert.rejects(guarded.create(request, withFence(6)), stale);
      await assert.rejects(guarded.extend(volume, 2 * volumeSize, withFence(6)), stale);
      await assert.rejects(guarded.delete(volume, withFence(6)), stale);
      const wanted = bench.request();
      const snapshot = await bench.filled(wanted, await guarded.createSnapshot(wanted, volume, withFence(3)), volume);
      await assert.rejects(guarded.deleteSnapshot(snapshot, withFence(2)), stale);
      assert.equal((await bench.listed(volume))?.size, volume.size);
      assert(await bench.listed(snapshot), 'a stale call deleted the snapshot');
      await bench.using(volume, (device) => assertPattern(device, 1, 0, MiB, 'the volume'));
      await guarded.deleteSnapshot(snapshot, withFence(3));
      await guarded.extend(volume, 2 * volumeSize, withFence(7));
      await guarded.delete(volume, withFence(8));
      assert.deepEqual(await bench.list(), []);
    },
  },

  'deadline-frees': {
    verb: 'create',
    contract: 'Aborts when the work is cancelled or out of time; the callee stops soon',
    demand: 'after its deadline a verb lets go of its object, so that the next attempt can begin',
    run: async (bench) => {
      const guarded = bench.guarded();
      const late = async (start: (call: PluginCall) => Promise<unknown>) => {
        const controller = new AbortController();
        const running = start({ ...plainCall, signal: controller.signal }).then(
          () => {},
          () => {},
        );
        await stat(tmpdir());
        controller.abort(new Error('the deadline of the conformance suite'));
        await running;
      };
      const request = bench.request();
      await late((call) => guarded.create(request, call));
      const volume = recorded(request, await bench.settles('the next create', guarded.create(request, plainCall)));
      const wanted = bench.request();
      await late((call) => guarded.createSnapshot(wanted, volume, call));
      await bench.settles('the next createSnapshot', guarded.createSnapshot(wanted, volume, plainCall));
      await late((call) => guarded.extend(volume, 2 * volumeSize, call));
      await bench.settles('the next extend', guarded.extend(volume, 2 * volumeSize, plainCall));
      await late((call) => guarded.deleteSnapshot(wanted, call));
      await bench.settles('the next deleteSnapshot', guarded.deleteSnapshot(wanted, plainCall));
      await late((call) => guarded.delete(volume, call));
      await bench.settles('the next delete', guarded.delete(volume, plainCall));
      assert.deepEqual(await bench.list(), []);
    },
  },
};
