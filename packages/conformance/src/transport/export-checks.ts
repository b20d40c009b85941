import assert from 'node:assert/strict';
import { systemRandom } from '@scoria/core';
import { plainCall } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';

const MiB = 1024 * 1024;

/** What can be seen without a client. */
export const exportChecks: TransportChecks = {
  'export-repeated': {
    verb: 'export',
    contract: 'Every verb may be repeated.',
    demand: 'an export is listed once, however often it is asked for',
    run: async (bench) => {
      assert.deepEqual(await bench.list(), []);
      const request = await bench.export();
      await bench.transport.export(request, plainCall);
      await bench.transport.export({ ...request }, plainCall);
      assert.deepEqual(await bench.list(), [
        { accessId: request.accessId, volumeId: request.volumeId, readOnly: false, complete: true, sessions: [] },
      ]);
    },
  },

  'export-many-at-once': {
    verb: 'export',
    contract: 'Publishes an access. Settles when an initiator can log in.',
    demand: 'exports asked for at the same time are all there',
    run: async (bench) => {
      const requests = await Promise.all(Array.from({ length: 12 }, () => bench.export()));
      const listed = new Set((await bench.list()).map(({ accessId }) => accessId));
      assert.deepEqual(listed, new Set(requests.map(({ accessId }) => accessId)));
    },
  },

  'unexport-repeated': {
    verb: 'unexport',
    contract: 'Every verb may be repeated.',
    demand: 'unexport ends an access, may be repeated, and succeeds for one that never was',
    run: async (bench) => {
      const [request, other] = [await bench.export(), await bench.export()];
      await bench.transport.unexport(request.accessId, plainCall);
      await bench.transport.unexport(request.accessId, plainCall);
      await bench.transport.unexport(systemRandom.uuid(), plainCall);
      assert.deepEqual(
        (await bench.list()).map(({ accessId }) => accessId),
        [other.accessId],
      );
    },
  },

  'unexport-one': {
    verb: 'unexport',
    contract: 'One access to publish: a volume for one initiator host.',
    demand: 'a volume may have several accesses; each ends alone',
    run: async (bench) => {
      const first = await bench.export();
      const second = await bench.exportAgain(first, { readOnly: true });
      assert.equal((await bench.list()).length, 2);
      await bench.transport.unexport(first.accessId, plainCall);
      assert.deepEqual(await bench.list(), [
        { accessId: second.accessId, volumeId: first.volumeId, readOnly: true, complete: true, sessions: [] },
      ]);
    },
  },

  'export-missing-device': {
    verb: 'export',
    contract: 'Publishes an access. Settles when an initiator can log in.',
    demand: 'exporting a device that is not there fails and leaves nothing',
    run: async (bench) => {
      const device = await bench.volumes.create(MiB);
      const request = await bench.request({ device: { ...device, path: `${device.path}-missing` } });
      await assert.rejects(bench.transport.export(request, plainCall));
      assert.deepEqual(await bench.list(), []);
    },
  },

  'export-aborted': {
    verb: 'export',
    contract:
      'Aborts when the work is cancelled or out of time; the callee stops soon and leaves nothing half-made that a repeat would trip over.',
    demand: 'an export that is aborted before it begins does nothing',
    run: async (bench) => {
      const request = await bench.request();
      const signal = AbortSignal.abort(new Error('aborted by the conformance suite'));
      await assert.rejects(bench.transport.export(request, { ...plainCall, signal }));
      assert.deepEqual(await bench.list(), []);
    },
  },

  'info-from-request': {
    verb: 'connectionInfo',
    contract: 'What the client of this access needs; made from the arguments alone.',
    demand: 'connectionInfo follows from the request alone',
    run: async (bench) => {
      const request = await bench.request();
      const before = bench.transport.connectionInfo(request);
      await bench.transport.export(request, plainCall);
      assert.deepEqual(bench.transport.connectionInfo(request), before);
      await bench.transport.unexport(request.accessId, plainCall);
      assert.deepEqual(bench.transport.connectionInfo({ ...request }), before);
      assert.deepEqual(JSON.parse(JSON.stringify(before)), before);
    },
  },

  'info-complete': {
    verb: 'connectionInfo',
    contract: "What a client needs to reach an access, in the shape that Cinder's clients and os-brick understand.",
    demand: 'connectionInfo has what a client needs',
    run: async (bench) => {
      const request = await bench.export();
      const info = bench.transport.connectionInfo(request);
      assert(info.driverVolumeType.length > 0);
      if (info.driverVolumeType !== 'iscsi') return;
      // What os-brick reads (Block Storage API v3, os-initialize_connection).
      const { data } = info;
      assert.match(String(data['target_iqn']), /^(iqn\.\d{4}-\d{2}\.|eui\.|naa\.)\S{1,223}$/);
      assert.match(String(data['target_portal']), /^(\[[0-9a-f:.]+\]|[^:\s]+):\d{1,5}$/);
      assert(Number.isInteger(data['target_lun']), 'target_lun is a number');
      assert.equal(typeof data['target_discovered'], 'boolean');
      assert.equal(data['volume_id'], request.volumeId);
      assert.equal(data['auth_method'], 'CHAP');
      assert(typeof data['auth_username'] === 'string' && data['auth_username'].length > 0, 'auth_username');
      assert.equal(data['auth_password'], request.secret);
    },
  },

  'info-target-own': {
    verb: 'connectionInfo',
    contract: "The target's name is made from it and never used again.",
    demand: 'no two accesses share a target, not even to one volume',
    run: async (bench) => {
      const first = await bench.export();
      const second = await bench.exportAgain(first, { secret: first.secret });
      const [a, b] = [first, second].map((request) => bench.transport.connectionInfo(request));
      assert.notDeepEqual(a, b);
      if (a?.driverVolumeType === 'iscsi') assert.notEqual(a.data['target_iqn'], b?.data['target_iqn']);
    },
  },

  'secret-not-told': {
    verb: 'list',
    contract: 'CHAP secret of this access, never logged nor stored.',
    demand: 'the secret is in nothing that may be logged',
    run: async (bench) => {
      const request = await bench.export();
      assert(!JSON.stringify(await bench.list()).includes(request.secret), 'list tells the secret');
      assert(!JSON.stringify(await bench.transport.stats(plainCall)).includes(request.secret), 'stats tells the secret');
    },
  },

  'resize-unknown': {
    verb: 'resize',
    contract: 'Makes initiators see a new size. Does nothing for a volume that is not exported.',
    demand: 'resize of a volume that is not exported does nothing',
    run: async (bench) => {
      await bench.transport.resize(systemRandom.uuid(), plainCall);
    },
  },

  'stop-ends-all': {
    verb: 'stop',
    contract: 'Ends all exports and lets go of what {@link start} took.',
    demand: 'stop ends all exports, and may be repeated',
    run: async (bench) => {
      await bench.export();
      await bench.transport.stop();
      await bench.transport.stop();
      await bench.transport.start(plainCall);
      assert.deepEqual(await bench.list(), []);
    },
  },
};
