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

/** A driver behind core's {@link Guard}; it has the same optional groups as the driver itself. */
export function guardDriver(driver: AnyVolumeDriver, guard: Guard): AnyVolumeDriver {
  const run = <T>(verb: string, patience: number, objects: string[], call: PluginCall, work: (call: PluginCall) => Promise<T>) =>
    guard.call(verb, { patience, objects }, call, work);
  const guarded: VolumeDriver & {
    -readonly [Key in keyof (CloneSupport & CreateFromSnapshotSupport & RevertSupport)]?: AnyVolumeDriver[Key];
  } = {
    check: (call) => run('check', quick, [], call, (inner) => driver.check(inner)),
    pools: (call) => run('pools', quick, [], call, (inner) => driver.pools(inner)),
    create: (request, call) => run('create', quick, ids(request), call, (inner) => driver.create(request, inner)),
    delete: (volume, call) => run('delete', long, ids(volume), call, (inner) => driver.delete(volume, inner)),
    extend: (volume, size, call) => run('extend', quick, ids(volume), call, (inner) => driver.extend(volume, size, inner)),
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
