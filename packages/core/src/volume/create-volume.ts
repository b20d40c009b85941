import { z } from 'zod';
import { ScoriaError } from '../error/scoria-error.ts';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation, type StepContext } from '../operation/definition.ts';
import { bytesToCopy, copiesInstantly } from '../placement/copy-estimate.ts';
import { backendObject } from '../placement/backends.ts';
import { type BackendObject, type PluginCall } from './driver.ts';
import { captured, fillFromStill, fillFromVolume } from './point-in-time.ts';

const inputSchema = z.object({
  volumeId: z.string(),
  size: z.number().int().positive(),
  availabilityZone: z.string().nullable(),
  extraSpecs: z.record(z.string(), z.string()),
  /** What its content is copied from. */
  source: z.object({ kind: z.enum(['volume', 'snapshot']), id: z.string(), placementId: z.string() }).nullable(),
});
type Input = z.infer<typeof inputSchema>;

const stateSchema = z.object({
  backendId: z.string().optional(),
  placementId: z.string().optional(),
  made: z.object({ backendRef: z.string(), size: z.number(), filled: z.boolean() }).optional(),
});
type State = z.infer<typeof stateSchema>;

type Context = StepContext<Input, State> & PluginCall;

async function target({ state, services }: Pick<Context, 'state' | 'services'>): Promise<BackendObject> {
  const placement = await services.store.reading.placements.get(placementOf(state));
  const { backendRef, size } = state.made ?? { backendRef: null, size: placement.claimed };
  return { ...backendObject(placement), backendRef, size };
}

function placementOf(state: State): string {
  if (state.placementId === undefined) throw new ScoriaError('internal', 'The volume has no placement yet');
  return state.placementId;
}

async function sourceObject({ input, services }: Context): Promise<BackendObject> {
  if (!input.source) throw new ScoriaError('internal', 'The volume has no source');
  return backendObject(await services.store.reading.placements.get(input.source.placementId));
}

/** Makes a volume: empty, from a snapshot, or as a clone of a volume. */
export const createVolume = defineOperation<Input, State>({
  name: 'volume.create',
  input: inputSchema,
  state: stateSchema,
  cancellable: true,
  steps: [
    {
      kind: 'transaction',
      name: 'place',
      role: 'scheduler',
      async run(transaction, { input, services, now }) {
        const source = input.source ? await transaction.placements.get(input.source.placementId) : null;
        const { backendId, state: pool } = await services.scheduler.choose(
          transaction,
          input,
          source ? { backendId: source.backendId } : undefined,
        );
        const placementId = services.random.uuid();
        await transaction.placements.insert({
          id: placementId,
          backendId,
          pool: pool.report.name,
          kind: 'volume',
          resourceId: input.volumeId,
          claimed: input.size,
          size: null,
          backendRef: null,
          createdAt: now,
        });
        await transaction.volumes.update(
          'every-project',
          input.volumeId,
          { placementId, availabilityZone: pool.availabilityZone },
          now,
        );
        return { backendId, placementId };
      },
      async undo(transaction, { input, state, now }) {
        await transaction.volumes.update('every-project', input.volumeId, { placementId: null }, now);
        if (state.placementId !== undefined) await transaction.placements.remove(state.placementId);
      },
    },
    {
      kind: 'effect',
      name: 'create',
      role: 'volume',
      async run(context) {
        const { input, state, services } = context;
        const backend = services.backends.get(state.backendId ?? '');
        const request = await target(context);
        const { driver } = backend;
        if (!input.source) return { made: { ...(await driver.create(request, context)), filled: true } };
        const source = await sourceObject(context);
        // A copy is as large as its source at first; the step "grow" gives it the rest.
        const copy = { ...request, size: source.size };
        const empty = async () => ({ ...(await driver.create(request, context)), filled: false });
        if (input.source.kind === 'snapshot' && driver.createFromSnapshot) {
          return { made: await driver.createFromSnapshot(copy, source, context) };
        }
        const { clone } = driver;
        if (input.source.kind === 'volume' && clone) {
          const capture = () => clone.call(driver, copy, source, context);
          const discard = () => driver.delete(copy, context);
          const instant = await copiesInstantly(services.store.reading, input.source.placementId);
          const way = { capture, discard, empty: instant ? undefined : empty };
          return { made: await captured(backend, input.source.id, context, way) };
        }
        return { made: await empty() };
      },
      async undo(context) {
        await context.services.backends.get(context.state.backendId ?? '').driver.delete(await target(context), context);
      },
    },
    {
      kind: 'effect',
      name: 'fill',
      role: 'volume',
      when: (state) => state.made !== undefined && !state.made.filled,
      copies: async (transaction, { input }) => (input.source ? bytesToCopy(transaction, input.source.placementId) : 0),
      async run(context) {
        const { input, state, services } = context;
        const backend = services.backends.get(state.backendId ?? '');
        const [from, to] = [await sourceObject(context), await target(context)];
        if (input.source?.kind === 'volume') await fillFromVolume(services.backends, backend, input.source.id, from, to, context);
        else await fillFromStill(services.backends, backend, from, to, context);
      },
    },
    {
      kind: 'effect',
      name: 'grow',
      role: 'volume',
      when: (state, input) => state.made !== undefined && state.made.size < input.size,
      async run(context) {
        const { input, state, services } = context;
        const { size } = await services.backends
          .get(state.backendId ?? '')
          .driver.extend(await target(context), input.size, context);
        return state.made ? { made: { ...state.made, size } } : {};
      },
    },
    {
      kind: 'transaction',
      name: 'finish',
      role: 'volume',
      async run(transaction, { input, state, operation, now }) {
        const { made } = state;
        if (!made) throw new ScoriaError('internal', 'The driver made nothing');
        await transaction.placements.update(placementOf(state), { backendRef: made.backendRef, size: made.size });
        await transaction.volumes.transition('every-project', input.volumeId, 'created', now, { patch: { launchedAt: now } });
        const { projectId } = operation;
        transaction.emit({ name: 'volume.changed', payload: { volumeId: input.volumeId, projectId, status: 'available' } });
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { input, operation, now, state } = context;
    const { projectId } = operation;
    if (failure.cancelled && failure.undone) {
      await transaction.volumes.remove(input.volumeId);
      transaction.emit({ name: 'volume.deleted', payload: { volumeId: input.volumeId, projectId } });
      return;
    }
    // What could not be undone keeps its placement, so that deleting the volume removes it.
    if (!failure.undone && state.made) await transaction.placements.update(placementOf(state), state.made);
    await transaction.volumes.transition('every-project', input.volumeId, 'creationFailed', now);
    transaction.emit({ name: 'volume.changed', payload: { volumeId: input.volumeId, projectId, status: 'error' } });
    await leaveFailureMessage(transaction, context, failure);
  },
});
