import { z } from 'zod';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation } from '../operation/definition.ts';
import { settleVolume } from './settle-volume.ts';

const inputSchema = z.object({
  attachmentId: z.string(),
  volumeId: z.string(),
  /** The access that ends with it; `null` when others count on it or there was none. */
  endingAccessId: z.string().nullable(),
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
        const { endingAccessId } = context.input;
        if (endingAccessId === null) return;
        const { store, backends } = context.services;
        // The volume may have moved since this began, and its accesses with it.
        const { placementId } = await store.reading.accesses.get(endingAccessId);
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
        await settleVolume(transaction, volumeId, now);
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { input, now, operation } = context;
    const { attachmentId, volumeId, endingAccessId, before } = input;
    const { projectId } = operation;
    if (endingAccessId !== null) {
      const { initiator } = await transaction.accesses.get(endingAccessId);
      // A host that has come again meanwhile has a new access, and only one may be open: then this one waits for the next try.
      const successor = await transaction.accesses.find(volumeId, initiator);
      if (!successor) await transaction.accesses.setState(endingAccessId, 'open');
    }
    await transaction.attachments.update(attachmentId, before, now);
    await settleVolume(transaction, volumeId, now);
    transaction.emit({ name: 'attachment.changed', payload: { attachmentId, volumeId, projectId, status: before.status } });
    await leaveFailureMessage(transaction, context, failure);
  },
});
