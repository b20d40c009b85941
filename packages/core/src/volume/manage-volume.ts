import { z } from 'zod';
import { ScoriaError } from '../error/scoria-error.ts';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation, type StepContext } from '../operation/definition.ts';
import { backendObject } from '../placement/backends.ts';
import type { BackendObject } from './driver.ts';

const inputSchema = z.object({
  volumeId: z.string(),
  backendId: z.string(),
  pool: z.string(),
  /** Names the volume to the driver. */
  reference: z.string().min(1).max(1024),
});
type Input = z.infer<typeof inputSchema>;

const stateSchema = z.object({
  backendId: z.string().optional(),
  placementId: z.string().optional(),
  made: z.object({ backendRef: z.string(), size: z.number() }).optional(),
});
type State = z.infer<typeof stateSchema>;

function placementOf(state: State): string {
  if (state.placementId === undefined) throw new ScoriaError('internal', 'The volume has no placement yet');
  return state.placementId;
}

async function target({ state, services }: Pick<StepContext<Input, State>, 'state' | 'services'>): Promise<BackendObject> {
  return { ...backendObject(await services.store.reading.placements.get(placementOf(state))), ...state.made };
}

/** Makes a volume that exists on a backend ours, with its content. What fails leaves it there as it was. */
export const manageVolume = defineOperation<Input, State>({
  name: 'volume.manage',
  input: inputSchema,
  state: stateSchema,
  cancellable: true,
  steps: [
    {
      kind: 'transaction',
      name: 'place',
      role: 'volume',
      async run(transaction, { input, services, now }) {
        const { backendId, pool, volumeId } = input;
        const placementId = services.random.uuid();
        await transaction.placements.insert({
          id: placementId,
          backendId,
          pool,
          kind: 'volume',
          resourceId: volumeId,
          claimed: 0,
          size: null,
          backendRef: null,
          createdAt: now,
        });
        await transaction.volumes.update('every-project', volumeId, { placementId }, now);
        return { placementId };
      },
      async undo(transaction, { input, state, now }) {
        await transaction.volumes.update('every-project', input.volumeId, { placementId: null }, now);
        await transaction.placements.remove(placementOf(state));
      },
    },
    {
      kind: 'effect',
      name: 'manage',
      role: 'volume',
      async run(context) {
        const { input, services } = context;
        const { name, driver } = services.backends.get(input.backendId);
        if (!driver.manage) throw new ScoriaError('not-supported', `Backend ${name} cannot take volumes over.`);
        return { made: await driver.manage(await target(context), input.reference, context) };
      },
      async undo(context) {
        await context.services.backends.get(context.input.backendId).driver.unmanage?.(await target(context), context);
      },
    },
    {
      kind: 'transaction',
      name: 'finish',
      role: 'volume',
      async run(transaction, { input, state, operation, services, now }) {
        const { made } = state;
        if (!made) throw new ScoriaError('internal', 'The driver took nothing over');
        const { volumeId } = input;
        const { projectId } = operation;
        const { size } = made;
        const { volumeTypeId } = await transaction.volumes.get('every-project', volumeId);
        await services.quotas.require(transaction, projectId, { bytes: size, volumeTypeId, volumeBytes: size });
        // Whether it fits is no question: the volume has its space already.
        await transaction.placements.update(placementOf(state), { ...made, claimed: size });
        await transaction.volumes.transition('every-project', volumeId, 'managed', now, { patch: { size, launchedAt: now } });
        transaction.emit({ name: 'volume.changed', payload: { volumeId, projectId, status: 'available' } });
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { input, state, operation, now } = context;
    const { volumeId } = input;
    const { projectId } = operation;
    if (failure.cancelled && failure.undone) {
      await transaction.volumes.remove(volumeId);
      transaction.emit({ name: 'volume.deleted', payload: { volumeId, projectId } });
      return;
    }
    // What could not be let go again keeps its placement, so that deleting the volume lets it go.
    if (!failure.undone && state.made) await transaction.placements.update(placementOf(state), state.made);
    await transaction.volumes.transition('every-project', volumeId, 'managingFailed', now);
    transaction.emit({ name: 'volume.changed', payload: { volumeId, projectId, status: 'error_managing' } });
    await leaveFailureMessage(transaction, context, failure);
  },
});
