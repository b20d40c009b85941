import { ScoriaError } from '../error/scoria-error.ts';
import type { Operation } from '../operation/operation.ts';
import type { Placement } from '../placement/placement.ts';
import { backendObject } from '../placement/backends.ts';
import { manageVolume } from '../volume/manage-volume.ts';
import type { ListedObject, PluginCall } from '../volume/driver.ts';
import { collectPlacement } from './collect-placement.ts';
import type { Finding } from './finding.ts';
import { atOnce, type MendOutcome, type Observation, type PassTools, type PassView } from './observation.ts';
import { orMissing } from '../store/or-missing.ts';
import { type Unlisted, wholeListing } from './whole-listing.ts';

/** With more operations under way than this, none can be ruled out, and no object is removed. */
const mostOperations = 10_000;
/** Missing objects of which the driver is asked one by one, in one pass. */
const mostMissing = 200;
const mostStrays = 1_000;

/** Compares one backend with the placements. Judges nothing unless the backend is proved to be ours and was listed whole. */
export async function observeBackend(tools: PassTools, backendId: string, signal: AbortSignal): Promise<PassView> {
  const scope = `backend/${backendId}`;
  const { name } = tools.backends.get(backendId);
  const unlisted: Unlisted = {
    kind: 'unlisted-backend',
    subjectKind: 'backend',
    subjectId: backendId,
    evidence: { backend: name },
  };
  return wholeListing(scope, unlisted, 'backend-failed', signal, async () => {
    await proveOurs(tools, backendId, signal);
    const audit = await tools.audits.backend(tools.context, backendId, signal);
    const strays = await tools.store.reading.placements.strays(backendId, mostStrays);
    const isStray = new Set(strays.map(({ id }) => id));
    const missing = audit.missing.filter(({ id }) => !isStray.has(id));
    return {
      observations: [
        ...(await unknownObjects(tools, backendId, audit.unknown, signal)),
        ...(await strayPlacements(tools, strays)),
        ...(await missingObjects(tools, backendId, missing.slice(0, mostMissing), signal)),
      ],
      unjudged: missing
        .slice(mostMissing)
        .map(({ kind, resourceId }) => ({ kind: 'missing-object', subjectKind: kind, subjectId: resourceId })),
    };
  });
}

/** Throws unless the storage behind a backend says now that it is this backend, of this installation. */
async function proveOurs({ backends, store }: PassTools, backendId: string, signal: AbortSignal): Promise<void> {
  const { name, driver } = backends.get(backendId);
  const found = (await driver.check(callOf(signal))).backendId;
  const known = (await store.reading.backends.list()).some((backend) => backend.id === backendId);
  if (found === backendId && known) return;
  throw new ScoriaError('foreign-backend', `Backend ${name} is ${found}, not ${backendId} as the service knows it.`);
}

async function unknownObjects(
  tools: PassTools,
  backendId: string,
  objects: readonly ListedObject[],
  signal: AbortSignal,
): Promise<Observation[]> {
  const { garbageGrace, strangerGrace } = tools.settings;
  const remembered = await tools.store.reading.placements.removedAmong(objects.map((object) => object.placementId));
  const wasForeign = objects.length > 0 ? await takenOver(tools, backendId) : () => false;
  return objects.map((object) => {
    const { placementId, kind, pool, backendRef, size, usedBytes } = object;
    const known = remembered.has(placementId);
    const age = wasForeign(placementId) ? null : known ? garbageGrace : strangerGrace;
    return {
      kind: 'unknown-object',
      subjectKind: 'object',
      subjectId: placementId,
      evidence: { backendId, kind, pool, backendRef, size, usedBytes, remembered: known, removedAfter: age },
      command: null,
      ...(age !== null && {
        mend: { age, passes: 3, marks: true, begin: (finding) => collectObject(tools, backendId, object, finding, signal) },
      }),
    };
  });
}

/**
 * Tells whether an object was to be taken over once. A process that was stopped for long may do so after the operation
 * has given it up: then the bytes are somebody's, and are not removed.
 */
async function takenOver({ store }: PassTools, backendId: string): Promise<(placementId: string) => boolean> {
  const operations = await store.reading.operations.list('every-project', {
    where: [{ field: 'name', op: 'eq', value: manageVolume.name }],
    limit: mostOperations,
  });
  if (operations.length === mostOperations) return () => true;
  const ids = new Set(
    operations.flatMap((operation) => {
      const { placementId } = manageVolume.state.parse(operation.state);
      return operation.backendId === backendId && placementId !== undefined ? [placementId] : [];
    }),
  );
  return (placementId) => ids.has(placementId);
}

/** Puts an unknown object on the books, as a placement of nobody, and collects that: from there on a crash loses nothing. */
async function collectObject(
  tools: PassTools,
  backendId: string,
  object: ListedObject,
  finding: Finding,
  signal: AbortSignal,
): Promise<MendOutcome> {
  await proveOurs(tools, backendId, signal);
  const { placementId, kind, pool, backendRef, size } = object;
  const mayBeTheirs = (operation: Operation) =>
    (operation.createdAt <= finding.firstSeenAt && (operation.backendId === null || operation.backendId === backendId)) ||
    JSON.stringify([operation.input, operation.state]).includes(placementId);
  return tools.outbox.transaction(async (transaction) => {
    await tools.holdLease(transaction);
    const unended = await transaction.operations.unended(mostOperations);
    if (unended.length === mostOperations || unended.some(mayBeTheirs)) return 'not-yet';
    if (await orMissing(transaction.placements.get(placementId))) return 'gone';
    await transaction.placements.insert({
      id: placementId,
      backendId,
      pool,
      kind,
      resourceId: placementId,
      claimed: size,
      size,
      backendRef,
      createdAt: tools.clock.now(),
    });
    return tools.operations.begin(transaction, collectPlacement, tools.context, {
      input: { placementId, keep: null },
      resourceKind: kind,
      resourceId: placementId,
      uses: [{ kind, id: placementId, mode: 'change' }],
      backendId,
      projectId: tools.context.projectId,
    });
  });
}

/** A move has two placements for a while: while an operation has the resource, nothing is stray. */
async function strayPlacements(tools: PassTools, placements: readonly Placement[]): Promise<Observation[]> {
  const { operations } = tools.store.reading;
  const observations: Observation[] = [];
  for (const placement of placements) {
    const using = await operations.using(placement.kind, placement.resourceId);
    if (using.length === 0) observations.push(strayPlacement(tools, placement));
  }
  return observations;
}

function strayPlacement(tools: PassTools, placement: Placement): Observation {
  const { id, backendId, pool, kind, resourceId, claimed, backendRef, createdAt } = placement;
  return {
    kind: 'stray-placement',
    subjectKind: 'placement',
    subjectId: id,
    evidence: { backendId, pool, kind, resourceId, claimed, backendRef, createdAt },
    command: null,
    mend: { ...atOnce, begin: () => collectStray(tools, placement) },
  };
}

async function collectStray(tools: PassTools, { id, kind, resourceId }: Placement): Promise<MendOutcome> {
  return tools.outbox.transaction(async (transaction) => {
    await tools.holdLease(transaction);
    const placement = await orMissing(transaction.placements.get(id));
    if (!placement) return 'gone';
    if ((await transaction.operations.using(kind, resourceId)).length > 0) return 'not-yet';
    const resource = await orMissing<{ readonly placementId: string | null; readonly projectId: string }>(
      kind === 'volume'
        ? transaction.volumes.get('every-project', resourceId)
        : transaction.snapshots.get('every-project', resourceId),
    );
    if (resource?.placementId === id) return 'gone';
    // A host may still write there.
    if ((await transaction.accesses.ofVolume(resourceId)).some((access) => access.placementId === id)) return 'not-yet';
    const present = resource?.placementId ? await transaction.placements.get(resource.placementId) : null;
    return tools.operations.begin(transaction, collectPlacement, tools.context, {
      // Of two placements the volume lies on, the later one is where it was to move.
      input: { placementId: id, keep: kind === 'volume' && present ? sideOf(present, placement) : null },
      resourceKind: kind,
      resourceId,
      uses: [{ kind, id: resourceId, mode: 'change' }],
      backendId: placement.backendId,
      projectId: resource?.projectId ?? tools.context.projectId,
    });
  });
}

function sideOf(present: Placement, stray: Placement): 'source' | 'target' {
  return stray.createdAt <= present.createdAt ? 'target' : 'source';
}

/** Of the placements that the listing lacks, those whose object is really gone: work under way makes the others. */
async function missingObjects(
  tools: PassTools,
  backendId: string,
  missing: readonly Placement[],
  signal: AbortSignal,
): Promise<Observation[]> {
  const { driver } = tools.backends.get(backendId);
  const { placements, operations } = tools.store.reading;
  const observations: Observation[] = [];
  for (const { id, kind, resourceId, pool, backendRef } of missing) {
    if ((await operations.using(kind, resourceId)).length > 0) continue;
    signal.throwIfAborted();
    const placement = await orMissing(placements.get(id));
    if (!placement) continue;
    const code = await driver.locate(backendObject(placement), callOf(signal)).then(
      () => null,
      (error: unknown) => ScoriaError.from(error).code,
    );
    if (code !== 'backend-object-missing') continue;
    observations.push({
      kind: 'missing-object',
      subjectKind: kind,
      subjectId: resourceId,
      evidence: { placementId: id, backendId, pool, backendRef, code },
      command:
        kind === 'volume'
          ? `openstack volume delete --force ${resourceId}`
          : `openstack volume snapshot delete --force ${resourceId}`,
    });
  }
  return observations;
}

function callOf(signal: AbortSignal): PluginCall {
  return { signal, fence: 0, progress: () => {} };
}
