import assert from 'node:assert/strict';
import { limitedQuantities, ScoriaError, systemClock, type IoLimits, type LimitSupport } from '@scoria/core';
import { assertPattern, pattern } from '../pattern.ts';
import { plainCall, type TransportBench } from './transport-bench.ts';
import type { TransportChecks } from './transport-check.ts';
import type { Connection } from './transport-under-test.ts';

// No check knows how fast a machine is. What is limited must take half of the time that the limit makes of it, which no
// machine shortens; what is not must end within one in which the limit would let pass a tenth of it.

/** Bytes of an operation where operations are counted. */
const block = 4096;
const perSecond = 5;
const slow: IoLimits = { writeOperations: { perSecond, burst: 1 } };
/** Operations that a check waits for: {@link slow} spreads them over 800 ms. */
const few = 5;

/** Bytes of an operation where bytes are counted. */
const piece = 131_072;
const pieces = 8;
/** Makes all pieces together take ten times what is soon. */
const stalling = (bench: TransportBench): IoLimits => ({
  writeBytes: { perSecond: (piece * pieces * 1000) / (10 * bench.soon), burst: block },
});

/** Capability `limit`: volumes that are held to a rate of I/O. */
export const limitChecks: TransportChecks = {
  'limit-export': {
    verb: 'export',
    contract: 'What the volume is held to from here on, all its accesses together; absent, it is not limited.',
    demand: 'an export with limits holds the volume to them from the first command on',
    run: async (bench) => {
      const client = await bench.connect(await bench.export({ limits: slow }));
      await assertHeld('writes', few, () => writes(client, few));
      await assertPattern(client, 1, 0, few * block, 'what was written');
    },
  },

  'limit-absent': {
    verb: 'export',
    contract: 'What the volume is held to from here on, all its accesses together; absent, it is not limited.',
    demand: 'another access without limits lifts those of the volume, and an export after the last access has ended has none',
    run: async (bench) => {
      const first = await bench.export({ limits: stalling(bench) });
      const client = await bench.connect(first);
      const second = await bench.exportAgain(first);
      await assertFree(bench, 'writes after an export without limits', client);
      const third = await bench.exportAgain(first, { limits: stalling(bench) });
      for (const { accessId } of [first, second, third]) await bench.transport.unexport(accessId, plainCall);
      const again = await bench.connect(await bench.exportAgain(first));
      await assertFree(bench, 'writes of an access made later', again);
    },
  },

  'limit-export-again': {
    verb: 'export',
    contract: 'What the volume is held to from here on, all its accesses together; absent, it is not limited.',
    demand: 'an export asked for again with other limits changes them',
    run: async (bench) => {
      const request = await bench.export({ limits: stalling(bench) });
      const client = await bench.connect(request);
      const { written } = await queued(bench, client, pieces, piece);
      await bench.transport.export({ ...request, limits: undefined }, plainCall);
      await bench.settles('writes that waited for the limits', written);
      await bench.transport.export({ ...request, limits: slow }, plainCall);
      await assertHeld('writes', few, () => writes(client, few));
    },
  },

  'limit-live': {
    verb: 'limit',
    contract: 'Changes what a volume is held to, also while hosts use it',
    demand: 'limits given to a volume in use hold, also for sessions that are logged in',
    run: async (bench) => {
      const request = await bench.export();
      const client = await bench.connect(request);
      await assertFree(bench, 'writes without limits', client);
      await limitOf(bench).limit(request.volumeId, slow, plainCall);
      await assertHeld('writes', few, () => writes(client, few));
    },
  },

  'limit-lifted': {
    verb: 'limit',
    contract: '`null` lifts them.',
    demand: 'lifted limits hold nobody, and let go on what waited for them',
    run: async (bench) => {
      const request = await bench.export({ limits: stalling(bench) });
      const client = await bench.connect(request);
      const { written } = await queued(bench, client, pieces, piece);
      await limitOf(bench).limit(request.volumeId, null, plainCall);
      await bench.settles('writes that waited', written);
      await assertFree(bench, 'writes after the limits were lifted', client);
    },
  },

  'limit-waiting': {
    verb: 'limit',
    contract: 'commands that wait go on by the new limits.',
    demand: 'what waits for a low limit goes on as soon as there is a higher one',
    run: async (bench) => {
      const request = await bench.export({ limits: stalling(bench) });
      const client = await bench.connect(request);
      const { written } = await queued(bench, client, pieces, piece);
      const high: IoLimits = { writeOperations: { perSecond: 10_000, burst: 1_000 } };
      await limitOf(bench).limit(request.volumeId, high, plainCall);
      await bench.settles('writes that waited', written);
    },
  },

  'limit-shared': {
    verb: 'export',
    contract: 'How much I/O a volume may do, all its accesses together.',
    demand: 'accesses of one volume share what it may do, also those that come later',
    run: async (bench) => {
      const first = await bench.export({ limits: slow });
      const clients = [await bench.connect(first)];
      while (clients.length < 3) clients.push(await bench.connect(await bench.exportAgain(first, { limits: slow })));
      await assertHeld('two writes by each of three accesses', 6, () => Promise.all(clients.map((client) => writes(client, 2))));
    },
  },

  'limit-one-volume': {
    verb: 'limit',
    contract: 'No volume waits for the limits of another.',
    demand: 'a volume goes on while another one waits for its limits',
    run: async (bench) => {
      const limited = await bench.export({ limits: stalling(bench) });
      const [slowed, free] = [await bench.connect(limited), await bench.connect(await bench.export())];
      const { written } = await queued(bench, slowed, pieces, piece);
      await assertFree(bench, 'writes to another volume', free);
      await limitOf(bench).limit(limited.volumeId, stalling(bench), plainCall);
      await assertFree(bench, 'writes to another volume after a limit', free);
      await limitOf(bench).limit(limited.volumeId, null, plainCall);
      await bench.settles('writes that waited', written);
    },
  },

  'limit-directions': {
    verb: 'limit',
    contract: 'What is absent is not limited.',
    demand: 'reads go on while writes wait for a limit of theirs',
    run: async (bench) => {
      const request = await bench.export({ limits: stalling(bench) });
      const client = await bench.connect(request);
      const { written } = await queued(bench, client, pieces, piece);
      await bench.settles('reads', reads(client, few));
      await limitOf(bench).limit(request.volumeId, null, plainCall);
      await bench.settles('writes that waited', written);
    },
  },

  'limit-repeated': {
    verb: 'limit',
    contract: 'May be repeated: the same limits, given by this verb or by an export, bring no new burst.',
    demand: 'limits outlive an export that is asked for again, and one that is given again is the same limit',
    run: async (bench) => {
      const request = await bench.export({ limits: slow });
      const client = await bench.connect(request);
      for (const repeat of [
        () => bench.transport.export(request, plainCall),
        () => limitOf(bench).limit(request.volumeId, slow, plainCall),
      ]) {
        await assertHeld('writes between repeats', few, async () => {
          for (let count = 0; count < few; count++) {
            await repeat();
            await writes(client, 1);
          }
        });
      }
    },
  },

  'limit-quantities': {
    verb: 'limit',
    contract: 'A limit that the transport cannot keep is refused with `not-supported`',
    demand: 'each quantity that can be limited is kept or refused',
    run: async (bench) => {
      const kept = await Promise.all(
        [...limitedQuantities, 'operationSize' as const].map(async (quantity) => {
          const request = await bench.request({ limits: limitsOf(quantity) });
          try {
            await bench.transport.export(request, plainCall);
          } catch (error) {
            if (ScoriaError.from(error).code === 'not-supported') return false;
            throw error;
          }
          const client = await bench.connect(request);
          await assertHeld(quantity, ...operationsOf(client, quantity));
          return true;
        }),
      );
      assert(kept.includes(true), 'the transport is declared to limit and refuses every limit');
    },
  },

  'limit-unknown': {
    verb: 'limit',
    contract: 'Does nothing for a volume that is not exported.',
    demand: 'limits for what is not exported are no error, and are not remembered',
    run: async (bench) => {
      const request = await bench.request();
      await limitOf(bench).limit(request.volumeId, null, plainCall);
      await limitOf(bench).limit(request.volumeId, stalling(bench), plainCall);
      await bench.transport.export(request, plainCall);
      await assertFree(bench, 'writes', await bench.connect(request));
    },
  },

  'limit-aborted': {
    verb: 'limit',
    contract: 'Aborts when the work is cancelled or out of time; the callee stops soon',
    demand: 'limits whose call is aborted before it begins are not set, and those that hold stay',
    run: async (bench) => {
      const aborted = { ...plainCall, signal: AbortSignal.abort(new Error('aborted by the conformance suite')) };
      const free = await bench.export();
      await assert.rejects(limitOf(bench).limit(free.volumeId, stalling(bench), aborted));
      await assertFree(bench, 'writes', await bench.connect(free));
      const limited = await bench.export({ limits: slow });
      await assert.rejects(limitOf(bench).limit(limited.volumeId, null, aborted));
      const client = await bench.connect(limited);
      await assertHeld('writes', few, () => writes(client, few));
    },
  },

  'limit-unexport': {
    verb: 'unexport',
    contract: 'Ends an access. Settles only when no write of any of its sessions can still reach the device.',
    demand: 'what waits for limits when its access ends is never written',
    run: async (bench) => {
      const request = await bench.export({ limits: slow });
      const stays = await bench.connect(await bench.exportAgain(request, { limits: slow }));
      const client = await bench.connect(request);
      const { written } = await queued(bench, client, few, block);
      await bench.transport.unexport(request.accessId, plainCall);
      const device = await bench.open(request.device, true);
      const [after, later] = [Buffer.alloc(few * block), Buffer.alloc(few * block)];
      await device.read(after, 0);
      // Lets go on whatever still waits.
      await limitOf(bench).limit(request.volumeId, null, plainCall);
      await Promise.allSettled([written]);
      await stays.write(pattern(2, few * block, block), few * block);
      await stays.flush();
      await device.read(later, 0);
      assert(after.equals(later), 'a write that waited reached the volume after unexport had settled');
    },
  },
};

function limitOf({ transport }: TransportBench): LimitSupport {
  const { limit } = transport;
  assert(limit, 'the transport is declared to limit and has no such verb');
  return { limit: (volumeId, limits, call) => limit.call(transport, volumeId, limits, call) };
}

/** Writes from the beginning of the volume on, one operation after the other. */
async function writes(client: Connection, count: number, size = block): Promise<void> {
  for (let index = 0; index < count; index++) await client.write(pattern(1, index * size, size), index * size);
}

/** Writes the same at the same time. Settles when the target has the commands; those that limits hold back wait there. */
async function queued(
  bench: TransportBench,
  client: Connection,
  count: number,
  size: number,
): Promise<{ readonly written: Promise<unknown> }> {
  const all = Array.from({ length: count }, (_, index) => client.write(pattern(1, index * size, size), index * size));
  const written = Promise.all(all);
  // Who waits for it is told; until then a failure of the check is what counts.
  written.catch(() => {});
  await bench.settles('a read that came after writes', reads(client, 1));
  return { written };
}

async function reads(client: Connection, count: number): Promise<void> {
  for (let index = 0; index < count; index++) await client.read(new Uint8Array(block), index * block);
}

type Measured = (typeof limitedQuantities)[number] | 'operationSize';

/** Limits by one quantity, the same for operations of a block each. */
function limitsOf(quantity: Measured): IoLimits {
  if (quantity === 'operationSize') return { ...slow, operationSize: block };
  const unit = quantity.endsWith('Bytes') ? block : 1;
  return { [quantity]: { perSecond: perSecond * unit, burst: unit } };
}

/** How many operations of a block, and what does them; for a total, as many again of the other direction. */
function operationsOf(client: Connection, quantity: Measured): [number, () => Promise<void>] {
  if (quantity.startsWith('read')) return [few, () => reads(client, few)];
  if (quantity.startsWith('write')) return [few, () => writes(client, few)];
  // The first write takes what is there, and leaves a debt of all its blocks but one.
  if (quantity === 'operationSize')
    return [few + 1, () => client.write(pattern(1, 0, few * block), 0).then(() => writes(client, 1))];
  return [2 * few, () => Promise.all([reads(client, few), writes(client, few)]).then(() => {})];
}

/** Fails when operations of a block that share a limit of {@link perSecond} took less than half of the time that it makes of them. */
async function assertHeld(what: string, count: number, work: () => Promise<unknown>): Promise<void> {
  const begin = systemClock.monotonic();
  await work();
  const took = Math.round(systemClock.monotonic() - begin);
  const shortest = (500 * (count - 1)) / perSecond;
  assert(took >= shortest, `${what}: ${count} of them took ${took} ms, and the limit is ${perSecond} a second`);
}

/** Fails when writes take as long as limits would make them. */
async function assertFree(bench: TransportBench, what: string, client: Connection): Promise<void> {
  await bench.settles(what, writes(client, pieces, piece));
}
