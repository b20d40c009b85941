import type { BackendObject, CreatedCopy, PluginCall } from '@scoria/core';
import { contentOf, turns, type BrokenDriver, type FullDriver, type Surroundings } from './broken-driver.ts';

type Copy = FullDriver['createSnapshot' | 'clone' | 'createFromSnapshot'];
const MiB = 1024 * 1024;

/** Copies piece by piece while the source changes. */
function smear(copy: Copy, { at }: Surroundings): Copy {
  return async (target, source, call) => {
    const made = await copy(target, source, call);
    for (let offset = 0; offset < made.size; offset += MiB) {
      await turns(1);
      const piece = new Uint8Array(MiB);
      at(source)?.read(piece, offset);
      at(target)?.write(piece, offset);
    }
    return made;
  };
}

/** Opens a copy as what it was made of. */
function alias(sound: FullDriver, verb: 'createSnapshot' | 'clone' | 'createFromSnapshot'): Partial<FullDriver> {
  const origins = new Map<string, BackendObject>();
  return {
    [verb]: (target: BackendObject, source: BackendObject, call: PluginCall): Promise<CreatedCopy> => {
      origins.set(target.placementId, source);
      return sound[verb](target, source, call);
    },
    locate: (object, call) => sound.locate(origins.get(object.placementId) ?? object, call),
  };
}

/** Takes the content again each time. */
function again(copy: Copy, { at }: Surroundings, known: ReadonlySet<string> = new Set()): Copy {
  return async (target, source, call) => {
    const made = await copy(target, source, call);
    const [from, to] = [at(source), at(target)];
    if (from && to && !known.has(target.placementId)) to.share(from);
    return made;
  };
}

/** Remembers its source in one place for all calls. */
function oneSource(copy: Copy): Copy {
  let current: BackendObject;
  return async (target, source, call) => {
    current = source;
    await turns(1);
    return copy(target, current, call);
  };
}

/** Snapshots, and volumes made of others, that are not what they were made of. */
export const brokenCopies: readonly BrokenDriver[] = [
  {
    name: 'a snapshot is the volume itself',
    caughtBy: ['snapshot-independent', 'oracle-mix'],
    wrap: (sound) => alias(sound, 'createSnapshot'),
  },
  {
    name: 'deleting a snapshot changes the older ones',
    caughtBy: ['snapshot-several'],
    wrap: (sound, { backend, at }) => ({
      deleteSnapshot: async (snapshot, call) => {
        const gone = at(snapshot);
        for (const object of backend.objects.values()) if (gone && object.kind === 'snapshot') object.share(gone);
        await sound.deleteSnapshot(snapshot, call);
      },
    }),
  },
  {
    name: 'deleting a snapshot wipes what its volume shares with it',
    caughtBy: ['snapshot-delete-repeated', 'oracle-mix'],
    wrap: (sound, { backend, at }) => ({
      deleteSnapshot: async (snapshot, call) => {
        if (at(snapshot)) for (const object of backend.objects.values()) object.zero(0, 65_536);
        await sound.deleteSnapshot(snapshot, call);
      },
    }),
  },
  {
    name: 'a repeated createSnapshot takes the snapshot again',
    caughtBy: ['snapshot-repeated', 'lost-snapshot'],
    wrap: (sound, surroundings) => ({ createSnapshot: again(sound.createSnapshot, surroundings) }),
  },
  {
    name: 'a snapshot that the new driver does not remember is taken again',
    caughtBy: ['lost-snapshot'],
    wrap: (sound, surroundings) => {
      const known = new Set<string>();
      const fresh = again(sound.createSnapshot, surroundings, known);
      return {
        createSnapshot: async (target, source, call) => {
          const made = await fresh(target, source, call);
          known.add(target.placementId);
          return made;
        },
      };
    },
  },
  {
    name: 'what was filled is told as allocated only',
    caughtBy: ['snapshot-allocated'],
    wrap: (sound) => ({
      createSnapshot: async (target, source, call) => ({ ...(await sound.createSnapshot(target, source, call)), filled: false }),
    }),
  },
  {
    name: 'a snapshot of nothing is made',
    caughtBy: ['snapshot-missing'],
    wrap: (sound, { at }) => ({
      createSnapshot: async (target, source, call) =>
        at(source)
          ? sound.createSnapshot(target, source, call)
          : { backendRef: target.placementId, size: target.size, filled: false },
    }),
  },
  {
    name: 'an extend reaches the snapshots too',
    caughtBy: ['snapshot-extend'],
    wrap: (sound, { backend }) => ({
      extend: async (volume, size, call) => {
        const extended = await sound.extend(volume, size, call);
        for (const object of backend.objects.values()) if (object.size < extended.size) object.grow(extended.size);
        return extended;
      },
    }),
  },
  {
    name: 'a snapshot is a smear of what is written meanwhile',
    caughtBy: ['snapshot-moment'],
    wrap: (sound, surroundings) => ({ createSnapshot: smear(sound.createSnapshot, surroundings) }),
  },
  {
    name: 'snapshots at the same time share one variable',
    caughtBy: ['race-snapshots'],
    wrap: (sound) => ({ createSnapshot: oneSource(sound.createSnapshot) }),
  },
  {
    name: 'a clone is a smear of what is written meanwhile',
    caughtBy: ['clone-moment'],
    wrap: (sound, surroundings) => ({ clone: smear(sound.clone, surroundings) }),
  },
  ...(['clone', 'createFromSnapshot'] as const).flatMap((verb) => copies(verb, verb === 'clone' ? 'clone' : 'from-snapshot')),
  {
    name: 'revert does nothing and says that it is done',
    caughtBy: ['revert-content', 'oracle-mix'],
    wrap: () => ({ revert: async () => ({ done: true }) }),
  },
  {
    name: 'revert copies what the snapshot has and leaves the rest',
    caughtBy: ['revert-content', 'oracle-mix'],
    wrap: (sound, { at }) => ({
      revert: async (volume, snapshot, call) => {
        const [to, from] = [at(volume), at(snapshot)];
        if (!to || !from) return sound.revert(volume, snapshot, call);
        const content = contentOf(from);
        for (const { offset, length } of from.allocated(0, from.size))
          to.write(content.subarray(offset, offset + length), offset);
        return { done: true };
      },
    }),
  },
  {
    name: 'revert leaves what was written behind the end of the snapshot',
    caughtBy: ['revert-extended'],
    wrap: (sound, { at }) => ({
      revert: async (volume, snapshot, call) => {
        const [to, from] = [at(volume), at(snapshot)];
        const tail = to && from ? contentOf(to).subarray(from.size) : new Uint8Array();
        const reverted = await sound.revert(volume, snapshot, call);
        if (from) to?.write(tail, from.size);
        return reverted;
      },
    }),
  },
  {
    name: 'revert to a snapshot that is gone succeeds',
    caughtBy: ['revert-missing'],
    wrap: (sound, { at }) => ({
      revert: async (volume, snapshot, call) => (at(snapshot) ? sound.revert(volume, snapshot, call) : { done: true }),
    }),
  },
];

function copies(verb: 'clone' | 'createFromSnapshot', id: string): BrokenDriver[] {
  return [
    {
      name: `${verb}: the copy is its source`,
      caughtBy: [`${id}-content`],
      wrap: (sound) => alias(sound, verb),
    },
    {
      name: `${verb}: the copy has the size of its source`,
      caughtBy: [`${id}-larger`],
      wrap: (sound, { at }) => ({
        [verb]: (target: BackendObject, source: BackendObject, call: PluginCall) =>
          sound[verb]({ ...target, size: at(source)?.size ?? target.size }, source, call),
      }),
    },
    {
      name: `${verb}: a repeat copies again`,
      caughtBy: [`${id}-repeated`, `${id}-lost`],
      wrap: (sound, surroundings) => ({ [verb]: again(sound[verb], surroundings) }),
    },
    {
      name: `${verb}: the copy dies with its source`,
      caughtBy: [`${id}-outlives`],
      wrap: (sound) => {
        const children = new Map<string, BackendObject>();
        const orphan = async (source: BackendObject, call: PluginCall) => {
          const child = children.get(source.placementId);
          if (child) await sound.delete(child, call);
        };
        return {
          [verb]: (target: BackendObject, source: BackendObject, call: PluginCall) => {
            children.set(source.placementId, target);
            return sound[verb](target, source, call);
          },
          delete: async (volume, call) => {
            await orphan(volume, call);
            await sound.delete(volume, call);
          },
          deleteSnapshot: async (snapshot, call) => {
            await orphan(snapshot, call);
            await sound.deleteSnapshot(snapshot, call);
          },
        };
      },
    },
    {
      name: `${verb}: copies at the same time share one variable`,
      caughtBy: [`${id}-many-at-once`],
      wrap: (sound) => ({ [verb]: oneSource(sound[verb]) }),
    },
    {
      name: `${verb}: a copy of nothing is an empty volume`,
      caughtBy: [`${id}-missing`],
      wrap: (sound, { at }) => ({
        [verb]: async (target: BackendObject, source: BackendObject, call: PluginCall): Promise<CreatedCopy> =>
          at(source) ? sound[verb](target, source, call) : { ...(await sound.create(target, call)), filled: true },
      }),
    },
  ];
}
