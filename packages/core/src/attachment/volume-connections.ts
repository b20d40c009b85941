import { ScoriaError } from '../error/scoria-error.ts';
import type { Outbox, Transaction } from '../event/outbox.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Store } from '../store/store.ts';
import { type RequestContext, tenancyOf } from '../tenancy/request-context.ts';
import type { ConnectionInfo, Connector } from '../transport/transport.ts';
import type { Attachment, AttachMode } from './attachment.ts';
import type { Attachments } from './attachments.ts';

/**
 * The older way of the Block Storage API to attach, in single calls on the volume: reserve, initialize the connection,
 * attach; begin detaching, terminate the connection, detach. Each call moves an attachment, so both ways meet the same
 * rules.
 */
@wired(tokens.Store, tokens.Outbox, tokens.Attachments)
export class VolumeConnections {
  readonly #store: Store;
  readonly #outbox: Outbox;
  readonly #attachments: Attachments;

  constructor(store: Store, outbox: Outbox, attachments: Attachments) {
    this.#store = store;
    this.#outbox = outbox;
    this.#attachments = attachments;
  }

  /** Keeps the volume for a caller who is about to attach it. */
  async reserve(context: RequestContext, volumeId: string): Promise<void> {
    await this.#outbox.transaction(async (transaction) => {
      const volume = await transaction.volumes.get(tenancyOf(context), volumeId);
      await this.#attachments.addWithin(transaction, context, volume, 'attaching', {});
    });
  }

  /** Ends a reservation that came to nothing. */
  async unreserve(context: RequestContext, volumeId: string): Promise<void> {
    for (const attachment of await this.#ofVolume(context, volumeId)) {
      if (isPending(attachment)) await this.#attachments.delete(unnamed(context), attachment.id);
    }
  }

  /** Notes that a machine is about to let go of the volume. */
  async beginDetaching(context: RequestContext, volumeId: string): Promise<void> {
    await this.#outbox.transaction(async (transaction) => {
      const attached = (await this.#of(transaction, context, volumeId)).filter((each) => each.status === 'attached');
      if (attached.length === 0) {
        throw new ScoriaError('invalid-state', `Volume ${volumeId} is not attached, so it cannot be detached.`);
      }
      // With several, the call does not say which: the volume stays in use until one is detached.
      if (attached.length === 1) for (const each of attached) await this.#attachments.setStatus(transaction, each, 'detaching');
    });
  }

  /** Takes {@link beginDetaching} back. */
  async rollDetaching(context: RequestContext, volumeId: string): Promise<void> {
    await this.#outbox.transaction(async (transaction) => {
      const all = await this.#of(transaction, context, volumeId);
      for (const each of all) if (each.status === 'detaching') await this.#attachments.setStatus(transaction, each, 'attached');
    });
  }

  /** Publishes the volume for a host. Without a reservation before, it makes one. */
  async initializeConnection(context: RequestContext, volumeId: string, connector: Connector): Promise<ConnectionInfo> {
    const accepted = await this.#outbox.transaction(async (transaction) => {
      const all = await this.#of(transaction, context, volumeId);
      const mine =
        all.find((each) => each.connector?.initiator === connector.initiator) ?? all.find((each) => each.accessId === null);
      if (mine) return this.#attachments.connectWithin(transaction, context, mine.id, { connector });
      const volume = await transaction.volumes.get(tenancyOf(context), volumeId);
      const added = await this.#attachments.addWithin(transaction, context, volume, 'attaching', {});
      return this.#attachments.connectWithin(transaction, context, added, { connector, isNew: true });
    });
    const { id } = await this.#attachments.connected(context, accepted);
    const info = await this.#attachments.connectionInfo(context, id);
    if (!info) throw new ScoriaError('invalid-state', `The connection of attachment ${id} was ended by somebody else meanwhile.`);
    return info;
  }

  /** Ends a host's connections to the volume; without a connector, everybody's. */
  async terminateConnection(context: RequestContext, volumeId: string, connector: Connector | null): Promise<void> {
    for (const attachment of await this.#ofVolume(context, volumeId)) {
      if (connector?.initiator && attachment.connector?.initiator !== connector.initiator) continue;
      if (attachment.accessId !== null)
        await this.#attachments.end(unnamed(context), attachment.id, { keepAttachment: !isPending(attachment) });
    }
  }

  /** Notes that a machine or host has the volume. */
  async attach(
    context: RequestContext,
    volumeId: string,
    request: {
      readonly instanceId?: string | null | undefined;
      readonly hostName?: string | null | undefined;
      readonly mountpoint?: string | null | undefined;
      readonly mode?: AttachMode | undefined;
    },
  ): Promise<void> {
    await this.#outbox.transaction(async (transaction) => {
      const volume = await transaction.volumes.get(tenancyOf(context), volumeId);
      const pending = (await this.#of(transaction, context, volumeId)).find(isPending);
      const mode = request.mode ?? (volume.readOnly ? 'ro' : 'rw');
      if (volume.readOnly && mode === 'rw')
        throw new ScoriaError('invalid-input', `Volume ${volumeId} is read-only; attach it with mode "ro".`);
      const id =
        pending?.id ?? (await this.#attachments.addWithin(transaction, context, volume, 'attaching', { ...request, mode }));
      await this.#attachments.markAttached(transaction, await transaction.attachments.get('every-project', id), {
        instanceId: request.instanceId ?? null,
        hostName: request.hostName ?? null,
        mountpoint: request.mountpoint ?? null,
        mode,
      });
    });
  }

  /** Ends an attachment, the only one unless it is named. Ends its connection too when that is still open. */
  async detach(
    context: RequestContext,
    volumeId: string,
    request: { readonly attachmentId?: string | null | undefined } = {},
  ): Promise<void> {
    const all = await this.#ofVolume(context, volumeId);
    const named = all.filter(
      (each) => request.attachmentId === undefined || request.attachmentId === null || each.id === request.attachmentId,
    );
    const [attachment, second] = named;
    if (!attachment) throw new ScoriaError('invalid-input', `Volume ${volumeId} has no such attachment.`);
    if (second)
      throw new ScoriaError('invalid-input', `Volume ${volumeId} has ${named.length} attachments; name the one to detach.`);
    await this.#attachments.delete(unnamed(context), attachment.id);
  }

  async #ofVolume(context: RequestContext, volumeId: string): Promise<readonly Attachment[]> {
    await this.#store.reading.volumes.get(tenancyOf(context), volumeId);
    return this.#store.reading.attachments.ofVolumes([volumeId]);
  }

  async #of(transaction: Transaction, context: RequestContext, volumeId: string): Promise<readonly Attachment[]> {
    await transaction.volumes.get(tenancyOf(context), volumeId);
    return transaction.attachments.ofVolumes([volumeId]);
  }
}

/** A reservation of the older way: no machine has it yet. */
function isPending(attachment: Attachment): boolean {
  return attachment.status === 'attaching' && attachment.instanceId === null && attachment.attachedAt === null;
}

/** One call here is several there: an idempotency key would make them one. */
function unnamed(context: RequestContext): RequestContext {
  return { ...context, idempotency: undefined };
}
