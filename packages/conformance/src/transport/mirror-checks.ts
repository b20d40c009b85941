import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { systemRandom, type AnyTransport, type DeviceLocator, type ExportRequest, type MirrorSupport } from '@scoria/core';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { writeRounds } from '../rounds.ts';
import { exportedSize, plainCall, type TransportBench } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';

const MiB = 1024 * 1024;

/** Capability `mirror`: a volume that moves to another device while it is used. */
export const mirrorChecks: TransportChecks = {
  'mirror-both': {
    verb: 'mirror',
    contract: 'Copies a volume from `source` to `target` and writes to both from then on.',
    demand: 'after a mirror that began under writes both devices have the same content, and get what is written later',
    run: async (bench) => {
      const { request, target, verbs } = await prepare(bench);
      const client = await bench.connect(request);
      await writePattern(client, 1, 0, exportedSize);
      await writeRounds(client, exportedSize, () => verbs.mirror(request.volumeId, request.device, target, plainCall));
      await writePattern(client, 9, MiB, MiB);
      await client.flush();
      await assertSame(bench, request.device, target);
      await assertPattern(await bench.open(target, true), 9, MiB, MiB, 'the target');
    },
  },

  'mirror-repeated': {
    verb: 'mirror',
    contract: 'repeating it joins the copy under way.',
    demand: 'mirrors of one volume to one target at the same time, and once more, are one mirror',
    run: async (bench) => {
      const { request, target, verbs } = await prepare(bench);
      const client = await bench.connect(request);
      await writePattern(client, 1, 0, exportedSize);
      const mirror = () => verbs.mirror(request.volumeId, request.device, target, plainCall);
      await Promise.all([mirror(), mirror()]);
      await mirror();
      await verbs.commitMirror(request.volumeId, plainCall);
      await verbs.commitMirror(request.volumeId, plainCall);
      await writePattern(client, 2, 0, MiB);
      await client.flush();
      await assertSame(bench, request.device, target);
    },
  },

  'mirror-not-exported': {
    verb: 'mirror',
    contract: "Opens the volume's logical unit when it is not exported; exports that come and go meanwhile share it.",
    demand: 'a mirror of a volume that nobody uses takes part in what an export writes later',
    run: async (bench) => {
      const { verbs } = await prepare(bench);
      const request = await bench.request();
      const target = await bench.volumes.create(exportedSize);
      await verbs.mirror(request.volumeId, request.device, target, plainCall);
      assert.equal((await bench.list()).length, 1, 'a mirror exports nothing');
      await bench.transport.export(request, plainCall);
      const client = await bench.connect(request);
      await writePattern(client, 3, 0, MiB);
      await client.flush();
      await assertSame(bench, request.device, target);
      await assertPattern(await bench.open(target, true), 3, 0, MiB, 'the target');
    },
  },

  'mirror-target': {
    verb: 'endMirror',
    contract: 'Goes on with one device and closes the other; writes are held for a moment.',
    demand: 'ended for the target, the session goes on there and the source changes no more',
    run: async (bench) => {
      const { client, source, target } = await ended(bench, 'target');
      await writePattern(client, 5, 0, MiB);
      await client.flush();
      await assertPattern(target, 5, 0, MiB, 'the target');
      await assertPattern(source, 4, 0, MiB, 'the source');
      await assertPattern(client, 4, MiB, MiB, 'what was written before');
    },
  },

  'mirror-source': {
    verb: 'endMirror',
    contract: 'Goes on with one device and closes the other; writes are held for a moment.',
    demand: 'ended for the source, the session goes on there and the target changes no more',
    run: async (bench) => {
      const { client, source, target } = await ended(bench, 'source');
      await writePattern(client, 5, 0, MiB);
      await client.flush();
      await assertPattern(source, 5, 0, MiB, 'the source');
      await assertPattern(target, 4, 0, MiB, 'the target');
    },
  },

  'mirror-none': {
    verb: 'endMirror',
    contract: 'Succeeds when there is no mirror.',
    demand: 'ending a mirror that is not there succeeds, for volumes known and unknown',
    run: async (bench) => {
      const { request, verbs } = await prepare(bench);
      await verbs.endMirror(request.volumeId, 'source', plainCall);
      await verbs.endMirror(systemRandom.uuid(), 'source', plainCall);
      assert.equal((await bench.list()).length, 1);
    },
  },

  'mirror-commit-none': {
    verb: 'commitMirror',
    contract: 'From here on a write that either device refuses fails. `transport-failed` when there is no whole mirror.',
    demand: 'a mirror that is not there cannot be committed',
    run: async (bench) => {
      const { request, target, verbs } = await prepare(bench);
      const refused = { code: 'transport-failed' };
      await assert.rejects(verbs.commitMirror(request.volumeId, plainCall), refused);
      await verbs.mirror(request.volumeId, request.device, target, plainCall);
      await verbs.endMirror(request.volumeId, 'source', plainCall);
      await assert.rejects(verbs.commitMirror(request.volumeId, plainCall), refused);
    },
  },

  'mirror-failed': {
    verb: 'mirror',
    contract: 'When `target` fails, the mirror breaks, the volume goes on with `source` alone',
    demand: 'a mirror to what is not there fails; the session goes on',
    run: async (bench) => {
      const { request, target, verbs } = await prepare(bench);
      const client = await bench.connect(request);
      const missing = { ...target, path: `${target.path}-missing` };
      await assert.rejects(verbs.mirror(request.volumeId, request.device, missing, plainCall));
      await bench.settles('a write after the mirror failed', client.write(pattern(2, 0, 4096), 0));
      await assertPattern(client, 2, 0, 4096, 'the volume');
      await verbs.mirror(request.volumeId, request.device, target, plainCall);
    },
  },

  'mirror-aborted': {
    verb: 'mirror',
    contract: 'An abort ends the mirror.',
    demand: 'an aborted mirror ends soon, the session goes on, and it can be repeated',
    run: async (bench) => {
      const { request, target, verbs } = await prepare(bench);
      const client = await bench.connect(request);
      await writePattern(client, 1, 0, exportedSize);
      for (const turns of [0, 2]) {
        await bench.interrupt((call) => verbs.mirror(request.volumeId, request.device, target, call), turns);
        await bench.settles('a write after the abort', client.write(pattern(2, 0, 4096), 0));
        await setImmediate();
        await verbs.endMirror(request.volumeId, 'source', plainCall);
      }
      await verbs.mirror(request.volumeId, request.device, target, plainCall);
      await client.flush();
      await assertSame(bench, request.device, target);
    },
  },
};

/** An exported volume, a target of the same size, and the verbs. */
async function prepare(bench: TransportBench) {
  const request: ExportRequest = await bench.export();
  return { request, target: await bench.volumes.create(exportedSize), verbs: mirrorOf(bench.transport) };
}

/** A session whose volume went through a whole mirror, with 2 MiB of seed 4 on both devices. */
async function ended(bench: TransportBench, keep: 'source' | 'target') {
  const { request, target, verbs } = await prepare(bench);
  const client = await bench.connect(request);
  await verbs.mirror(request.volumeId, request.device, target, plainCall);
  await writePattern(client, 4, 0, 2 * MiB);
  await verbs.commitMirror(request.volumeId, plainCall);
  await verbs.endMirror(request.volumeId, keep, plainCall);
  await verbs.endMirror(request.volumeId, keep, plainCall);
  return { client, source: await bench.open(request.device, true), target: await bench.open(target, true) };
}

function mirrorOf(transport: AnyTransport): MirrorSupport {
  const { mirror, commitMirror, endMirror } = transport;
  assert(mirror && commitMirror && endMirror, 'the transport is declared to mirror and has no such verbs');
  return {
    mirror: (volumeId, source, target, call) => mirror.call(transport, volumeId, source, target, call),
    commitMirror: (volumeId, call) => commitMirror.call(transport, volumeId, call),
    endMirror: (volumeId, keep, call) => endMirror.call(transport, volumeId, keep, call),
  };
}

async function assertSame(bench: TransportBench, one: DeviceLocator, other: DeviceLocator): Promise<void> {
  const contents = await Promise.all(
    [one, other].map(async (locator) => {
      const device = await bench.open(locator, true);
      const content = Buffer.alloc(device.size);
      await device.read(content, 0);
      await bench.close(device);
      return content;
    }),
  );
  const [a, b] = contents;
  assert(a && b && a.equals(b), 'the devices of a mirror differ');
}
