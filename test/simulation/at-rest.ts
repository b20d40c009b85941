import { isDeepStrictEqual } from 'node:util';
import {
  backEndLimits,
  type BlockStorage,
  type ExportRequest,
  hasEnded,
  type Placement,
  type Repositories,
  type Store,
  uncountedVolumeStatuses,
} from '@scoria/core';

type Audit = Awaited<ReturnType<BlockStorage['audits']['run']>>;
type Usage = Awaited<ReturnType<BlockStorage['quotas']['get']>>['usage'];

/** A cluster at which nothing is under way, and how to look at it. */
export interface Rested {
  readonly store: Store;
  readonly projects: readonly string[];
  /** What each process that serves backends finds. */
  audits(): Promise<readonly Audit[]>;
  usage(projectId: string): Promise<Usage>;
  /** What is on the arrays: bytes by placement. */
  objects(): Promise<ReadonlyMap<string, number>>;
  /** What the target publishes. */
  exports(): Iterable<ExportRequest>;
  /** What is wrong with the bytes of a volume or snapshot, or `null`. */
  contentFault(id: string, placement: Placement): Promise<string | null>;
}

const transient: ReadonlySet<string> = new Set([
  'creating',
  'deleting',
  'extending',
  'reverting',
  'restoring',
  'detaching',
  'retyping',
  'maintenance',
  'managing',
  'unmanaging',
]);

/** Operations that have not ended. */
export async function unended(store: Store) {
  return store.reading.operations.list('every-project', {
    where: [{ field: 'status', op: 'in', value: ['running', 'compensating'] }],
  });
}

/**
 * Everything that is wrong with a cluster at which nothing is under way: transient states, things on the array or target
 * that no row asks for and the reverse, claims that are no placements, quotas that are no rows, wrong bytes.
 */
export async function faultsAtRest(site: Rested): Promise<readonly string[]> {
  const faults: string[] = [];
  const { reading } = site.store;
  const everything = { limit: 1000 };
  const volumes = await reading.volumes.list('every-project', everything);
  const snapshots = await reading.snapshots.list('every-project', everything);
  const attachments = await reading.attachments.list('every-project', everything);
  const accesses = await reading.accesses.all();

  for (const { name, id, status } of await unended(site.store)) faults.push(`${name} ${id} has not ended: ${status}`);
  for (const each of [...volumes, ...snapshots, ...attachments]) {
    if (transient.has(each.status)) faults.push(`${each.id} is still ${each.status}`);
  }
  for (const [kind, rows] of [
    ['volume', volumes],
    ['snapshot', snapshots],
    ['attachment', attachments],
    ['access', accesses],
  ] as const) {
    for (const { id } of rows) {
      const [user] = await reading.operations.using(kind, id);
      if (user) faults.push(`${kind} ${id} is used by ${user.name}, which ${hasEnded(user.status) ? 'has' : 'has not'} ended`);
    }
  }

  const gone = await perhapsGone(reading, volumes, snapshots);
  const audits = await site.audits();
  for (const { backend, unknown, missing, failure } of audits.flatMap(({ backends }) => backends)) {
    if (failure) {
      faults.push(`backend ${backend} cannot be audited: ${failure.message}`);
      continue;
    }
    for (const { placementId, kind } of unknown) faults.push(`${kind} ${placementId} is on the array without a placement`);
    for (const { id, kind } of missing.filter(({ resourceId }) => !gone.has(resourceId)))
      faults.push(`${kind} ${id} has a placement and is not on the array`);
  }
  for (const { transport, unknown, missing, failure } of audits.flatMap(({ transports }) => transports)) {
    if (failure) {
      faults.push(`transport ${transport} cannot be audited: ${failure.message}`);
      continue;
    }
    for (const id of unknown) faults.push(`access ${id} is published and not in the store`);
    for (const id of missing) faults.push(`access ${id} is open and not published`);
  }

  for (const access of accesses) {
    if (access.state !== 'open') faults.push(`access ${access.id} is ${access.state}`);
    if (!attachments.some(({ accessId }) => accessId === access.id)) faults.push(`access ${access.id} has no attachment`);
  }
  for (const { id, status, accessId } of attachments) {
    const access = accesses.find((each) => each.id === accessId);
    if (accessId !== null && !access) faults.push(`attachment ${id} counts on an access that is gone`);
    if (status === 'attached' && !access) faults.push(`attachment ${id} is attached without an access`);
  }

  faults.push(...(await limitFaults(site, reading, volumes)));
  faults.push(...(await placementFaults(site, reading, volumes, snapshots)));
  for (const project of site.projects) {
    const mine = <Row extends { readonly projectId: string }>(rows: readonly Row[]) =>
      rows.filter((row) => row.projectId === project);
    const bytes = [...mine(volumes), ...mine(snapshots)].reduce((sum, { size }) => sum + size, 0);
    const counted = mine(volumes).filter(({ status }) => !uncountedVolumeStatuses.some((each) => each === status));
    const rows = { volumes: counted.length, snapshots: mine(snapshots).length, gigabytes: bytes / 2 ** 30 };
    const usage = await site.usage(project);
    for (const [resource, count] of Object.entries(rows)) {
      const inUse = usage[resource]?.inUse;
      if (inUse !== count) faults.push(`quota of ${project}: ${inUse} ${resource} in use, and the rows say ${count}`);
    }
  }
  return faults;
}

/** Volumes that are held to something else than their type and size say. */
async function limitFaults(site: Rested, reading: Repositories, volumes: Rows<'volumes'>): Promise<readonly string[]> {
  const faults: string[] = [];
  for (const { accessId, volumeId, limits } of site.exports()) {
    const volume = volumes.find(({ id }) => id === volumeId);
    // One that failed for good after the volume had its new type leaves the limits of the old one until the next export.
    if (!volume || (await hasFailed(reading, 'volume.retype', volumeId))) continue;
    const { qosSpecId } = await reading.volumeTypes.get('every-project', volume.volumeTypeId);
    const wanted = backEndLimits(qosSpecId === null ? null : await reading.qosSpecs.get(qosSpecId), volume.size) ?? undefined;
    if (!isDeepStrictEqual(limits, wanted))
      faults.push(`access ${accessId} is held to ${JSON.stringify(limits)}, and its type says ${JSON.stringify(wanted)}`);
  }
  return faults;
}

/** Whether an operation on something has failed for good. */
async function hasFailed(reading: Repositories, name: string, resourceId: string): Promise<boolean> {
  const where = [
    { field: 'resourceId', op: 'eq', value: resourceId },
    { field: 'name', op: 'eq', value: name },
    { field: 'status', op: 'eq', value: 'failed' },
  ] as const;
  return (await reading.operations.list('every-project', { where, limit: 1 })).length > 0;
}

/** Whether an array refused for good to change the size of a volume, and then refused to tell it: it may have changed all the same. */
async function isSizeUntold(reading: Repositories, volumeId: string): Promise<boolean> {
  const where = [
    { field: 'resourceId', op: 'eq', value: volumeId },
    { field: 'name', op: 'in', value: ['volume.extend', 'volume.shrink'] },
    { field: 'status', op: 'eq', value: 'failed' },
  ] as const;
  for (const { id, state } of await reading.operations.list('every-project', { where })) {
    const told = typeof state === 'object' && state !== null && 'realSize' in state;
    if (!told && (await reading.operations.journal(id)).some(({ event }) => event === 'undo')) return true;
  }
  return false;
}

/** What could not be deleted or let go, and may be gone from its array all the same. */
async function perhapsGone(
  reading: Repositories,
  volumes: Rows<'volumes'>,
  snapshots: Rows<'snapshots'>,
): Promise<ReadonlySet<string>> {
  const gone = new Set([...volumes, ...snapshots].flatMap(({ id, status }) => (status === 'error_deleting' ? [id] : [])));
  for (const { id } of volumes) if (await hasFailed(reading, 'volume.unmanage', id)) gone.add(id);
  return gone;
}

type Rows<Kind extends 'volumes' | 'snapshots'> = Awaited<ReturnType<Repositories[Kind]['list']>>;

async function placementFaults(
  site: Rested,
  reading: Repositories,
  volumes: Rows<'volumes'>,
  snapshots: Rows<'snapshots'>,
): Promise<readonly string[]> {
  const faults: string[] = [];
  const gone = await perhapsGone(reading, volumes, snapshots);
  const objects = await site.objects();
  const owners = new Map(
    [...volumes, ...snapshots].flatMap((row) => (row.placementId === null ? [] : [[row.placementId, row] as const])),
  );
  for (const { id, status, placementId } of [...volumes, ...snapshots]) {
    if (placementId === null && !status.startsWith('error')) faults.push(`${id} is ${status} and has no placement`);
  }
  const claimed = new Map<string, number>();
  for (const backend of await reading.backends.list()) {
    for (const placement of await reading.placements.ofBackend(backend.id, null, 1000)) {
      const owner = owners.get(placement.id);
      const pool = `${backend.id} ${placement.pool}`;
      claimed.set(pool, (claimed.get(pool) ?? 0) + placement.claimed);
      if (owner?.id !== placement.resourceId) {
        faults.push(`placement ${placement.id} of ${placement.resourceId} belongs to nobody`);
        continue;
      }
      if (owner.status.startsWith('error') || gone.has(owner.id)) continue;
      if (placement.claimed !== owner.size)
        faults.push(`${owner.id} has ${owner.size} bytes, and ${placement.claimed} are claimed`);
      const real = objects.get(placement.id) ?? 0;
      if (real !== placement.size && !(await isSizeUntold(reading, owner.id)))
        faults.push(`${owner.id} has ${real} bytes on the array, and ${placement.size} in its placement`);
      const wrong = await site.contentFault(owner.id, placement);
      if (wrong !== null) faults.push(`${owner.id} holds wrong bytes: ${wrong}`);
    }
  }
  for (const claim of await reading.placements.claims()) {
    const sum = claimed.get(`${claim.backendId} ${claim.pool}`) ?? 0;
    if (claim.claimed !== sum) faults.push(`pool ${claim.pool} has claims of ${claim.claimed} bytes, its placements ${sum}`);
  }
  return faults;
}
