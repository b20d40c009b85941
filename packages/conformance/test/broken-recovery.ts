import { ScoriaError, type BackendObject, type ListedObject } from '@scoria/core';
import { deaf, missing, turns, type BrokenDriver } from './broken-driver.ts';

/** Drivers that fall over when calls are raced, aborted, repeated or handed to another driver. */
export const brokenRecovery: readonly BrokenDriver[] = [
  {
    name: 'every create makes the volume larger',
    caughtBy: ['race-create', 'create-repeated'],
    wrap: (sound, { at }) => ({
      create: async (request, call) => {
        at(request)?.grow((at(request)?.size ?? 0) + 512);
        return { ...(await sound.create(request, call)), size: at(request)?.size ?? 0 };
      },
    }),
  },
  {
    name: 'delete settles before it is done',
    caughtBy: ['race-create-delete', 'delete-repeated'],
    wrap: (sound) => ({
      delete: async (volume, call) => {
        call.signal.throwIfAborted();
        void turns(2)
          .then(() => sound.delete(volume, deaf(call)))
          .catch(() => {});
      },
    }),
  },
  {
    name: 'extends at the same time share one variable',
    caughtBy: ['race-verbs'],
    wrap: (sound) => {
      let current: BackendObject;
      return {
        extend: async (volume, size, call) => {
          current = volume;
          await turns(1);
          return sound.extend(current, size, call);
        },
      };
    },
  },
  {
    name: 'the list goes by position while things move',
    caughtBy: ['list-while-changing'],
    wrap: (sound) => ({
      list: async function* (call) {
        for (let index = 0; ; index++) {
          const present: ListedObject[] = [];
          for await (const object of sound.list(call)) present.push(object);
          const object = present[index];
          if (!object) return;
          yield object;
        }
      },
    }),
  },
  {
    name: 'a list that is aborted ends as if it were whole',
    caughtBy: ['list-aborted'],
    wrap: (sound) => ({
      list: async function* (call) {
        for await (const object of sound.list(deaf(call))) {
          if (call.signal.aborted) return;
          yield object;
        }
      },
    }),
  },
  {
    name: 'create does not look at its signal',
    caughtBy: ['abort-before'],
    wrap: (sound) => ({ create: (request, call) => sound.create(request, deaf(call)) }),
  },
  {
    name: 'an abort leaves half a volume, over which the repeat trips',
    caughtBy: ['abort-repeat', 'abort-restart'],
    wrap: (sound, { at }) => ({
      create: async (request, call) => {
        if (at(request)) return sound.create(request, call);
        await sound.create({ ...request, size: request.size / 2 }, call);
        await turns(6);
        call.signal.throwIfAborted();
        return {
          ...(await sound.create({ ...request, size: request.size / 2 }, call)),
          ...(await sound.extend(request, request.size, call)),
        };
      },
    }),
  },
  {
    name: 'half a volume is finished only by the driver that began it',
    caughtBy: ['abort-restart'],
    wrap: (sound, { at }) => {
      const begun = new Set<string>();
      return {
        create: async (request, call) => {
          if (at(request) && !begun.has(request.placementId)) return sound.create(request, call);
          begun.add(request.placementId);
          if (!at(request)) await sound.create({ ...request, size: request.size / 2 }, call);
          await turns(6);
          call.signal.throwIfAborted();
          const { size } = await sound.extend(request, request.size, call);
          return { backendRef: request.placementId, size };
        },
      };
    },
  },
  {
    name: 'an aborted create never ends',
    caughtBy: ['deadline-frees', 'abort-settles'],
    wrap: (sound) => ({
      create: async (request, call) => {
        await turns(2);
        if (call.signal.aborted) await new Promise(() => {});
        return sound.create(request, call);
      },
    }),
  },
  {
    name: 'an aborted delete never ends',
    caughtBy: ['abort-settles', 'deadline-frees'],
    wrap: (sound) => ({
      delete: async (volume, call) => {
        await turns(4);
        if (call.signal.aborted) await new Promise(() => {});
        return sound.delete(volume, call);
      },
    }),
  },
  {
    name: 'what was created is known in memory only',
    caughtBy: ['restart-finds-all'],
    wrap: (sound, { at }) => {
      const known = new Set<string>();
      return {
        create: async (request, call) => {
          known.add(request.placementId);
          return sound.create(request, call);
        },
        locate: async (object, call) => {
          if (at(object)?.kind === 'volume' && !known.has(object.placementId)) throw missing(object);
          return sound.locate(object, call);
        },
      };
    },
  },
  {
    name: 'only the driver that deleted an object may do so again',
    caughtBy: ['lost-delete'],
    wrap: (sound, { at }) => {
      const gone = new Set<string>();
      return {
        deleteSnapshot: async (snapshot, call) => {
          if (!at(snapshot) && !gone.has(snapshot.placementId)) throw missing(snapshot);
          gone.add(snapshot.placementId);
          await sound.deleteSnapshot(snapshot, call);
        },
      };
    },
  },
  {
    name: 'a repeat with the same token is refused',
    caughtBy: ['fence-stale'],
    wrap: (sound) => {
      const seen = new Map<string, number>();
      return {
        create: async (request, call) => {
          if (call.fence <= (seen.get(request.placementId) ?? 0)) throw new ScoriaError('stale-fence', 'seen before');
          seen.set(request.placementId, call.fence);
          return sound.create(request, call);
        },
      };
    },
  },
];
