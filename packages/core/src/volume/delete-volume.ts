import { z } from 'zod';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation } from '../operation/definition.ts';
import { backendObject } from '../placement/backends.ts';

const inputSchema = z.object({
  volumeId: z.string(),
  placementId: z.string().nullable(),
  /** Snapshots that go with it. */
  snapshots: z.array(z.object({ id: z.string(), placementId: z.string().nullable() })),
});
const stateSchema = z.object({ backendId: z.string().optional() });

/** Removes a volume, and its snapshots when the caller asked for that. */
export const deleteVolume = defineOperation<z.infer<typeof inputSchema>, z.infer<typeof stateSchema>>({
  name: 'volume.delete',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'delete-snapshots',
      role: 'volume',
      waitsWhileBusy: true,
      when: (_state, input) => input.snapshots.some((snapshot) => snapshot.placementId !== null),
      async run(context) {
        const { store, backends } = context.services;
        for (const { placementId } of context.input.snapshots) {
          if (placementId === null) continue;
          const placement = await store.reading.placements.get(placementId);
          await backends.get(placement.backendId).driver.deleteSnapshot(backendObject(placement), context);
        }
      },
    },
    {
      kind: 'effect',
      name: 'delete',
      role: 'volume',
      waitsWhileBusy: true,
      when: (_state, input) => input.placementId !== null,
      async run(context) {
        const { store, backends } = context.services;
        if (context.input.placementId === null) return;
        const placement = await store.reading.placements.get(context.input.placementId);
        await backends.get(placement.backendId).driver.delete(backendObject(placement), context);
      },
    },
    {
      kind: 'transaction',
      name: 'forget',
      role: 'scheduler',
      async run(transaction, { input, operation }) {
        const { volumeId } = input;
        const { projectId } = operation;
        for (const { id, placementId } of input.snapshots) {
          await transaction.snapshots.remove(id);
          if (placementId !== null) await transaction.placements.remove(placementId);
          transaction.emit({ name: 'snapshot.deleted', payload: { snapshotId: id, volumeId, projectId } });
        }
        await transaction.volumes.remove(volumeId);
        if (input.placementId !== null) await transaction.placements.remove(input.placementId);
        transaction.emit({ name: 'volume.deleted', payload: { volumeId, projectId } });
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { input, operation, now } = context;
    for (const { id } of input.snapshots) await transaction.snapshots.transition('every-project', id, 'deletionFailed', now);
    await transaction.volumes.transition('every-project', input.volumeId, 'deletionFailed', now);
    const payload = { volumeId: input.volumeId, projectId: operation.projectId, status: 'error_deleting' };
    transaction.emit({ name: 'volume.changed', payload });
    await leaveFailureMessage(transaction, context, failure);
  },
});
