import { z } from 'zod';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Extent } from '../device/block-device.ts';
import type { AnyVolumeDriver, BackendObject, PluginCall, VolumeDriver } from '../volume/driver.ts';
import type { Guard } from './guard.ts';
import { driverAnswers } from './plugin-answers.ts';

const quick = 60_000;
/** For verbs that move bytes: this long without progress. */
const long = 300_000;

const ids = (...objects: BackendObject[]) => objects.map((object) => object.placementId);

/** What a driver tells of a thing that it made or changed, when it can be true; else `backend-failed`. */
function believable<Told extends { readonly size: number }>(
  guard: Guard,
  verb: string,
  shape: z.ZodType,
  asked: number,
  told: Told,
): Told {
  if (guard.wellFormed(verb, shape, told).size >= asked) return told;
  throw new ScoriaError(
    'backend-failed',
    `The driver says after ${verb} that there are ${told.size} bytes, and ${asked} were asked for.`,
  );
}

/** What a driver tells of the size of a volume that it made smaller, when it can be true; else `backend-failed`. */
function shrunk<Told extends { readonly size: number }>(guard: Guard, volume: BackendObject, asked: number, told: Told): Told {
  if (believable(guard, 'shrink', driverAnswers.sized, asked, told).size <= volume.size) return told;
  throw new ScoriaError('backend-failed', `The driver says after shrink that ${volume.size} bytes have become ${told.size}.`);
}

/** Extents as a driver tells them. Ones that overlap, go back or leave the object are `backend-failed`: a copy that trusted them would lose data. */
async function* believableExtents(verb: string, size: number, extents: AsyncIterable<Extent>): AsyncGenerator<Extent> {
  let end = 0;
  for await (const extent of extents) {
    const { offset, length } = extent;
    const sound = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= end && length > 0;
    if (!sound || offset + length > size) {
      throw new ScoriaError(
        'backend-failed',
        `The driver's ${verb} tells of ${length} bytes at ${offset}, after ${end} and within ${size}.`,
      );
    }
    end = offset + length;
    yield extent;
  }
}

/**
 * A driver behind core's {@link Guard}; it has the same optional groups as the driver itself.
 *
 * @param locates - the kind of locator that its plug-in declares.
 */
export function guardDriver(driver: AnyVolumeDriver, guard: Guard, locates: string): AnyVolumeDriver {
  const locator = driverAnswers.locator.extend({ kind: z.literal(locates, `the plug-in declares ${locates}`) });
  const run = <T>(verb: string, patience: number, objects: string[], call: PluginCall, work: (call: PluginCall) => Promise<T>) =>
    guard.call(verb, { patience, objects }, call, work);
  const coded = async function* <T>(verb: string, items: () => AsyncIterable<T>, shape?: z.ZodType): AsyncGenerator<T> {
    try {
      for await (const item of items()) yield shape ? guard.wellFormed(verb, shape, item) : item;
    } catch (error) {
      throw guard.coded(verb, error);
    }
  };
  const guarded: VolumeDriver & { -readonly [Key in Exclude<keyof AnyVolumeDriver, keyof VolumeDriver>]?: AnyVolumeDriver[Key] } =
    {
      check: (call) =>
        run('check', quick, [], call, async (inner) =>
          guard.wellFormed('check', driverAnswers.identity, await driver.check(inner)),
        ),
      pools: (call) =>
        run('pools', quick, [], call, async (inner) => guard.wellFormed('pools', driverAnswers.pools, await driver.pools(inner))),
      create: (request, call) =>
        run('create', quick, ids(request), call, async (inner) =>
          believable(guard, 'create', driverAnswers.created, request.size, await driver.create(request, inner)),
        ),
      delete: (volume, call) => run('delete', long, ids(volume), call, (inner) => driver.delete(volume, inner)),
      extend: (volume, size, call) =>
        run('extend', quick, ids(volume), call, async (inner) =>
          believable(guard, 'extend', driverAnswers.sized, size, await driver.extend(volume, size, inner)),
        ),
      createSnapshot: (snapshot, volume, call) =>
        run('createSnapshot', long, ids(snapshot, volume), call, async (inner) =>
          believable(
            guard,
            'createSnapshot',
            driverAnswers.copy,
            snapshot.size,
            await driver.createSnapshot(snapshot, volume, inner),
          ),
        ),
      deleteSnapshot: (snapshot, call) =>
        run('deleteSnapshot', long, ids(snapshot), call, (inner) => driver.deleteSnapshot(snapshot, inner)),
      list: (call) => coded('list', () => driver.list(call), driverAnswers.listed),
      locate: (object, call) =>
        run('locate', quick, [], call, async (inner) => guard.wellFormed('locate', locator, await driver.locate(object, inner))),
    };
  const { clone, createFromSnapshot, revert, shrink, listManageable, manage, unmanage } = driver;
  const { allocatedExtents, changedExtents } = driver;
  if (clone) {
    guarded.clone = (target, source, call) =>
      run('clone', long, ids(target, source), call, async (inner) =>
        believable(guard, 'clone', driverAnswers.copy, target.size, await clone.call(driver, target, source, inner)),
      );
  }
  if (createFromSnapshot) {
    guarded.createFromSnapshot = (target, snapshot, call) =>
      run('createFromSnapshot', long, ids(target, snapshot), call, async (inner) =>
        believable(
          guard,
          'createFromSnapshot',
          driverAnswers.copy,
          target.size,
          await createFromSnapshot.call(driver, target, snapshot, inner),
        ),
      );
  }
  if (revert) {
    guarded.revert = (volume, snapshot, call) =>
      run('revert', long, ids(volume, snapshot), call, async (inner) =>
        guard.wellFormed('revert', driverAnswers.reverted, await revert.call(driver, volume, snapshot, inner)),
      );
  }
  if (shrink) {
    guarded.shrink = (volume, size, call) =>
      run('shrink', long, ids(volume), call, async (inner) =>
        shrunk(guard, volume, size, await shrink.call(driver, volume, size, inner)),
      );
  }
  if (listManageable)
    guarded.listManageable = (call) => coded('listManageable', () => listManageable.call(driver, call), driverAnswers.manageable);
  if (manage) {
    guarded.manage = (target, reference, call) =>
      // Two who want the same volume under two ids meet here.
      run('manage', long, [...ids(target), `reference ${reference}`], call, async (inner) =>
        believable(guard, 'manage', driverAnswers.created, 1, await manage.call(driver, target, reference, inner)),
      );
  }
  if (unmanage) {
    guarded.unmanage = (volume, call) =>
      run('unmanage', long, ids(volume), call, (inner) => unmanage.call(driver, volume, inner));
  }
  if (allocatedExtents) {
    guarded.allocatedExtents = (object, call) =>
      coded('allocatedExtents', () =>
        believableExtents('allocatedExtents', object.size, allocatedExtents.call(driver, object, call)),
      );
  }
  if (changedExtents) {
    guarded.changedExtents = (from, to, call) =>
      coded('changedExtents', () =>
        believableExtents('changedExtents', Math.max(from.size, to.size), changedExtents.call(driver, from, to, call)),
      );
  }
  return guarded;
}
