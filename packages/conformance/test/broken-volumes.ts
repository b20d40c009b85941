import { ScoriaError, type Created, type PluginCall } from '@scoria/core';
import { contentOf, deaf, turns, type BrokenDriver } from './broken-driver.ts';

/** Drivers whose backend, volumes or figures are not what they say. */
export const brokenVolumes: readonly BrokenDriver[] = [
  {
    name: 'the backend gets a new id with every driver',
    caughtBy: ['check-id-stable'],
    wrap: (sound, { context }) => {
      const backendId = context.random.uuid();
      return { check: async (call) => ({ ...(await sound.check(call)), backendId }) };
    },
  },
  {
    name: 'a backend of another installation is taken over',
    caughtBy: ['check-foreign'],
    wrap: (sound, { backend, context }) => ({
      check: async (call) => {
        backend.installationId = context.installationId;
        return sound.check(call);
      },
    }),
  },
  {
    name: 'check and pools do not look at their signal',
    caughtBy: ['check-aborted'],
    wrap: (sound) => ({ check: (call) => sound.check(deaf(call)), pools: (call) => sound.pools(deaf(call)) }),
  },
  {
    name: 'the configuration is logged with its password',
    caughtBy: ['secrets-not-logged'],
    config: { password: 'correct horse battery' },
    wrap: (sound, { context }) => ({
      check: (call) => {
        context.log.info({ config: context.config }, 'looking at the backend');
        return sound.check(call);
      },
    }),
  },
  {
    name: 'more is free than there is',
    caughtBy: ['pools-sound'],
    wrap: (sound) => ({ pools: async (call) => (await sound.pools(call)).map((pool) => ({ ...pool, free: pool.total + 1 })) }),
  },
  {
    name: 'a pool that can be used has a fault',
    caughtBy: ['pools-sound'],
    wrap: (sound) => {
      const fault = new ScoriaError('backend-unavailable', 'The array has been rebooting for a week');
      return { pools: async (call) => (await sound.pools(call)).map((pool) => ({ ...pool, fault })) };
    },
  },
  {
    name: 'free is what was free at the start',
    caughtBy: ['pools-free-taken'],
    wrap: (sound) => ({ pools: async (call) => (await sound.pools(call)).map((pool) => ({ ...pool, free: pool.total })) }),
  },
  {
    name: 'a thin pool is called thick',
    caughtBy: ['pools-thin'],
    wrap: (sound) => ({
      pools: async (call) => (await sound.pools(call)).map((pool) => ({ ...pool, thin: false, maxOverSubscription: 1 })),
    }),
  },
  {
    name: 'no space is told as any other failure',
    caughtBy: ['create-no-space'],
    thick: true,
    wrap: (sound) => ({
      create: (request, call) =>
        sound.create(request, call).catch((error: unknown) => {
          throw new ScoriaError('backend-failed', 'lvcreate ended with 5', { cause: error });
        }),
    }),
  },
  {
    name: 'an extend that does not fit throws what the system said',
    caughtBy: ['extend-no-space'],
    thick: true,
    wrap: (sound) => ({
      extend: (volume, size, call) =>
        sound.extend(volume, size, call).catch(() => {
          throw new Error('ENOSPC: no space left on device');
        }),
    }),
  },
  {
    name: 'used bytes are the size',
    caughtBy: ['list-used-bytes'],
    wrap: (sound) => ({
      list: async function* (call) {
        for await (const object of sound.list(call)) yield { ...object, usedBytes: object.size };
      },
    }),
  },
  {
    name: 'every object is listed as a volume',
    caughtBy: ['list-complete'],
    wrap: (sound) => ({
      list: async function* (call) {
        for await (const object of sound.list(call)) yield { ...object, kind: 'volume' };
      },
    }),
  },
  {
    name: 'what lies beside our volumes is listed too',
    caughtBy: ['list-empty'],
    wrap: (sound, { context }) => ({
      list: async function* (call) {
        const placementId = context.random.uuid();
        yield { placementId, kind: 'volume', pool: 'pool', backendRef: 'lost+found', size: 512, usedBytes: 0 };
        yield* sound.list(call);
      },
    }),
  },
  {
    name: 'volumes lie in the first pool whatever was asked',
    caughtBy: ['list-pools'],
    pools: ['slow', 'fast'],
    wrap: (sound) => ({ create: (request, call) => sound.create({ ...request, pool: 'slow' }, call) }),
  },
  {
    name: 'a reference is longer than anyone keeps',
    caughtBy: ['create-reference'],
    wrap: (sound) => ({
      create: async (request, call) => ({ ...(await sound.create(request, call)), backendRef: 'x'.repeat(2000) }),
    }),
  },
  {
    name: 'a new volume is not zeroed',
    caughtBy: ['create-zeroes'],
    wrap: (sound, { at }) => ({
      create: async (request, call) => {
        const known = at(request) !== undefined;
        const created = await sound.create(request, call);
        if (!known) at(request)?.write(new Uint8Array(512).fill(0xe5), created.size - 512);
        return created;
      },
    }),
  },
  {
    name: 'odd sizes are rounded down',
    caughtBy: ['create-size'],
    wrap: (sound) => ({
      create: (request, call) => sound.create({ ...request, size: request.size - (request.size % 512) }, call),
    }),
  },
  {
    name: 'create wipes what is there',
    caughtBy: ['create-repeated', 'lost-create'],
    wrap: (sound) => ({
      create: async (request, call) => {
        await sound.delete(request, call);
        return sound.create(request, call);
      },
    }),
  },
  {
    name: 'create fails when it is repeated',
    caughtBy: ['lost-create', 'create-repeated', 'race-create'],
    wrap: (sound, { at }) => ({
      create: async (request, call) => {
        if (at(request)) throw new ScoriaError('conflict', 'it is there already');
        return sound.create(request, call);
      },
    }),
  },
  {
    name: 'all volumes open as the first one',
    caughtBy: ['create-apart'],
    wrap: (sound, { backend }) => ({
      locate: async (object, call) => {
        const [first = object.placementId] = backend.objects.keys();
        return sound.locate({ ...object, placementId: first, backendRef: null }, call);
      },
    }),
  },
  {
    name: 'there is one slot for the create under way',
    caughtBy: ['create-many-at-once'],
    wrap: (sound) => {
      let underWay: Parameters<typeof sound.create>[0];
      return {
        create: async (request, call) => {
          underWay = request;
          await turns(1);
          return sound.create(underWay, call);
        },
      };
    },
  },
  {
    name: 'locate makes a path of whatever it is asked for',
    caughtBy: ['locate-missing'],
    wrap: (_sound, { backend }) => ({
      locate: async (object) => ({ kind: 'memory', path: `${backend.backendId}/${object.placementId}`, blockSize: 512 }),
    }),
  },
  {
    name: 'extend of nothing succeeds',
    caughtBy: ['extend-missing'],
    wrap: (sound, { at }) => ({
      extend: async (volume, size, call) => (at(volume) ? sound.extend(volume, size, call) : { size }),
    }),
  },
  {
    name: 'the new part of an extended volume is not zeroed',
    caughtBy: ['extend-content'],
    wrap: (sound, { at }) => ({
      extend: async (volume, size, call) => {
        const before = at(volume)?.size ?? size;
        const extended = await sound.extend(volume, size, call);
        if (extended.size > before) at(volume)?.write(new Uint8Array(512).fill(0xe5), before);
        return extended;
      },
    }),
  },
  {
    name: 'extend tells the size that was asked for, not the real one',
    caughtBy: ['extend-smaller'],
    wrap: (sound) => ({
      extend: async (volume, size, call) => {
        await sound.extend(volume, size, call);
        return { size };
      },
    }),
  },
  {
    name: 'extend adds the difference to what is there',
    caughtBy: ['lost-extend'],
    wrap: (sound, { at }) => ({
      extend: async (volume, size, call) => sound.extend(volume, (at(volume)?.size ?? 0) + (size - volume.size), call),
    }),
  },
  {
    name: 'delete of what is gone fails',
    caughtBy: ['race-delete', 'delete-repeated', 'lost-delete'],
    wrap: (sound) => ({
      delete: async (volume, call) => {
        await sound.locate(volume, call);
        await sound.delete(volume, call);
      },
    }),
  },
  {
    name: 'delete removes everything in the pool',
    caughtBy: ['delete-repeated'],
    wrap: (sound, { backend }) => ({
      delete: async (volume, call) => {
        await sound.delete(volume, call);
        backend.objects.clear();
      },
    }),
  },
  {
    name: 'progress goes back',
    caughtBy: ['delete-progress'],
    wrap: (sound) => ({
      delete: async (volume, call) => {
        call.progress(512, 1024);
        call.progress(0, 1024);
        await sound.delete(volume, call);
      },
    }),
  },
  {
    name: 'a new volume holds the bytes of a deleted one',
    caughtBy: ['delete-bytes-created'],
    wrap: (sound, { at }) => {
      let garbage: Uint8Array | undefined;
      return {
        delete: async (volume, call) => {
          const object = at(volume);
          if (object) garbage = contentOf(object);
          await sound.delete(volume, call);
        },
        create: async (request, call) => filledWith(garbage, await sound.create(request, call), at(request)),
      };
    },
  },
  {
    name: 'an extended volume holds the bytes of a deleted one',
    caughtBy: ['delete-bytes-extended'],
    wrap: (sound, { at }) => {
      let garbage: Uint8Array | undefined;
      return {
        delete: async (volume, call) => {
          const object = at(volume);
          if (object) garbage = contentOf(object);
          await sound.delete(volume, call);
        },
        extend: async (volume, size, call) => {
          const extended = await sound.extend(volume, size, call);
          if (garbage) at(volume)?.write(garbage.subarray(0, 65_536), extended.size - 65_536);
          return extended;
        },
      };
    },
  },
  {
    name: 'a new volume holds the bytes of a deleted snapshot',
    caughtBy: ['delete-bytes-snapshot'],
    wrap: (sound, { at }) => {
      let garbage: Uint8Array | undefined;
      return {
        deleteSnapshot: async (snapshot: Parameters<typeof sound.deleteSnapshot>[0], call: PluginCall) => {
          const object = at(snapshot);
          if (object) garbage = contentOf(object);
          await sound.deleteSnapshot(snapshot, call);
        },
        create: async (request, call) => filledWith(garbage, await sound.create(request, call), at(request)),
      };
    },
  },
];

function filledWith(
  garbage: Uint8Array | undefined,
  created: Created,
  object: { write(data: Uint8Array, offset: number): void } | undefined,
): Created {
  if (garbage?.byteLength === created.size) object?.write(garbage, 0);
  return created;
}
