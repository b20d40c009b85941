import { ScoriaError, type Extent } from '@scoria/core';
import { contentOf, type BrokenDriver } from './broken-driver.ts';

async function* given(extents: readonly Extent[]): AsyncGenerator<Extent> {
  yield* extents;
}

async function all(extents: AsyncIterable<Extent>): Promise<Extent[]> {
  const found: Extent[] = [];
  for await (const extent of extents) found.push(extent);
  return found;
}

const brokenShrinks: readonly BrokenDriver[] = [
  {
    name: 'shrink does nothing and tells the size that was asked for',
    caughtBy: ['shrink-content', 'shrink-bytes'],
    wrap: () => ({ shrink: async (_volume, size) => ({ size }) }),
  },
  {
    name: 'shrink keeps the end and loses the beginning',
    caughtBy: ['shrink-content'],
    wrap: (sound, { at }) => ({
      shrink: async (volume, size, call) => {
        const object = at(volume);
        const content = object && contentOf(object).slice(-size);
        const told = await sound.shrink(volume, size, call);
        if (object && content && content.length === object.size) object.write(content, 0);
        return told;
      },
    }),
  },
  {
    name: 'each shrink takes away as much again',
    caughtBy: ['shrink-repeated'],
    wrap: (sound, { at }) => ({
      shrink: async (volume, size, call) => {
        const object = at(volume);
        if (object && object.size === size) object.shrink(size / 2);
        return sound.shrink(volume, size, call);
      },
    }),
  },
  {
    name: 'what a shrink took away comes back with an extend',
    caughtBy: ['shrink-bytes'],
    wrap: (sound, { at }) => {
      const kept = new Map<string, Uint8Array>();
      return {
        shrink: async (volume, size, call) => {
          const object = at(volume);
          if (object && object.size > size) kept.set(volume.placementId, contentOf(object));
          return sound.shrink(volume, size, call);
        },
        extend: async (volume, size, call) => {
          const before = at(volume)?.size ?? 0;
          const extended = await sound.extend(volume, size, call);
          const content = kept.get(volume.placementId)?.subarray(before, extended.size);
          if (content) at(volume)?.write(content, before);
          return extended;
        },
      };
    },
  },
  {
    name: 'a shrink of an open volume throws what the system said',
    caughtBy: ['shrink-in-use'],
    wrap: (sound) => {
      const located = new Set<string>();
      return {
        locate: (object, call) => {
          located.add(object.placementId);
          return sound.locate(object, call);
        },
        shrink: async (volume, size, call) => {
          if (located.has(volume.placementId)) throw new Error('EBUSY: resource busy or locked');
          return sound.shrink(volume, size, call);
        },
      };
    },
  },
  {
    name: 'a missing volume is shrunk',
    caughtBy: ['shrink-missing'],
    wrap: (sound, { at }) => ({
      shrink: async (volume, size, call) => (at(volume) ? sound.shrink(volume, size, call) : { size }),
    }),
  },
];

const brokenManagement: readonly BrokenDriver[] = [
  {
    name: 'letting go deletes',
    caughtBy: ['unmanage-stays', 'manage-content'],
    wrap: (sound) => ({ unmanage: (volume, call) => sound.delete(volume, call) }),
  },
  {
    name: 'what was let go is still listed as ours',
    caughtBy: ['unmanage-stays'],
    wrap: (sound, { backend }) => ({
      list: async function* (call) {
        yield* sound.list(call);
        for (const { placementId, pool, size } of backend.foreign.values()) {
          const backendRef = placementId;
          yield { placementId, kind: 'volume', pool: pool.options.name, backendRef, size, usedBytes: 0 };
        }
      },
    }),
  },
  {
    name: 'letting go of what is gone fails',
    caughtBy: ['unmanage-repeated'],
    wrap: (sound, { at }) => ({
      unmanage: async (volume, call) => {
        if (!at(volume)) throw new ScoriaError('backend-object-missing', `There is no ${volume.placementId}`);
        return sound.unmanage(volume, call);
      },
    }),
  },
  {
    name: 'letting go needs the reference that a crash has lost',
    caughtBy: ['unmanage-lost'],
    wrap: (sound) => ({
      unmanage: async (volume, call) => (volume.backendRef === null ? undefined : sound.unmanage(volume, call)),
    }),
  },
  {
    name: 'a volume that is taken over is made anew',
    caughtBy: ['manage-content'],
    wrap: (sound, { at }) => ({
      manage: async (target, reference, call) => {
        const made = await sound.manage(target, reference, call);
        at(target)?.zero(0, made.size);
        return made;
      },
    }),
  },
  {
    name: 'a repeat of taking over finds nothing any more',
    caughtBy: ['manage-repeated'],
    wrap: (sound, { backend }) => ({
      manage: async (target, reference, call) => {
        if (!backend.foreign.has(reference)) throw new ScoriaError('not-found', `There is no ${reference}`);
        return sound.manage(target, reference, call);
      },
    }),
  },
  {
    name: 'taking over nothing makes an empty volume',
    caughtBy: ['manage-refused'],
    wrap: (sound) => ({
      manage: (target, reference, call) =>
        sound.manage(target, reference, call).catch(() => sound.create({ ...target, size: 65_536 }, call)),
    }),
  },
  {
    name: 'what is ours is taken over again',
    caughtBy: ['manage-refused'],
    wrap: (sound, { backend }) => ({
      manage: async (target, reference, call) => {
        const ours = backend.objects.get(reference);
        if (!ours) return sound.manage(target, reference, call);
        backend.objects.delete(reference);
        backend.objects.set(target.placementId, ours);
        return { backendRef: target.placementId, size: ours.size };
      },
    }),
  },
  {
    name: 'what is ours is offered',
    caughtBy: ['manageable-ours'],
    wrap: (sound) => ({
      listManageable: async function* (call) {
        for await (const object of sound.listManageable(call)) yield { ...object, placementId: null, refusal: null };
      },
    }),
  },
];

const brokenExtents: readonly BrokenDriver[] = [
  {
    name: 'the last extent is left out',
    caughtBy: ['extents-allocated'],
    wrap: (sound) => ({
      allocatedExtents: async function* (object, call) {
        yield* (await all(sound.allocatedExtents(object, call))).slice(0, -1);
      },
    }),
  },
  {
    name: 'extents come in the order in which they were written',
    caughtBy: ['extents-order'],
    wrap: (sound) => ({
      allocatedExtents: async function* (object, call) {
        yield* (await all(sound.allocatedExtents(object, call))).toReversed();
      },
    }),
  },
  {
    name: 'every volume is full',
    caughtBy: ['extents-holes'],
    wrap: () => ({ allocatedExtents: (object) => given([{ offset: 0, length: object.size }]) }),
  },
  {
    name: 'what was freed since is not told as a change',
    caughtBy: ['extents-changed'],
    wrap: (sound) => ({
      changedExtents: async function* (from, to, call) {
        const held = new Set((await all(sound.allocatedExtents(to, call))).map(({ offset }) => offset));
        for await (const extent of sound.changedExtents(from, to, call)) if (held.has(extent.offset)) yield extent;
      },
    }),
  },
  {
    name: 'snapshots of different volumes differ everywhere',
    caughtBy: ['extents-others'],
    wrap: (sound) => ({
      changedExtents: async function* (from, to, call) {
        const found = await all(sound.changedExtents(from, to, call)).catch(() => [{ offset: 0, length: to.size }]);
        yield* found;
      },
    }),
  },
];

/** Drivers whose groups shrink, manage and extents are not what they say. */
export const brokenGroups: readonly BrokenDriver[] = [...brokenShrinks, ...brokenManagement, ...brokenExtents];
