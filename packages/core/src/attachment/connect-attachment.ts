import { z } from 'zod';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation } from '../operation/definition.ts';
import { settleVolume } from './settle-volume.ts';

const inputSchema = z.object({
  attachmentId: z.string(),
  volumeId: z.string(),
  accessId: z.string(),
  /** What the attachment goes back to when it cannot be connected; `null`: it was made for this connection, and goes with it. */
  before: z
    .object({
      status: z.enum(['reserved', 'attaching', 'attached', 'detaching']),
      mode: z.enum(['rw', 'ro']),
      connector: z.looseObject({}).nullable(),
      hostName: z.string().nullable(),
      mountpoint: z.string().nullable(),
    })
    .nullable(),
});
const stateSchema = z.object({ backendId: z.string().optional() });

/** Publishes the access that an attachment counts on. The transaction that begins it has written access and attachment. */
export const connectAttachment = defineOperation<z.infer<typeof inputSchema>, z.infer<typeof stateSchema>>({
  name: 'attachment.connect',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'export',
      role: 'volume',
      run: (context) => context.services.backends.publish(context.input.accessId, context),
      async undo(context) {
        const { attachmentId, accessId } = context.input;
        const { store, backends } = context.services;
        const last = await store.transaction(async ({ attachments, accesses }) => {
          await attachments.update(attachmentId, { accessId: null }, context.now);
          const alone = (await attachments.countOnAccess(accessId)) === 0;
          if (alone) await accesses.setState(accessId, 'ending');
          return alone;
        });
        if (!last) return;
        const { placementId } = await store.reading.accesses.get(accessId);
        const { backendId } = await store.reading.placements.get(placementId);
        await backends.transportOf(backendId).unexport(accessId, context);
      },
    },
    {
      kind: 'transaction',
      name: 'open',
      role: 'volume',
      async run(transaction, { input, operation }) {
        await transaction.accesses.setState(input.accessId, 'open');
        const { attachmentId, volumeId } = input;
        const payload = { attachmentId, volumeId, projectId: operation.projectId, status: 'attaching' };
        transaction.emit({ name: 'attachment.changed', payload });
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { input, now, operation } = context;
    const { attachmentId, volumeId, accessId, before } = input;
    const { projectId } = operation;
    if (before) {
      await transaction.attachments.update(attachmentId, { ...before, accessId: null }, now);
      transaction.emit({ name: 'attachment.changed', payload: { attachmentId, volumeId, projectId, status: before.status } });
    } else {
      await transaction.attachments.remove(attachmentId);
      transaction.emit({ name: 'attachment.deleted', payload: { attachmentId, volumeId, projectId } });
    }
    // What is still published stays known, for the reconciler to end.
    if (failure.undone && (await transaction.attachments.countOnAccess(accessId)) === 0) {
      await transaction.accesses.remove(accessId);
    }
    await settleVolume(transaction, volumeId, now);
    await leaveFailureMessage(transaction, context, failure);
  },
});
