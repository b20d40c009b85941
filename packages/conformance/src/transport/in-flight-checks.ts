import assert from 'node:assert/strict';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { plainCall } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';

const MiB = 1024 * 1024;

/** Clients while the transport copies, restarts, and serves others. */
export const inFlightChecks: TransportChecks = {
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
