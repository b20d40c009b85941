import { z } from 'zod';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation } from '../operation/definition.ts';
import { bytesToCopy } from '../placement/copy-estimate.ts';
import { backendObject } from '../placement/backends.ts';
import { fillFromStill } from './point-in-time.ts';

const inputSchema = z.object({
  volumeId: z.string(),
  placementId: z.string(),
  snapshotId: z.string(),
  snapshotPlacementId: z.string(),
});
const stateSchema = z.object({
  backendId: z.string().optional(),
  /** Set before the volume's content is overwritten piece by piece: a failure after that leaves neither old nor new content. */
  copying: z.boolean().optional(),
  reverted: z.boolean().optional(),
});

/** Puts a volume back to its latest snapshot, which goes on to exist. */
export const revertVolume = defineOperation<z.infer<typeof inputSchema>, z.infer<typeof stateSchema>>({
  name: 'volume.revert',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'revert',
      role: 'volume',
      async run(context) {
        const { input, services } = context;
        const { placements } = services.store.reading;
        const [volume, snapshot] = [await placements.get(input.placementId), await placements.get(input.snapshotPlacementId)];
        const { driver } = services.backends.get(volume.backendId);
        const reverted = (await driver.revert?.(backendObject(volume), backendObject(snapshot), context))?.done ?? false;
        return { reverted, copying: !reverted };
      },
    },
    {
      kind: 'effect',
      name: 'copy-back',
      role: 'volume',
      when: (state) => state.reverted === false,
      copies: (transaction, { input }) => bytesToCopy(transaction, input.snapshotPlacementId),
      async run(context) {
        const { input, services } = context;
        const { placements } = services.store.reading;
        const [volume, snapshot] = [await placements.get(input.placementId), await placements.get(input.snapshotPlacementId)];
        const backend = services.backends.get(volume.backendId);
        await fillFromStill(services.backends, backend, backendObject(snapshot), backendObject(volume), context);
      },
    },
    {
      kind: 'transaction',
      name: 'finish',
      role: 'volume',
      async run(transaction, { input, operation, now }) {
        const { projectId } = operation;
        const { volumeId, snapshotId } = input;
        await transaction.volumes.transition('every-project', volumeId, 'reverted', now);
        await transaction.snapshots.transition('every-project', snapshotId, 'restored', now);
        transaction.emit({ name: 'volume.changed', payload: { volumeId, projectId, status: 'available' } });
        transaction.emit({ name: 'snapshot.changed', payload: { snapshotId, volumeId, projectId, status: 'available' } });
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { input, operation, state, now } = context;
    const { projectId } = operation;
    const { volumeId, snapshotId } = input;
    const status = state.copying ? 'error' : 'available';
    await transaction.volumes.transition('every-project', volumeId, 'revertFailed', now, { to: status });
    await transaction.snapshots.transition('every-project', snapshotId, 'restored', now);
    transaction.emit({ name: 'volume.changed', payload: { volumeId, projectId, status } });
    transaction.emit({ name: 'snapshot.changed', payload: { snapshotId, volumeId, projectId, status: 'available' } });
    await leaveFailureMessage(transaction, context, failure);
  },
});
