import { z } from 'zod';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation, type OperationDefinition, type StepContext } from '../operation/definition.ts';
import { backendObject, type ServedBackend } from '../placement/backends.ts';
import type { Placement } from '../placement/placement.ts';
import type { DeviceLocator } from '../device/device-locator.ts';
import type { MirrorSupport } from '../transport/transport.ts';
import type { BackendObject, PluginCall } from './driver.ts';
import { requireNoSnapshots } from './no-snapshots.ts';
import { copyStill } from './point-in-time.ts';
import { settledStatus } from './settled-status.ts';

const inputSchema = z.object({
  volumeId: z.string(),
  /** Where it lies now. */
  placementId: z.string(),
  size: z.number().int().positive(),
  /** Extra specs that the new place must satisfy. */
  extraSpecs: z.record(z.string(), z.string()),
  /** Where it is to go; `null` leaves the choice to the scheduler. */
  target: z.object({ backendId: z.string(), pool: z.string().nullable() }).nullable(),
  /** A retype: the new type, and whether the volume may be moved for it. */
  retype: z.object({ volumeTypeId: z.string(), mayMove: z.boolean() }).nullable(),
});
type Input = z.infer<typeof inputSchema>;

const stateSchema = z.object({
  /** The new placement; `null` when the volume stays where it is. */
  placementId: z.string().nullable().optional(),
  made: z.object({ backendRef: z.string(), size: z.number() }).optional(),
  switched: z.boolean().optional(),
});
type State = z.infer<typeof stateSchema>;
type Context = StepContext<Input, State> & PluginCall;

const moves = (state: State) => typeof state.placementId === 'string';

interface Ends {
  readonly from: ServedBackend;
  readonly to: ServedBackend;
  readonly source: Placement;
  readonly target: BackendObject;
}

async function endsOf({ input, state, services }: Pick<Context, 'input' | 'state' | 'services'>): Promise<Ends> {
  const { placements } = services.store.reading;
  const [source, target] = [await placements.get(input.placementId), await placements.get(state.placementId ?? '')];
  return {
    from: services.backends.get(source.backendId),
    to: services.backends.get(target.backendId),
    source,
    target: { ...backendObject(target), ...state.made },
  };
}

/**
 * Only a mirror carries over what hosts write meanwhile. Without one the volume must have no access from the beginning of
 * the copy until the books name its new place. Throws `not-supported`.
 */
async function requireMovable(transaction: Transaction, { input, services }: Pick<Context, 'input' | 'services'>): Promise<void> {
  const { backendId } = await transaction.placements.get(input.placementId);
  const { name, transport } = services.backends.get(backendId);
  if (!transport || transport.mirror || (await transaction.accesses.ofVolume(input.volumeId)).length === 0) return;
  throw new ScoriaError(
    'not-supported',
    `Volume ${input.volumeId} is attached, and the transport of backend ${name} cannot move a volume in use.`,
    { remedy: 'End its attachments, then move it.' },
  );
}

/** Transport and devices of a move that goes on under the feet of hosts; `null` where nobody can be attached. */
async function mirrorOf(
  context: Context,
): Promise<{ readonly transport: MirrorSupport; readonly source: DeviceLocator; readonly target: DeviceLocator } | null> {
  const { from, to, source, target } = await endsOf(context);
  const { mirror, commitMirror, endMirror } = from.transport ?? {};
  if (!from.transport || !mirror || !commitMirror || !endMirror) return null;
  return {
    transport: { mirror, commitMirror, endMirror },
    source: await from.driver.locate(backendObject(source), context),
    target: await to.driver.locate(target, context),
  };
}

/** Ends the move in the books: the volume has the status that its attachments give it. */
async function settle(
  transaction: Transaction,
  { input, operation, now }: StepContext<Input, State>,
  migrationStatus: 'success' | 'error' | null,
): Promise<void> {
  const status = settledStatus(await transaction.attachments.ofVolumes([input.volumeId]));
  await transaction.volumes.transition('every-project', input.volumeId, 'moveEnded', now, {
    to: status,
    patch: { migrationStatus },
  });
  transaction.emit({ name: 'volume.changed', payload: { volumeId: input.volumeId, projectId: operation.projectId, status } });
}

/** Chooses the new place and claims it; finds out whether a retype can leave the volume where it is. */
async function place(transaction: Transaction, { input, services, now }: StepContext<Input, State>): Promise<Partial<State>> {
  const source = await transaction.placements.get(input.placementId);
  const request = { size: input.size, availabilityZone: null, extraSpecs: input.extraSpecs };
  if (input.retype) {
    const { volumeTypeId } = input.retype;
    const attached = (await transaction.accesses.ofVolume(input.volumeId)).length > 0;
    if (attached) await services.backends.requireLimits(transaction, source.backendId, volumeTypeId, input.size);
    // The volume has its space already, so its own pool is asked about the rest.
    const here = await services.scheduler.explain(
      transaction,
      { ...request, size: 0 },
      { backendId: source.backendId, pool: source.pool },
    );
    if (here.accepted.length > 0) return { placementId: null };
    if (!input.retype.mayMove) {
      const reasons = here.refused.map(({ pool, by, reason }) => `${pool}: ${reason} (${by})`).join('; ');
      throw new ScoriaError(
        'no-valid-backend',
        `The volume cannot have this type where it lies, and the policy does not let it move. ${reasons}.`,
      );
    }
  }
  await requireMovable(transaction, { input, services });
  await requireNoSnapshots(transaction, input.volumeId, 'cannot move with it');
  const { accepted, refused } = await services.scheduler.explain(transaction, request, input.target ?? undefined);
  const { transport } = services.backends.get(source.backendId);
  const chosen = accepted.find(({ backendId, state }) => {
    const served = services.backends.servedIds().includes(backendId);
    const elsewhere = backendId !== source.backendId || state.report.name !== source.pool;
    // Hosts keep their target: it must be able to open the new place too.
    return served && elsewhere && services.backends.get(backendId).transport === transport;
  });
  if (!chosen) {
    const reasons = refused.map(({ pool, by, reason }) => `${pool}: ${reason} (${by})`);
    throw new ScoriaError(
      'no-valid-backend',
      `No other pool with the same transport can take this volume. ${reasons.join('; ')}`,
      {
        details: { refused },
      },
    );
  }
  const placementId = services.random.uuid();
  await transaction.placements.insert({
    id: placementId,
    backendId: chosen.backendId,
    pool: chosen.state.report.name,
    kind: 'volume',
    resourceId: input.volumeId,
    claimed: input.size,
    size: null,
    backendRef: null,
    createdAt: now,
  });
  return { placementId };
}

const steps: OperationDefinition<Input, State>['steps'] = [
  {
    kind: 'transaction',
    name: 'place',
    // The volume service knows which of its backends share a transport.
    role: 'volume',
    run: place,
    async undo(transaction, { state }) {
      if (state.placementId) await transaction.placements.remove(state.placementId);
    },
  },
  {
    kind: 'effect',
    name: 'create',
    role: 'volume',
    when: moves,
    async run(context) {
      const { to, target } = await endsOf(context);
      return { made: await to.driver.create({ ...target, size: context.input.size }, context) };
    },
    async undo(context) {
      const { to, target } = await endsOf(context);
      await to.driver.delete(target, context);
    },
  },
  {
    kind: 'effect',
    name: 'copy',
    role: 'volume',
    when: moves,
    copies: async (_transaction, { input, state }) => (moves(state) ? input.size : 0),
    async run(context) {
      const mirror = await mirrorOf(context);
      if (mirror) return void (await mirror.transport.mirror(context.input.volumeId, mirror.source, mirror.target, context));
      const { from, to, source, target } = await endsOf(context);
      await copyStill(
        context.services.backends,
        { backend: from, object: backendObject(source) },
        { backend: to, object: target },
        context,
      );
    },
    async undo(context) {
      await (await mirrorOf(context))?.transport.endMirror(context.input.volumeId, 'source', context);
    },
  },
  {
    kind: 'effect',
    name: 'commit',
    role: 'volume',
    when: moves,
    async run(context) {
      await (await mirrorOf(context))?.transport.commitMirror(context.input.volumeId, context);
    },
  },
  {
    kind: 'transaction',
    name: 'switch',
    role: 'volume',
    commits: true,
    async run(transaction, { input, state, services, now }) {
      if (moves(state)) await requireMovable(transaction, { input, services });
      const { volumeId, retype } = input;
      const { placementId, made } = state;
      const type = retype && { volumeTypeId: retype.volumeTypeId };
      if (!placementId || !made) {
        await transaction.volumes.update('every-project', volumeId, { ...type }, now);
        return { switched: true };
      }
      await transaction.placements.update(placementId, made);
      await transaction.volumes.update('every-project', volumeId, { ...type, placementId, migrationStatus: 'completing' }, now);
      await transaction.accesses.movePlacement(volumeId, placementId);
      return { switched: true };
    },
  },
  {
    kind: 'effect',
    name: 'end-mirror',
    role: 'volume',
    when: moves,
    async run(context) {
      const { from } = await endsOf(context);
      await from.transport?.endMirror?.(context.input.volumeId, 'target', context);
    },
  },
  {
    kind: 'effect',
    name: 'delete-source',
    role: 'volume',
    when: moves,
    async run(context) {
      const { from, source } = await endsOf(context);
      await from.driver.delete(backendObject(source), context);
    },
  },
  {
    kind: 'transaction',
    name: 'finish',
    role: 'volume',
    async run(transaction, context) {
      if (moves(context.state)) await transaction.placements.remove(context.input.placementId);
      await settle(transaction, context, moves(context.state) ? 'success' : null);
    },
  },
];

/** Hosts that use the volume are held to what its new type allows. */
const limitStep: OperationDefinition<Input, State>['steps'][number] = {
  kind: 'effect',
  name: 'limit',
  role: 'volume',
  run: (context) => context.services.backends.limit(context.input.volumeId, context),
};

async function failed(
  transaction: Transaction,
  context: StepContext<Input, State>,
  failure: Parameters<OperationDefinition['failed']>[2],
): Promise<void> {
  // After the switch the volume has moved; what is left is the old copy, which its placement keeps known.
  await settle(transaction, context, context.state.switched ? 'success' : 'error');
  await leaveFailureMessage(transaction, context, failure);
}

/** Moves a volume to another pool or backend, also while it is attached. */
export const migrateVolume = defineOperation<Input, State>({
  name: 'volume.migrate',
  input: inputSchema,
  state: stateSchema,
  cancellable: true,
  steps,
  failed,
});

/** Gives a volume another type, and moves it where the type asks for that and the policy allows it. */
export const retypeVolume = defineOperation<Input, State>({
  name: 'volume.retype',
  input: inputSchema,
  state: stateSchema,
  cancellable: true,
  steps: steps.toSpliced(-1, 0, limitStep),
  failed,
});
