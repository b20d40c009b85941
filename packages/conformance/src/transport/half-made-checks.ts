import assert from 'node:assert/strict';
import { plainCall } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';

/** Exports of which a part is missing. */
export const halfMadeChecks: TransportChecks = {
  'half-made-told': {
    verb: 'list',
    contract: 'What a crash or a failure has left half-made is not',
    demand: 'an export that is half-made is listed, and as such',
    run: async (bench) => {
      const [request, other] = [await bench.export(), await bench.export()];
      await bench.damage(request);
      const complete = new Map((await bench.list()).map((status) => [status.accessId, status.complete]));
      assert.deepEqual([complete.get(request.accessId), complete.get(other.accessId)], [false, true]);
    },
  },

  'half-made-completed': {
    verb: 'export',
    contract: 'Exporting the access again completes it, and leaves it as it is where it is complete',
    demand: 'an export that is half-made is completed by the same export, without a start, and ended by unexport',
    run: async (bench) => {
      const request = await bench.export();
      await bench.damage(request);
      await bench.transport.export(request, plainCall);
      const { accessId, volumeId, readOnly } = request;
      assert.deepEqual(await bench.list(), [{ accessId, volumeId, readOnly, complete: true, sessions: [] }]);
      await bench.damage(request);
      await bench.transport.unexport(accessId, plainCall);
      assert.deepEqual(await bench.list(), []);
      assert.deepEqual(await bench.transport.stats(plainCall), [], 'the volume is still exported');
    },
  },
};
