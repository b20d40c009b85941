import assert from 'node:assert/strict';
import { systemClock } from '@scoria/core';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { exportedSize, plainCall } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';

const MiB = 1024 * 1024;

/** What a client sees. */
export const sessionChecks: TransportChecks = {
  'session-content': {
    verb: 'export',
    contract: 'Publishes an access. Settles when an initiator can log in.',
    demand: 'a client reads what it wrote, and a flush puts it on the volume',
    run: async (bench) => {
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
  },

  'session-serial': {
    verb: 'export',
    contract: 'UUID; the SCSI serial. All accesses of one volume share one logical unit.',
    demand: 'the serial number is the id of the volume',
    run: async (bench) => {
      const first = await bench.export();
      const second = await bench.exportAgain(first);
      for (const request of [first, second]) {
        const { serial } = await bench.connect(request);
        if (serial !== undefined) assert.equal(serial, first.volumeId);
      }
    },
  },

  'complete-true': {
    verb: 'list',
    contract: 'Whether all of it is there, so that its host can log in and reach the volume.',
    demand: 'a client can log in to what is listed as complete, also after an export that was aborted',
    run: async (bench) => {
      for (const turns of [0, 1, 2, 4, 8]) {
        const request = await bench.request();
        await bench.interrupt((call) => bench.transport.export(request, call), turns);
        for (const { complete } of await bench.list()) if (complete) await bench.close(await bench.connect(request));
        await bench.transport.unexport(request.accessId, plainCall);
      }
    },
  },

  'session-listed': {
    verb: 'list',
    contract: 'Initiator names of the sessions that are logged in.',
    demand: 'a session is listed while it lasts',
    run: async (bench) => {
      const request = await bench.export();
      const sessions = async () => (await bench.list())[0]?.sessions.length;
      const client = await bench.connect(request);
      await bench.until('the session is listed', async () => (await sessions()) === 1);
      await bench.close(client);
      await bench.until('the session is gone', async () => (await sessions()) === 0);
    },
  },

  'session-survives-repeat': {
    verb: 'export',
    contract: 'Every verb may be repeated.',
    demand: 'an export asked for again leaves its session alone',
    run: async (bench) => {
      const request = await bench.export();
      const client = await bench.connect(request);
      await writePattern(client, 1, 0, MiB);
      await bench.transport.export(request, plainCall);
      await assertPattern(client, 1, 0, MiB, 'after the repeat');
    },
  },

  'secret-changed': {
    verb: 'export',
    contract: 'CHAP secret of this access, never logged nor stored.',
    demand: 'an access asked for again with another secret takes that, and refuses the one before',
    run: async (bench) => {
      const request = await bench.export();
      const other = { ...request, secret: `${request.secret}x` };
      await bench.transport.export(other, plainCall);
      await assert.rejects(bench.connect(request));
      await bench.connect(other);
    },
  },

  'secret-wrong': {
    verb: 'export',
    contract: 'CHAP secret of this access, never logged nor stored.',
    demand: 'a wrong secret is refused',
    run: async (bench) => {
      const request = await bench.export();
      await assert.rejects(bench.connect({ ...request, secret: 'not-the-secret-1' }));
      await bench.connect(request);
    },
  },

  'secret-other': {
    verb: 'export',
    contract: 'One access to publish: a volume for one initiator host.',
    demand: 'the secret of one access does not open another',
    run: async (bench) => {
      const first = await bench.export();
      const second = await bench.exportAgain(first);
      await assert.rejects(bench.connect({ ...second, secret: first.secret }));
    },
  },

  'session-read-only': {
    verb: 'export',
    contract: 'readonly readOnly: boolean;',
    demand: 'a read-only access reads and does not write',
    run: async (bench) => {
      const request = await bench.export({ readOnly: true });
      const client = await bench.connect(request);
      await assertPattern(client, 0, 0, MiB, 'the volume');
      await assert.rejects(client.write(pattern(1, 0, 4096), 0));
      const device = await bench.open(request.device, true);
      await assertPattern(device, 0, 0, MiB, 'the volume');
    },
  },

  'session-shared-unit': {
    verb: 'export',
    contract: 'UUID; the SCSI serial. All accesses of one volume share one logical unit.',
    demand: 'accesses of one volume see what each other writes',
    run: async (bench) => {
      const first = await bench.export();
      const second = await bench.exportAgain(first);
      const [a, b] = [await bench.connect(first), await bench.connect(second)];
      await writePattern(a, 1, 0, MiB);
      await assertPattern(b, 1, 0, MiB, 'seen by the other');
      await writePattern(b, 2, 0, MiB);
      await assertPattern(a, 2, 0, MiB, 'seen by the other');
    },
  },

  'unexport-fences': {
    verb: 'unexport',
    contract: 'Ends an access. Settles only when no write of any of its sessions can still reach the device.',
    demand: 'after unexport nothing is written any more, and the old secret is refused',
    run: async (bench) => {
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
  },

  'unexport-final': {
    verb: 'unexport',
    contract: "The target's name is made from it and never used again.",
    demand: 'an access of the same volume made later does not revive the old session',
    run: async (bench) => {
      const request = await bench.export();
      const client = await bench.connect(request);
      await bench.transport.unexport(request.accessId, plainCall);
      await bench.exportAgain(request);
      await assert.rejects(client.write(pattern(1, 0, 4096), 0));
      const device = await bench.open(request.device, true);
      await assertPattern(device, 0, 0, MiB, 'the volume');
    },
  },

  'resize-seen': {
    verb: 'resize',
    contract: 'Makes initiators see a new size. Does nothing for a volume that is not exported.',
    demand: 'resize makes the new size visible',
    run: async (bench) => {
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
  },

  'stats-count': {
    verb: 'stats',
    contract: "Counters of one volume's logical unit since it was first exported by the running target.",
    demand: 'stats count what went through',
    run: async (bench) => {
      const request = await bench.export();
      const client = await bench.connect(request);
      await writePattern(client, 1, 0, MiB);
      await assertPattern(client, 1, 0, MiB, 'the volume');
      const stats = (await bench.transport.stats(plainCall)).find(({ volumeId }) => volumeId === request.volumeId);
      assert(stats, 'the volume has no stats');
      assert(stats.writtenBytes >= MiB && stats.readBytes >= MiB, `${stats.writtenBytes} written, ${stats.readBytes} read`);
      assert(stats.writes > 0 && stats.reads > 0);
    },
  },
};
