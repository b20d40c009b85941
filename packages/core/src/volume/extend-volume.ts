import { z } from 'zod';
import { ScoriaError } from '../error/scoria-error.ts';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation, type StepContext } from '../operation/definition.ts';
import type { Transaction } from '../event/outbox.ts';
import { backendObject } from '../placement/backends.ts';
import { settledStatus } from './settled-status.ts';

const inputSchema = z.object({
  volumeId: z.string(),
  placementId: z.string(),
  /** Bytes, before. */
  from: z.number().int(),
  /** Bytes, after. */
  size: z.number().int().positive(),
  extraSpecs: z.record(z.string(), z.string()),
});
type Input = z.infer<typeof inputSchema>;

const stateSchema = z.object({ backendId: z.string().optional(), realSize: z.number().optional() });
type State = z.infer<typeof stateSchema>;

/** Whether the array has given what was asked for. */
function hasGrown({ input, state }: Pick<StepContext<Input, State>, 'input' | 'state'>): boolean {
  return state.realSize !== undefined && state.realSize >= input.size;
}

async function settle(
  transaction: Transaction,
  { input, operation, now }: StepContext<Input, State>,
  size: number,
): Promise<void> {
  const status = settledStatus(await transaction.attachments.ofVolumes([input.volumeId]));
  await transaction.volumes.transition('every-project', input.volumeId, 'extendEnded', now, { to: status, patch: { size } });
  transaction.emit({ name: 'volume.changed', payload: { volumeId: input.volumeId, projectId: operation.projectId, status } });
}

/** Makes a volume larger, also while it is attached. */
export const extendVolume = defineOperation<Input, State>({
  name: 'volume.extend',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'transaction',
      name: 'claim',
      role: 'scheduler',
      async run(transaction, { input, services }) {
        const { backendId, pool } = await transaction.placements.get(input.placementId);
        const more = { size: input.size - input.from, availabilityZone: null, extraSpecs: input.extraSpecs };
        await services.scheduler.choose(transaction, more, { backendId, pool });
        await transaction.placements.update(input.placementId, { claimed: input.size });
        return { backendId };
      },
      async undo(transaction, { input, state }) {
        // What the array has given is not taken back: the claim stays with it.
        if (!hasGrown({ input, state })) await transaction.placements.update(input.placementId, { claimed: input.from });
      },
    },
    {
      kind: 'effect',
      name: 'extend',
      role: 'volume',
      async run(context) {
        const { input, state, services } = context;
        const placement = await services.store.reading.placements.get(input.placementId);
        const { driver } = services.backends.get(state.backendId ?? '');
        return { realSize: (await driver.extend(backendObject(placement), input.size, context)).size };
      },
      // Nothing is made smaller. Asked for what it has, the driver tells how much that really is.
      async undo(context) {
        const { input, state, services } = context;
        const placement = await services.store.reading.placements.get(input.placementId);
        const { driver } = services.backends.get(state.backendId ?? '');
        try {
          return { realSize: (await driver.extend(backendObject(placement), input.from, context)).size };
        } catch (error) {
          // A backend that refuses to tell again and again has not grown it either.
          if (context.operation.attempts === 0 && ScoriaError.from(error).retryable) throw error;
          return {};
        }
      },
    },
    {
      kind: 'effect',
      name: 'tell-initiators',
      role: 'volume',
      async run(context) {
        const { input, state, services } = context;
        await services.backends.get(state.backendId ?? '').transport?.resize(input.volumeId, context);
        // A limit may be so much a GiB.
        await services.backends.limit(input.volumeId, context, input.size);
      },
    },
    {
      kind: 'transaction',
      name: 'finish',
      role: 'volume',
      async run(transaction, context) {
        const { input, state } = context;
        await transaction.placements.update(input.placementId, { size: state.realSize ?? input.size });
        await settle(transaction, context, input.size);
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { input, state } = context;
    // Whatever failed, the volume is larger all the same.
    if (state.realSize !== undefined) await transaction.placements.update(input.placementId, { size: state.realSize });
    await settle(transaction, context, hasGrown(context) ? input.size : input.from);
    await leaveFailureMessage(transaction, context, failure);
  },
});
