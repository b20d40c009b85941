import { z } from 'zod';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation } from '../operation/definition.ts';
import { backendObject } from '../placement/backends.ts';

const inputSchema = z.object({ snapshotId: z.string(), volumeId: z.string(), placementId: z.string().nullable() });
const stateSchema = z.object({ backendId: z.string().optional() });

/** Removes a snapshot. */
export const deleteSnapshot = defineOperation<z.infer<typeof inputSchema>, z.infer<typeof stateSchema>>({
  name: 'snapshot.delete',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'delete',
      role: 'volume',
      waitsWhileBusy: true,
      when: (_state, input) => input.placementId !== null,
      async run(context) {
        if (context.input.placementId === null) return;
        const placement = await context.services.store.reading.placements.get(context.input.placementId);
        const { driver } = context.services.backends.get(placement.backendId);
        await driver.deleteSnapshot(backendObject(placement), context);
      },
    },
    {
      kind: 'transaction',
      name: 'forget',
      role: 'scheduler',
      async run(transaction, { input, operation }) {
        await transaction.snapshots.remove(input.snapshotId);
        if (input.placementId !== null) await transaction.placements.remove(input.placementId);
        const { snapshotId, volumeId } = input;
        transaction.emit({ name: 'snapshot.deleted', payload: { snapshotId, volumeId, projectId: operation.projectId } });
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { snapshotId, volumeId } = context.input;
    await transaction.snapshots.transition('every-project', snapshotId, 'deletionFailed', context.now);
    const payload = { snapshotId, volumeId, projectId: context.operation.projectId, status: 'error_deleting' };
    transaction.emit({ name: 'snapshot.changed', payload });
    await leaveFailureMessage(transaction, context, failure);
  },
});
