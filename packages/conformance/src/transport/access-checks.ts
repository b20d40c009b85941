import assert from 'node:assert/strict';
import { systemRandom, type PluginCall } from '@scoria/core';
import { textOf } from '../recording-log.ts';
import { plainCall } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';

const MiB = 1024 * 1024;
const racers = 6;
const withFence = (fence: number): PluginCall => ({ ...plainCall, fence });

/** Accesses that are raced, aborted, repeated after a restart, and fenced. */
export const accessChecks: TransportChecks = {
  'export-race': {
    verb: 'export',
    contract: 'Every verb may be repeated.',
    demand: 'exports of one access at the same time give one export',
    run: async (bench) => {
      const [request, guarded] = [await bench.request(), bench.guarded()];
      await Promise.all(Array.from({ length: racers }, () => guarded.export({ ...request }, plainCall)));
      assert.deepEqual(
        (await bench.list()).map(({ accessId }) => accessId),
        [request.accessId],
      );
    },
  },

  'export-race-volume': {
    verb: 'export',
    contract: 'All accesses of one volume share one logical unit.',
    demand: 'accesses of one volume that come and go at the same time leave those that stay',
    run: async (bench) => {
      const first = await bench.request();
      const requests = [first];
      for (let count = 1; count < racers; count++) {
        requests.push({ ...first, accessId: systemRandom.uuid(), secret: `${first.secret}${count}` });
      }
      await Promise.all(requests.map((request) => bench.transport.export(request, plainCall)));
      const [stays, ...leave] = requests;
      await Promise.all(leave.map(({ accessId }) => bench.transport.unexport(accessId, plainCall)));
      assert.deepEqual(
        (await bench.list()).map(({ accessId }) => accessId),
        [stays?.accessId],
      );
      assert.deepEqual(
        (await bench.transport.stats(plainCall)).map(({ volumeId }) => volumeId),
        [first.volumeId],
        'the volume of the access that stays is exported',
      );
    },
  },

  'unexport-race': {
    verb: 'unexport',
    contract: 'Every verb may be repeated.',
    demand: 'exports and unexports of one access at the same time leave nothing that the last unexport does not end',
    run: async (bench) => {
      const [request, guarded] = [await bench.request(), bench.guarded()];
      for (let round = 0; round < 3; round++) {
        await Promise.all([
          guarded.export(request, plainCall),
          guarded.unexport(request.accessId, plainCall),
          guarded.export(request, plainCall),
          guarded.unexport(request.accessId, plainCall),
          ...(round % 2 === 0 ? [guarded.export(request, plainCall)] : []),
        ]);
        assert.equal((await bench.list()).length, round % 2 === 0 ? 1 : 0, 'the last call wins');
        await guarded.unexport(request.accessId, plainCall);
        assert.deepEqual(await bench.list(), []);
      }
    },
  },

  'export-fence': {
    verb: 'export',
    contract:
      "A call with a lower token than one already seen for the same object must be refused (`stale-fence`); core's wrapper does it.",
    demand: 'a verb may be repeated with the same or a higher token; one with a lower is refused and changes nothing',
    run: async (bench) => {
      const [request, guarded] = [await bench.request(), bench.guarded()];
      const stale = { code: 'stale-fence' };
      await guarded.export(request, withFence(5));
      await guarded.export(request, withFence(5));
      await guarded.export(request, withFence(7));
      await assert.rejects(guarded.unexport(request.accessId, withFence(6)), stale);
      assert.equal((await bench.list()).length, 1);
      await guarded.unexport(request.accessId, withFence(8));
      await assert.rejects(guarded.export(request, withFence(7)), stale);
      assert.deepEqual(await bench.list(), []);
    },
  },

  'verbs-aborted': {
    verb: 'unexport',
    contract: 'Aborts when the work is cancelled or out of time; the callee stops soon',
    demand: 'no verb that is aborted before it begins does anything',
    run: async (bench) => {
      const { transport } = bench;
      const { accessId, volumeId } = await bench.export();
      const aborted = { ...plainCall, signal: AbortSignal.abort(new Error('aborted by the conformance suite')) };
      await assert.rejects(transport.unexport(accessId, aborted), 'unexport');
      await assert.rejects(transport.resize(volumeId, aborted), 'resize');
      await assert.rejects(transport.list(aborted), 'list');
      await assert.rejects(transport.stats(aborted), 'stats');
      assert.equal((await bench.list()).length, 1);
    },
  },

  'access-abort-settles': {
    verb: 'export',
    contract: 'the callee stops soon and leaves nothing half-made that a repeat would trip over.',
    demand: 'export and unexport end soon after an abort, and can be repeated',
    run: async (bench) => {
      for (const turns of [0, 1, 2, 4]) {
        const request = await bench.request();
        await bench.interrupt((call) => bench.transport.export(request, call), turns);
        await bench.transport.export(request, plainCall);
        assert.deepEqual(
          (await bench.list()).map(({ accessId }) => accessId),
          [request.accessId],
        );
        await bench.interrupt((call) => bench.transport.unexport(request.accessId, call), turns);
        await bench.transport.unexport(request.accessId, plainCall);
        assert.deepEqual(await bench.list(), []);
      }
    },
  },

  'start-again': {
    verb: 'start',
    contract: 'Every verb may be repeated.',
    demand: 'a repeated start changes nothing; after a restart an access is published again as it was',
    run: async (bench) => {
      const request = await bench.export();
      const info = bench.transport.connectionInfo(request);
      await bench.transport.start(plainCall);
      assert.equal((await bench.list()).length, 1, 'a repeated start ended an export');
      await bench.restart();
      assert.deepEqual(await bench.list(), [], 'an export outlived stop');
      await bench.transport.export(request, plainCall);
      assert.equal((await bench.list()).length, 1);
      assert.deepEqual(bench.transport.connectionInfo(request), info);
    },
  },

  'stats-volumes': {
    verb: 'stats',
    contract: "Counters of one volume's logical unit since it was first exported by the running target.",
    demand: 'stats has each exported volume once, however many accesses it has',
    run: async (bench) => {
      const first = await bench.export();
      await bench.exportAgain(first);
      const other = await bench.export();
      const found = (await bench.transport.stats(plainCall)).map(({ volumeId }) => volumeId);
      assert.deepEqual(found.toSorted(), [first.volumeId, other.volumeId].toSorted());
    },
  },

  'secret-not-logged': {
    verb: 'export',
    contract: 'CHAP secret of this access, never logged nor stored.',
    demand: 'no secret is in the log or in an error, whatever fails',
    run: async (bench) => {
      const request = await bench.export();
      const device = await bench.volumes.create(MiB);
      const broken = await bench.request({ device: { ...device, path: `${device.path}-missing` }, secret: request.secret });
      const signal = AbortSignal.abort(new Error('aborted by the conformance suite'));
      const failures = await Promise.allSettled([
        bench.transport.export(broken, plainCall),
        bench.transport.export({ ...broken, accessId: systemRandom.uuid() }, { ...plainCall, signal }),
      ]);
      for (const failure of failures) {
        if (failure.status === 'rejected') assert(!textOf(failure.reason).includes(request.secret), 'an error tells the secret');
      }
      await bench.transport.unexport(request.accessId, plainCall);
      assert(!bench.logged.join('\n').includes(request.secret), 'the log tells the secret');
    },
  },
};
