import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import type { AcceptedRequest, Operations } from '../operation/operations.ts';
import type { Backends } from '../placement/backends.ts';
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import { qosSpecOfType } from '../qos-spec/qos-spec-of-type.ts';
import { frontEndSpecs } from '../qos-spec/volume-limits.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { ListQuery } from '../store/list-query.ts';
import type { Store } from '../store/store.ts';
import { listTenancy, type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import type { ConnectionInfo, Connector } from '../transport/transport.ts';
import { settledVolumeStatuses, type Volume } from '../volume/volume.ts';
import type { Attachment, AttachmentField, AttachMode } from './attachment.ts';
import { connectAttachment } from './connect-attachment.ts';
import { disconnectAttachment } from './disconnect-attachment.ts';
import { settleVolume } from './settle-volume.ts';

/** How long a caller is kept waiting for a connection to come or go, ms; the operation goes on by itself. */
export const connectionPatience = 120_000;

/** What a new attachment may say. */
export interface NewAttachment {
  readonly volumeId: string;
  readonly instanceId?: string | null | undefined;
  /** With a connector the attachment is connected before the call returns. */
  readonly connector?: Connector | undefined;
  readonly mode?: AttachMode | undefined;
  readonly mountpoint?: string | null | undefined;
}

/** Attachments: the use of volumes by machines. */
@wired(tokens.Store, tokens.Operations, tokens.Backends, tokens.Clock, tokens.Random)
export class Attachments {
  readonly #store: Store;
  readonly #operations: Operations;
  readonly #backends: Backends;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(store: Store, operations: Operations, backends: Backends, clock: Clock, random: Random) {
    this.#store = store;
    this.#operations = operations;
    this.#backends = backends;
    this.#clock = clock;
    this.#random = random;
  }

  async get(context: RequestContext, id: string): Promise<Attachment> {
    return this.#store.reading.attachments.get(tenancyOf(context), id);
  }

  async list(
    context: RequestContext,
    query: ListQuery<AttachmentField>,
    options: { readonly allProjects?: boolean } = {},
  ): Promise<readonly Attachment[]> {
    return this.#store.reading.attachments.list(listTenancy(context, options.allProjects ?? false), query);
  }

  /** Attachments of volumes that the caller has been given already, oldest first. */
  async ofVolumes(volumeIds: readonly string[]): Promise<readonly Attachment[]> {
    return this.#store.reading.attachments.ofVolumes(volumeIds);
  }

  /**
   * Reserves a volume for a machine, and with a connector connects it. A volume that is not `multiattach` takes a second
   * attachment only for the machine that has it already (a live migration).
   */
  async create(context: RequestContext, request: NewAttachment): Promise<Attachment> {
    const accepted = await this.#operations.accept(context, async (transaction) => {
      const volume = await transaction.volumes.get(tenancyOf(context), request.volumeId);
      const id = await this.addWithin(transaction, context, volume, 'reserved', request);
      const { connector, mode } = request;
      if (!connector) return { resourceId: id, operationId: null };
      return this.connectWithin(transaction, context, id, { connector, mode, isNew: true });
    });
    return this.connected(context, accepted);
  }

  /** Connects an attachment: publishes the volume for the connector's host and returns when an initiator can log in. Repeating it gives the same connection. */
  async update(
    context: RequestContext,
    id: string,
    request: { readonly connector: Connector; readonly mode?: AttachMode | undefined; readonly mountpoint?: string | undefined },
  ): Promise<Attachment> {
    const accepted = await this.#operations.accept({ ...context, idempotency: undefined }, (transaction) =>
      this.connectWithin(transaction, context, id, request),
    );
    return this.connected(context, accepted);
  }

  /**
   * Begins to connect an attachment in the caller's transaction; {@link connected} waits for it. One that `isNew`, made in
   * the same transaction, goes again when it cannot be connected; another one is then as it was.
   */
  async connectWithin(
    transaction: Transaction,
    context: RequestContext,
    id: string,
    request: {
      readonly connector: Connector;
      readonly mode?: AttachMode | undefined;
      readonly mountpoint?: string | undefined;
      readonly isNew?: boolean;
    },
  ): Promise<AcceptedRequest> {
    const { connector, mountpoint } = request;
    const { initiator } = connector;
    if (!initiator) {
      throw new ScoriaError('invalid-input', 'The connector names no initiator, so the volume cannot be published for its host.');
    }
    const now = this.#clock.now();
    const attachment = await transaction.attachments.get(tenancyOf(context), id);
    const volume = await transaction.volumes.get('every-project', attachment.volumeId);
    requireSettled(volume);
    const mode = request.mode ?? attachment.mode;
    if (volume.readOnly && mode === 'rw') throw readOnlyError(volume);
    if (attachment.status === 'detaching') throw new ScoriaError('invalid-state', `Attachment ${id} is being ended.`);
    if (volume.placementId === null) throw new ScoriaError('invalid-state', `Volume ${volume.id} has no storage yet.`);
    const placement = await transaction.placements.get(volume.placementId);
    this.#backends.transportOf(placement.backendId);
    if (attachment.accessId !== null) {
      const present = await transaction.accesses.get(attachment.accessId);
      if (present.initiator !== initiator) {
        throw new ScoriaError(
          'conflict',
          `Attachment ${id} is connected to ${present.initiator}; end it before it connects to ${initiator}.`,
        );
      }
      if (present.readOnly !== (mode === 'ro')) throw modeConflict(volume, initiator);
    }
    const access = await transaction.accesses.find(volume.id, initiator);
    if (access && access.readOnly !== (mode === 'ro')) throw modeConflict(volume, initiator);
    const accessId = access?.id ?? this.#random.uuid();
    if (!access) {
      await this.#backends.requireLimits(transaction, placement.backendId, volume.volumeTypeId, volume.size);
      await transaction.accesses.insert({
        id: accessId,
        volumeId: volume.id,
        placementId: placement.id,
        initiator,
        readOnly: mode === 'ro',
        state: 'opening',
        createdAt: now,
      });
    }
    const status = attachment.status === 'attached' ? 'attached' : 'attaching';
    const hostName = connector.host ?? attachment.hostName;
    await transaction.attachments.update(
      id,
      { accessId, connector, mode, status, hostName, ...(mountpoint && { mountpoint }) },
      now,
    );
    await settleVolume(transaction, volume.id, now);
    if (access?.state === 'open') return { resourceId: id, operationId: null };
    return this.#operations.begin(transaction, connectAttachment, context, {
      input: { attachmentId: id, volumeId: volume.id, accessId, before: request.isNew ? null : stateOf(attachment) },
      resourceKind: 'attachment',
      resourceId: id,
      uses: [
        { kind: 'attachment', id, mode: 'change' },
        { kind: 'access', id: accessId, mode: 'change' },
      ],
      backendId: placement.backendId,
      projectId: volume.projectId,
    });
  }

  /** The attachment of an accepted request, once an initiator can log in where that was asked. */
  async connected(context: RequestContext, { resourceId, operationId }: AcceptedRequest): Promise<Attachment> {
    if (operationId !== null) await this.#operations.wait(operationId, connectionPatience);
    return this.get(context, resourceId);
  }

  /** Notes that the machine has the volume. `invalid-state` while it is not connected. */
  async complete(context: RequestContext, id: string): Promise<Attachment> {
    await this.#operations.accept(context, async (transaction) => {
      const attachment = await transaction.attachments.get(tenancyOf(context), id);
      if (attachment.status === 'attached') return { resourceId: id, operationId: null };
      if (attachment.status !== 'attaching' || attachment.accessId === null) {
        throw new ScoriaError(
          'invalid-state',
          `Attachment ${id} is ${attachment.status} and not connected; connect it before it is completed.`,
        );
      }
      await this.markAttached(transaction, attachment, {});
      return { resourceId: id, operationId: null };
    });
    return this.get(context, id);
  }

  /** Ends an attachment. Returns when no write of the machine can reach the volume any more. */
  async delete(context: RequestContext, id: string): Promise<void> {
    await this.end(context, id, { keepAttachment: false });
  }

  /**
   * What the machine needs to reach the volume, and under `qos_specs` what its hypervisor is to hold it to; `null` when the
   * attachment is not connected. Holds a secret.
   */
  async connectionInfo(context: RequestContext, id: string): Promise<ConnectionInfo | null> {
    const attachment = await this.get(context, id);
    if (attachment.accessId === null) return null;
    const { accesses, placements } = this.#store.reading;
    const access = await accesses.get(attachment.accessId);
    const placement = await placements.get(access.placementId);
    const backend = this.#backends.get(placement.backendId);
    const call = { signal: new AbortController().signal, fence: 0, progress: () => {} };
    const request = await this.#backends.exportRequest(access, placement, backend, call);
    const info = this.#backends.transportOf(placement.backendId).connectionInfo(request);
    const volume = await this.#store.reading.volumes.get('every-project', attachment.volumeId);
    const spec = await qosSpecOfType(this.#store.reading, volume.volumeTypeId);
    return { ...info, data: { ...info.data, qos_specs: frontEndSpecs(spec, volume.size) } };
  }

  /** Ends the connection of an attachment and, unless it is to be kept, the attachment. */
  async end(context: RequestContext, id: string, options: { readonly keepAttachment: boolean }): Promise<void> {
    const { operationId } = await this.#operations.acceptOperation(context, async (transaction) => {
      const attachment = await transaction.attachments.get(tenancyOf(context), id);
      const [running] = await transaction.operations.using('attachment', id);
      // A repeated call joins the one under way.
      if (running?.name === disconnectAttachment.name) return { resourceId: id, operationId: running.id };
      const volume = await transaction.volumes.get('every-project', attachment.volumeId);
      requireSettled(volume);
      const { accessId } = attachment;
      const others = accessId === null ? 0 : (await transaction.attachments.countOnAccess(accessId)) - 1;
      const endingAccessId = accessId !== null && others === 0 ? accessId : null;
      // From here on nobody else counts on the access: a new attachment of the host gets a new one.
      if (endingAccessId !== null) await transaction.accesses.setState(endingAccessId, 'ending');
      const backendId = await backendOfAccess(transaction, endingAccessId);
      const begun = await this.#operations.begin(transaction, disconnectAttachment, context, {
        input: {
          attachmentId: id,
          volumeId: volume.id,
          endingAccessId,
          keepAttachment: options.keepAttachment,
          before: { status: attachment.status, accessId },
        },
        resourceKind: 'attachment',
        resourceId: id,
        uses: [
          { kind: 'attachment', id, mode: 'change' },
          ...(endingAccessId === null ? [] : [{ kind: 'access', id: endingAccessId, mode: 'change' } as const]),
        ],
        backendId,
        projectId: volume.projectId,
      });
      if (!options.keepAttachment) {
        const now = this.#clock.now();
        await transaction.attachments.update(id, { status: 'detaching', accessId: null }, now);
        await settleVolume(transaction, volume.id, now);
      }
      return begun;
    });
    const { input } = await this.#operations.wait(operationId, connectionPatience);
    // The one that was joined ended the connection alone.
    if (!options.keepAttachment && disconnectAttachment.input.parse(input).keepAttachment) {
      await this.end({ ...context, idempotency: undefined }, id, options);
    }
  }

  /** Adds an attachment in the caller's transaction, after checking that the volume may have it. Returns its id. */
  async addWithin(
    transaction: Transaction,
    context: RequestContext,
    volume: Volume,
    status: Attachment['status'],
    request: Omit<NewAttachment, 'volumeId' | 'connector'>,
  ): Promise<string> {
    requireSettled(volume);
    const mode = request.mode ?? (volume.readOnly ? 'ro' : 'rw');
    if (volume.readOnly && mode === 'rw') throw readOnlyError(volume);
    const others = await transaction.attachments.ofVolumes([volume.id]);
    const same = others.some((other) => other.instanceId !== null && other.instanceId === request.instanceId);
    if (others.length > 0 && !volume.multiattach && !same) {
      throw new ScoriaError('invalid-state', `Volume ${volume.id} is ${volume.status} and does not allow several attachments.`, {
        details: { status: volume.status },
      });
    }
    const now = this.#clock.now();
    const id = this.#random.uuid();
    await transaction.attachments.insert({
      id,
      volumeId: volume.id,
      projectId: volume.projectId,
      userId: context.userId,
      instanceId: request.instanceId ?? null,
      status,
      mode,
      connector: null,
      mountpoint: request.mountpoint ?? null,
      hostName: null,
      accessId: null,
      createdAt: now,
      updatedAt: null,
      attachedAt: null,
    });
    await settleVolume(transaction, volume.id, now);
    transaction.emit({
      name: 'attachment.changed',
      payload: { attachmentId: id, volumeId: volume.id, projectId: volume.projectId, status },
    });
    return id;
  }

  /** Moves an attachment to `attached`, in the caller's transaction. */
  async markAttached(
    transaction: Transaction,
    attachment: Attachment,
    patch: Partial<Pick<Attachment, 'instanceId' | 'hostName' | 'mountpoint' | 'mode'>>,
  ): Promise<Attachment> {
    const now = this.#clock.now();
    const attached = await transaction.attachments.update(attachment.id, { ...patch, status: 'attached', attachedAt: now }, now);
    const { id, volumeId, projectId } = attached;
    await settleVolume(transaction, volumeId, now);
    transaction.emit({ name: 'attachment.changed', payload: { attachmentId: id, volumeId, projectId, status: 'attached' } });
    return attached;
  }

  /** Gives an attachment another status that needs no effect, in the caller's transaction. */
  async setStatus(transaction: Transaction, attachment: Attachment, status: Attachment['status']): Promise<void> {
    const { id, volumeId } = attachment;
    requireSettled(await transaction.volumes.get('every-project', volumeId));
    const [running] = await transaction.operations.using('attachment', id);
    if (running)
      throw new ScoriaError('invalid-state', `Attachment ${id} is in use by operation ${running.id} (${running.name}).`);
    const now = this.#clock.now();
    await transaction.attachments.update(id, { status }, now);
    await settleVolume(transaction, volumeId, now);
  }
}

/** What an attachment goes back to. */
function stateOf({ status, mode, connector, hostName, mountpoint }: Attachment) {
  return { status, mode, connector: connector && { ...connector }, hostName, mountpoint };
}

async function backendOfAccess(transaction: Transaction, accessId: string | null): Promise<string | null> {
  if (accessId === null) return null;
  const { placementId } = await transaction.accesses.get(accessId);
  return (await transaction.placements.get(placementId)).backendId;
}

function requireSettled(volume: Volume): void {
  const settled: readonly string[] = settledVolumeStatuses;
  if (settled.includes(volume.status)) return;
  throw new ScoriaError(
    'invalid-state',
    `Volume ${volume.id} is ${volume.status}; it can be attached or detached when it is ${settled.join(', ')}.`,
    {
      details: { status: volume.status, allowed: settled },
    },
  );
}

function readOnlyError(volume: Volume): ScoriaError {
  return new ScoriaError('invalid-input', `Volume ${volume.id} is read-only; attach it with mode "ro".`);
}

function modeConflict(volume: Volume, initiator: string): ScoriaError {
  return new ScoriaError(
    'conflict',
    `Host ${initiator} uses volume ${volume.id} in another mode already; a host has one mode for a volume.`,
  );
}
