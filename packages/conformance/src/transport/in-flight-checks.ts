import assert from 'node:assert/strict';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { assertMoment, writeRounds } from '../rounds.ts';
import { exportedSize, plainCall } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';

const MiB = 1024 * 1024;

/** Clients while the transport copies, restarts, and serves others. */
export const inFlightChecks: TransportChecks = {
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
      await writeRounds(client, size, () => bench.transport.copy(request.volumeId, request.device, target, plainCall));
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
      const copy = bench.transport.copy(request.volumeId, request.device, target, plainCall);
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

  'session-apart': {
    verb: 'export',
    contract: 'One access to publish: a volume for one initiator host.',
    demand: 'sessions of different volumes do not mix, also when they are made and used at the same time',
    run: async (bench) => {
      const requests = await Promise.all(Array.from({ length: 4 }, () => bench.export()));
      const clients = await Promise.all(requests.map((request) => bench.connect(request)));
      await Promise.all(clients.map((client, index) => writePattern(client, index + 1, 0, 2 * MiB)));
      await Promise.all(clients.map((client, index) => assertPattern(client, index + 1, 0, 2 * MiB, `volume ${index}`)));
      await Promise.all(clients.map((client) => client.flush()));
      for (const [index, { device }] of requests.entries()) {
        await assertPattern(await bench.open(device, true), index + 1, 0, 2 * MiB, `volume ${index}`);
      }
    },
  },

  'restart-content': {
    verb: 'stop',
    contract: 'Ends all exports and lets go of what {@link start} took.',
    demand: 'stop ends sessions; after a restart and export the client finds what it flushed',
    run: async (bench) => {
      const request = await bench.export();
      const client = await bench.connect(request);
      await writePattern(client, 1, 0, MiB);
      await client.flush();
      await bench.restart();
      await assert.rejects(client.write(pattern(2, 0, 4096), 0), 'a session outlived stop');
      await bench.transport.export(request, plainCall);
      const again = await bench.connect(request);
      await assertPattern(again, 1, 0, MiB, 'what was flushed');
    },
  },

  'hold-one-volume': {
    verb: 'hold',
    contract: 'Holds back writes to an exported volume',
    demand: 'a hold of one volume lets writes to others pass',
    run: async (bench) => {
      const [held, free] = [await bench.export(), await bench.export()];
      const client = await bench.connect(free);
      const token = await bench.transport.hold(held.volumeId, 30_000, plainCall);
      assert(token);
      await bench.settles('a write to another volume', client.write(pattern(1, 0, 4096), 0));
      assert.deepEqual(await bench.transport.release(token, plainCall), { held: true });
    },
  },

  'login-not-logged': {
    verb: 'export',
    contract: 'CHAP secret of this access, never logged nor stored.',
    demand: 'neither the right nor a wrong secret of a login is in the log',
    run: async (bench) => {
      const request = await bench.export();
      const wrong = 'another-secret-77';
      await assert.rejects(bench.connect({ ...request, secret: wrong }));
      const client = await bench.connect(request);
      await writePattern(client, 1, 0, 4096);
      await bench.transport.unexport(request.accessId, plainCall);
      const log = bench.logged.join('\n');
      assert(!log.includes(request.secret), 'the log tells the secret');
      assert(!log.includes(wrong), 'the log tells a wrong secret');
    },
  },
};
