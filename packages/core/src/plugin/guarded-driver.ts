import { ScoriaError } from '../error/scoria-error.ts';
import type {
  AnyVolumeDriver,
  BackendObject,
  CloneSupport,
  CreateFromSnapshotSupport,
  PluginCall,
  RevertSupport,
  VolumeDriver,
} from '../volume/driver.ts';
import type { Guard } from './guard.ts';

const quick = 60_000;
/** For verbs that move bytes: this long without progress. */
const long = 300_000;

const ids = (...objects: BackendObject[]) => objects.map((object) => object.placementId);

/** Longest reference that a driver may give to a thing on its backend, characters. */
const longestRef = 1024;

/** What a driver tells of a thing that it made or grew, when it can be true; else `backend-failed`. */
function believable<Told extends { readonly size: number; readonly backendRef?: string }>(
  verb: string,
  asked: number,
  told: Told,
): Told {
  if (!Number.isSafeInteger(told.size) || told.size < asked) {
    throw new ScoriaError(
      'backend-failed',
      `The driver says after ${verb} that there are ${told.size} bytes, and ${asked} were asked for.`,
    );
  }
  if (told.backendRef !== undefined && told.backendRef.length > longestRef) {
    throw new ScoriaError(
      'backend-failed',
      `The driver refers to what it made by ${told.backendRef.length} characters; ${longestRef} are allowed.`,
    );
  }
  return told;
}

/** A driver behind core's {@link Guard}; it has the same optional groups as the driver itself. */
export function guardDriver(driver: AnyVolumeDriver, guard: Guard): AnyVolumeDriver {
  const run = <T>(verb: string, patience: number, objects: string[], call: PluginCall, work: (call: PluginCall) => Promise<T>) =>
    guard.call(verb, { patience, objects }, call, work);
  const guarded: VolumeDriver & {
    -readonly [Key in keyof (CloneSupport & CreateFromSnapshotSupport & RevertSupport)]?: AnyVolumeDriver[Key];
  } = {
    check: (call) => run('check', quick, [], call, (inner) => driver.check(inner)),
    pools: (call) => run('pools', quick, [], call, (inner) => driver.pools(inner)),
    create: (request, call) =>
      run('create', quick, ids(request), call, async (inner) =>
        believable('create', request.size, await driver.create(request, inner)),
      ),
    delete: (volume, call) => run('delete', long, ids(volume), call, (inner) => driver.delete(volume, inner)),
    extend: (volume, size, call) =>
      run('extend', quick, ids(volume), call, async (inner) =>
        believable('extend', size, await driver.extend(volume, size, inner)),
      ),
    createSnapshot: (snapshot, volume, call) =>
      run('createSnapshot', long, ids(snapshot, volume), call, (inner) => driver.createSnapshot(snapshot, volume, inner)),
    deleteSnapshot: (snapshot, call) =>
      run('deleteSnapshot', long, ids(snapshot), call, (inner) => driver.deleteSnapshot(snapshot, inner)),
    list: async function* (call) {
      try {
        yield* driver.list(call);
      } catch (error) {
        throw guard.coded('list', error);
      }
    },
    locate: (object, call) => run('locate', quick, [], call, (inner) => driver.locate(object, inner)),
  };
  const { clone, createFromSnapshot, revert } = driver;
  if (clone) {
    guarded.clone = (target, source, call) =>
      run('clone', long, ids(target, source), call, (inner) => clone.call(driver, target, source, inner));
  }
  if (createFromSnapshot) {
    guarded.createFromSnapshot = (target, snapshot, call) =>
      run('createFromSnapshot', long, ids(target, snapshot), call, (inner) =>
        createFromSnapshot.call(driver, target, snapshot, inner),
      );
  }
  if (revert) {
    guarded.revert = (volume, snapshot, call) =>
      run('revert', long, ids(volume, snapshot), call, (inner) => revert.call(driver, volume, snapshot, inner));
  }
  return guarded;
}
