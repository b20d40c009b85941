import { z } from 'zod';
import { ScoriaError } from '../error/scoria-error.ts';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation, type StepContext } from '../operation/definition.ts';
import { bytesToCopy } from '../placement/copy-estimate.ts';
import { backendObject } from '../placement/backends.ts';
import type { BackendObject } from '../volume/driver.ts';
import { captured, fillFromVolume } from '../volume/point-in-time.ts';

const inputSchema = z.object({
  snapshotId: z.string(),
  volumeId: z.string(),
  volumePlacementId: z.string(),
  size: z.number().int().positive(),
  extraSpecs: z.record(z.string(), z.string()),
});
type Input = z.infer<typeof inputSchema>;

const stateSchema = z.object({
  backendId: z.string().optional(),
  placementId: z.string().optional(),
  made: z.object({ backendRef: z.string(), size: z.number(), filled: z.boolean() }).optional(),
});
type State = z.infer<typeof stateSchema>;

async function snapshotObject({ state, services }: StepContext<Input, State>): Promise<BackendObject> {
  const placement = await services.store.reading.placements.get(state.placementId ?? '');
  return { ...backendObject(placement), ...(state.made && { backendRef: state.made.backendRef, size: state.made.size }) };
}

async function volumeObject({ input, services }: StepContext<Input, State>): Promise<BackendObject> {
  return backendObject(await services.store.reading.placements.get(input.volumePlacementId));
}

/** Takes a snapshot of a volume, also while it is attached. */
export const createSnapshot = defineOperation<Input, State>({
  name: 'snapshot.create',
  input: inputSchema,
  state: stateSchema,
  cancellable: true,
  steps: [
    {
      kind: 'transaction',
      name: 'claim',
      role: 'scheduler',
      async run(transaction, { input, services, now }) {
        const { backendId, pool } = await transaction.placements.get(input.volumePlacementId);
        const request = { size: input.size, availabilityZone: null, extraSpecs: input.extraSpecs };
        await services.scheduler.choose(transaction, request, { backendId, pool });
        const placementId = services.random.uuid();
        await transaction.placements.insert({
          id: placementId,
          backendId,
          pool,
          kind: 'snapshot',
          resourceId: input.snapshotId,
          claimed: input.size,
          size: null,
          backendRef: null,
          createdAt: now,
        });
        await transaction.snapshots.update('every-project', input.snapshotId, { placementId }, now);
        return { backendId, placementId };
      },
      async undo(transaction, { input, state, now }) {
        await transaction.snapshots.update('every-project', input.snapshotId, { placementId: null }, now);
        if (state.placementId !== undefined) await transaction.placements.remove(state.placementId);
      },
    },
    {
      kind: 'effect',
      name: 'capture',
      role: 'volume',
      async run(context) {
        const backend = context.services.backends.get(context.state.backendId ?? '');
        const [snapshot, volume] = [await snapshotObject(context), await volumeObject(context)];
        const capture = () => backend.driver.createSnapshot(snapshot, volume, context);
        const discard = () => backend.driver.deleteSnapshot(snapshot, context);
        return { made: await captured(backend, context.input.volumeId, context, { capture, discard }) };
      },
      async undo(context) {
        const { driver } = context.services.backends.get(context.state.backendId ?? '');
        await driver.deleteSnapshot(await snapshotObject(context), context);
      },
    },
    {
      kind: 'effect',
      name: 'fill',
      role: 'volume',
      when: (state) => state.made !== undefined && !state.made.filled,
      copies: (transaction, { input }) => bytesToCopy(transaction, input.volumePlacementId),
      async run(context) {
        const { backends } = context.services;
        const backend = backends.get(context.state.backendId ?? '');
        const [snapshot, volume] = [await snapshotObject(context), await volumeObject(context)];
        await fillFromVolume(backends, backend, context.input.volumeId, volume, snapshot, context);
      },
    },
    {
      kind: 'transaction',
      name: 'finish',
      role: 'volume',
      async run(transaction, { input, state, operation, now }) {
        if (!state.made) throw new ScoriaError('internal', 'The driver made nothing');
        const { backendRef, size } = state.made;
        await transaction.placements.update(state.placementId ?? '', { backendRef, size });
        await transaction.snapshots.transition('every-project', input.snapshotId, 'created', now);
        const { snapshotId, volumeId } = input;
        const { projectId } = operation;
        transaction.emit({ name: 'snapshot.changed', payload: { snapshotId, volumeId, projectId, status: 'available' } });
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { input, operation, state, now } = context;
    const { snapshotId, volumeId } = input;
    const { projectId } = operation;
    if (failure.cancelled && failure.undone) {
      await transaction.snapshots.remove(snapshotId);
      transaction.emit({ name: 'snapshot.deleted', payload: { snapshotId, volumeId, projectId } });
      return;
    }
    if (!failure.undone && state.made) {
      const { backendRef, size } = state.made;
      await transaction.placements.update(state.placementId ?? '', { backendRef, size });
    }
    await transaction.snapshots.transition('every-project', snapshotId, 'creationFailed', now);
    transaction.emit({ name: 'snapshot.changed', payload: { snapshotId, volumeId, projectId, status: 'error' } });
    await leaveFailureMessage(transaction, context, failure);
  },
});
