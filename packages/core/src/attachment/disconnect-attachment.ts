import { z } from 'zod';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation } from '../operation/definition.ts';
import { settledStatus } from '../volume/settled-status.ts';

const inputSchema = z.object({
  attachmentId: z.string(),
  volumeId: z.string(),
  /** The access that ends with it; `null` when others count on it or there was none. */
  endingAccessId: z.string().nullable(),
  placementId: z.string().nullable(),
  /** Ends the access only: the attachment stays, without a connection. */
  keepAttachment: z.boolean(),
  /** What the attachment goes back to when the access cannot be ended. */
  before: z.object({ status: z.enum(['reserved', 'attaching', 'attached', 'detaching']), accessId: z.string().nullable() }),
});
const stateSchema = z.object({ backendId: z.string().optional() });

/** Ends an attachment, and with the last one its access: done only when no write of it can follow. */
export const disconnectAttachment = defineOperation<z.infer<typeof inputSchema>, z.infer<typeof stateSchema>>({
  name: 'attachment.disconnect',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'fence',
      role: 'volume',
      when: (_state, input) => input.endingAccessId !== null,
      async run(context) {
        const { endingAccessId, placementId } = context.input;
        if (endingAccessId === null || placementId === null) return;
        const { store, backends } = context.services;
        const { backendId } = await store.reading.placements.get(placementId);
        await backends.transportOf(backendId).unexport(endingAccessId, context);
      },
    },
    {
      kind: 'transaction',
      name: 'forget',
      role: 'scheduler',
      async run(transaction, { input, operation, now }) {
        const { attachmentId, volumeId, endingAccessId } = input;
        const { projectId } = operation;
        if (endingAccessId !== null) await transaction.accesses.remove(endingAccessId);
        if (input.keepAttachment) {
          await transaction.attachments.update(attachmentId, { accessId: null, status: input.before.status }, now);
        } else {
          await transaction.attachments.remove(attachmentId);
          transaction.emit({ name: 'attachment.deleted', payload: { attachmentId, volumeId, projectId } });
        }
        const status = settledStatus(await transaction.attachments.ofVolumes([volumeId]));
        await transaction.volumes.transition('every-project', volumeId, 'attachmentsChanged', now, { to: status });
        transaction.emit({ name: 'volume.changed', payload: { volumeId, projectId, status } });
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { input, now, operation } = context;
    const { attachmentId, volumeId, endingAccessId, before } = input;
    const { projectId } = operation;
    if (endingAccessId !== null) await transaction.accesses.setState(endingAccessId, 'open');
    await transaction.attachments.update(attachmentId, before, now);
    const status = settledStatus(await transaction.attachments.ofVolumes([volumeId]));
    await transaction.volumes.transition('every-project', volumeId, 'attachmentsChanged', now, { to: status });
    transaction.emit({ name: 'attachment.changed', payload: { attachmentId, volumeId, projectId, status: before.status } });
    await leaveFailureMessage(transaction, context, failure);
  },
});
