import type { Access } from '../attachment/access.ts';
import type { Attachment } from '../attachment/attachment.ts';
import { connectionPatience } from '../attachment/attachments.ts';
import type { Operation } from '../operation/operation.ts';
import { withDeadline } from '../platform/deadline.ts';
import type { AnyTransport, ExportStatus } from '../transport/transport.ts';
import { allAttachments } from './all-attachments.ts';
import { endAccess } from './end-access.ts';
import { atOnce, type MendOutcome, type Observation, type PassTools, type PassView } from './observation.ts';
import { orMissing } from '../store/or-missing.ts';
import { type Unlisted, wholeListing } from './whole-listing.ts';
import { publishAccess } from './publish-access.ts';

/** A transport of this process. */
export interface NamedTransport {
  readonly name: string;
  readonly transport: AnyTransport;
}

/** Compares the exports of one transport, and their sessions, with accesses and attachments. */
export async function observeExports(
  tools: PassTools,
  { name, transport }: NamedTransport,
  scope: string,
  signal: AbortSignal,
): Promise<PassView> {
  const unlisted: Unlisted = { kind: 'unlisted-transport', subjectKind: 'transport', subjectId: name, evidence: {} };
  return wholeListing(scope, unlisted, 'transport-failed', signal, async () => {
    const audit = await tools.audits.transport(tools.context, name, signal);
    const attachments = await allAttachments(tools);
    const accesses = await accessesOf(tools, transport);
    const [missing, halfMade] = [new Set(audit.missing), new Set(audit.incomplete)];
    const owned = new Set(attachments.map((attachment) => attachment.accessId));
    const exports = new Map(audit.exports.map((each) => [each.accessId, each]));
    const observations = [
      ...accesses.filter(({ id }) => !owned.has(id)).map((access) => unowned(tools, access)),
      ...accesses
        .filter(({ id }) => owned.has(id) && (halfMade.has(id) || missing.has(id)))
        .map((access) => unpublishedAccess(tools, access, halfMade.has(access.id))),
      ...audit.unknown.map((accessId) => unknownExport(tools, transport, accessId, signal)),
      ...attachments.flatMap((attachment) => {
        const status = exports.get(attachment.accessId ?? '');
        return status && status.sessions.length === 0 ? [silent(tools, attachment, status, signal)] : [];
      }),
    ];
    return { observations };
  });
}

/** Accesses at rest whose volumes lie on backends that this process serves with this transport. */
async function accessesOf({ store, backends }: PassTools, transport: AnyTransport): Promise<Access[]> {
  const served = new Set(backends.servedIds().filter((id) => backends.get(id).transport === transport));
  const found: Access[] = [];
  for (const access of await store.reading.accesses.all()) {
    const placement = await orMissing(store.reading.placements.get(access.placementId));
    if (!placement || !served.has(placement.backendId)) continue;
    // What an operation has in hand is on its way.
    if ((await store.reading.operations.using('access', access.id)).length === 0) found.push(access);
  }
  return found;
}

const evidenceOf = ({ volumeId, placementId, initiator, state, createdAt }: Access) => ({
  volumeId,
  placementId,
  initiator,
  state,
  createdAt,
});

function unowned(tools: PassTools, access: Access): Observation {
  return {
    kind: 'unowned-access',
    subjectKind: 'access',
    subjectId: access.id,
    evidence: evidenceOf(access),
    command: null,
    mend: {
      ...atOnce,
      begin: () =>
        beginOn(tools, access.id, endAccess, async (transaction, { id }) => {
          if ((await transaction.attachments.countOnAccess(id)) > 0) return false;
          await transaction.accesses.setState(id, 'ending');
          return true;
        }),
    },
  };
}

/** @param halfMade - the transport has a part of it. */
function unpublishedAccess(tools: PassTools, access: Access, halfMade: boolean): Observation {
  return {
    kind: 'unpublished-access',
    subjectKind: 'access',
    subjectId: access.id,
    evidence: { ...evidenceOf(access), halfMade },
    command: null,
    mend: { ...atOnce, begin: () => beginOn(tools, access.id, publishAccess, async (_, { state }) => state === 'open') },
  };
}

/** Begins an operation that has an access for itself, if `still` says that it is needed. */
async function beginOn(
  { outbox, operations, context, holdLease }: PassTools,
  accessId: string,
  definition: typeof endAccess,
  still: (transaction: Parameters<PassTools['holdLease']>[0], access: Access) => Promise<boolean>,
): Promise<MendOutcome> {
  return outbox.transaction(async (transaction) => {
    await holdLease(transaction);
    const access = await orMissing(transaction.accesses.get(accessId));
    if (!access) return 'gone';
    const running: readonly Operation[] = await transaction.operations.using('access', accessId);
    if (running.length > 0) return 'not-yet';
    if (!(await still(transaction, access))) return 'gone';
    const { projectId } = await transaction.volumes.get('every-project', access.volumeId);
    const { backendId } = await transaction.placements.get(access.placementId);
    return operations.begin(transaction, definition, context, {
      input: { accessId },
      resourceKind: 'volume',
      resourceId: access.volumeId,
      uses: [{ kind: 'access', id: accessId, mode: 'change' }],
      backendId,
      projectId,
    });
  });
}

function unknownExport(tools: PassTools, transport: AnyTransport, accessId: string, signal: AbortSignal): Observation {
  return {
    kind: 'unknown-export',
    subjectKind: 'access',
    subjectId: accessId,
    evidence: {},
    command: null,
    mend: {
      age: 0,
      passes: 2,
      marks: true,
      begin: async () => {
        // An access is written before it is exported, and its id is never used again.
        if (await orMissing(tools.store.reading.accesses.get(accessId))) return 'gone';
        await transport.unexport(accessId, { signal, fence: 0, progress: () => {} });
        return { operationId: null };
      },
    },
  };
}

function silent(tools: PassTools, attachment: Attachment, status: ExportStatus, signal: AbortSignal): Observation {
  const { id, volumeId, instanceId, hostName, accessId, attachedAt } = attachment;
  const { silence, endSilent } = tools.settings;
  return {
    kind: 'silent-attachment',
    subjectKind: 'attachment',
    subjectId: id,
    evidence: {
      volumeId,
      instanceId,
      hostName,
      accessId,
      attachedAt,
      status: attachment.status,
      sessions: status.sessions.length,
    },
    command: `openstack --os-volume-api-version 3.27 volume attachment delete ${id}`,
    patience: silence,
    ...(endSilent && {
      mend: {
        age: silence,
        passes: 2,
        marks: true,
        begin: async () => {
          if (!(await orMissing(tools.store.reading.attachments.get('every-project', id)))) return 'gone';
          const end = () => tools.attachments.end(tools.context, id, { keepAttachment: false });
          await withDeadline(tools.clock, connectionPatience, `Ending attachment ${id}`, end, signal);
          return { operationId: null };
        },
      },
    }),
  };
}
