import { z } from 'zod';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation } from '../operation/definition.ts';
import { settledStatus } from '../volume/settled-status.ts';

const inputSchema = z.object({
  attachmentId: z.string(),
  volumeId: z.string(),
  accessId: z.string(),
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
        await store.reading.accesses.remove(accessId);
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
    await transaction.attachments.update(input.attachmentId, { accessId: null, connector: null, status: 'reserved' }, now);
    const status = settledStatus(await transaction.attachments.ofVolumes([input.volumeId]));
    await transaction.volumes.transition('every-project', input.volumeId, 'attachmentsChanged', now, { to: status });
    const { attachmentId, volumeId } = input;
    const { projectId } = operation;
    transaction.emit({ name: 'attachment.changed', payload: { attachmentId, volumeId, projectId, status: 'reserved' } });
    await leaveFailureMessage(transaction, context, failure);
  },
});
